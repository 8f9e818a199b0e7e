import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Confluent Parallel Consumer in KEY order: one POST of a static body for each record, until SIGTERM. Finds what it
 * needs in the environment, as the measured Python programs do; commits every second, as they do.
 */
public final class ParallelConsumerProgram {
    private static final int IN_FLIGHT = 64;
    private static final String BODY = "<Envelope>" + "x".repeat(1400) + "</Envelope>";

    public static void main(String[] arguments) throws InterruptedException {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"));
        properties.put("group.id", System.getenv("KAFKA_GROUP"));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        // Keys as text: the library looks keys up by equals(), which byte arrays do not have.
        KafkaConsumer<String, byte[]> consumer =
                new KafkaConsumer<>(properties, new StringDeserializer(), new ByteArrayDeserializer());
        HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("BENCH_TARGET")))
                .header("Content-Type", "text/xml; charset=utf-8")
                .POST(HttpRequest.BodyPublishers.ofString(BODY))
                .build();
        ParallelStreamProcessor<String, byte[]> processor = ParallelStreamProcessor.createEosStreamProcessor(
                ParallelConsumerOptions.<String, byte[]>builder()
                        .consumer(consumer)
                        .ordering(ProcessingOrder.KEY)
                        .maxConcurrency(IN_FLIGHT)
                        .commitInterval(Duration.ofSeconds(1))
                        .build());
        Runtime.getRuntime().addShutdownHook(new Thread(processor::close));
        processor.subscribe(List.of(System.getenv("KAFKA_TOPIC")));
        processor.poll(context -> {
            try {
                HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() != 200) {
                    throw new IllegalStateException("answered with " + answer.statusCode());
                }
            } catch (java.io.IOException | InterruptedException error) {
                throw new IllegalStateException(error);
            }
        });
        Thread.currentThread().join();
    }
}
