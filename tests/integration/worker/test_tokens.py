"""A token request never costs an attempt, unless no token can be obtained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.profile.samples.samples import sample_events, to_json
from tests.support.deployment import Deploy, Deployment
from tests.support.profiles import fresh_consumer, fresh_market, new, pet
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import WorkerProcess, wait_for


def calls_made(shared: Deployment, number: int) -> None:
    """Return once the simulator has taken so many calls."""
    wait_for(lambda: shared.simulator.stats()["calls"] >= number, lambda: f"{shared.simulator.stats()}", 20)


def test_tokens_that_expire_during_calls_cost_no_attempt_and_count_no_failure(
    shared: Deployment, worker: WorkerProcess
) -> None:
    market, expiries = fresh_market(), 4
    consumers = [fresh_consumer() for _ in range(120)]
    first = new(fresh_consumer())
    shared.publish(first)
    assert shared.outcome(worker, first)["outcome"] == "synced", "the worker has a token"
    issued, copies = shared.simulator.stats()["tokensIssued"], len(shared.retry_copies())
    since = shared.simulator.stats()["calls"]
    with shared.simulator.fault("slow", delayMs=20):
        shared.publish(*(new(consumer, market, pet=[pet(f"p{n}") for n in range(12)]) for consumer in consumers))
        for number in range(1, expiries + 1):
            # In the middle of the flow, and only once the token before is in use.
            calls_made(shared, since + number * 250)
            shared.simulator.add_fault("expire_tokens")
        assert shared.market_counts(worker, market, events=len(consumers)) == {"synced": len(consumers)}
    assert shared.failure_counts(worker, market) == {}
    assert len(shared.retry_copies()) == copies, "an attempt was used"
    refused = [call for call in shared.simulator.calls(since=since) if call.status == "fault"]
    assert len(refused) >= expiries, "no token expired in mid-flight, so nothing was proven"
    # One request for all callers that were refused.
    assert shared.simulator.stats()["tokensIssued"] == issued + expiries


def test_short_lived_tokens_are_replaced_before_they_expire(deploy: Deploy, tmp_path: Path) -> None:
    with running_simulator(tmp_path / "short.log", "--token-ttl", "2", "--latency-ms", "20") as simulator:
        deployment = deploy(**simulator.environment(), SYNC_CONCURRENCY="4")
        worker = deployment.worker().ready()
        events = [to_json(event) for event in sample_events(60, seed=5)]
        deployment.publish(*events)
        assert deployment.settled(worker, len(events))["synced"] == len(events)
        assert simulator.stats()["tokensIssued"] >= 2
        assert simulator.stats()["callsByStatus"].get("fault", 0) == 0, "a call was refused for its token"
        assert deployment.retry_copies() == []


def test_event_fails_after_its_attempts_while_no_token_can_be_had(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    with shared.simulator.fault("token_500"):
        shared.simulator.add_fault("expire_tokens")
        # One call has to find out that the token is invalid.
        [published] = shared.publish(new(consumer, market))
        assert shared.market_counts(worker, market) == {"failed": 1}
    [letter] = shared.dead_letters(published)
    assert (letter.header("x-sync-reason"), letter.header("x-sync-attempt")) == (b"CMT-TOKEN-UNAVAILABLE", b"3")
    after = new(consumer, market)
    shared.publish(after)
    assert shared.outcome(worker, after)["outcome"] == "synced"


@pytest.mark.parametrize(
    "body",
    [
        "[" * 200_000,
        json.dumps({"access_token": "t", "expires_in": int("9" * 400), "soap_instance_url": "https://x.example/"}),
    ],
    ids=["lists in lists", "a number of 400 digits"],
)
def test_an_odd_answer_of_the_token_endpoint_is_an_outage_of_it_and_no_bug(
    shared: Deployment, worker: WorkerProcess, body: str
) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    with shared.simulator.fault("answer", operation="Token", body=body):
        shared.simulator.add_fault("expire_tokens")
        [published] = shared.publish(new(consumer, market))
        assert shared.market_counts(worker, market) == {"failed": 1}
    [letter] = shared.dead_letters(published)
    # After all attempts, as this worker has no circuit breaker; with one it would have waited.
    assert (letter.header("x-sync-reason"), letter.header("x-sync-attempt")) == (b"CMT-TOKEN-MALFORMED", b"3")
    after = new(consumer, market)
    shared.publish(after)
    assert shared.outcome(worker, after)["outcome"] == "synced"
