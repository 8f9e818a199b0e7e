// Makes the calls given on stdin, one after another, with one sfmc-sdk client; answers on stdout.
// In:  {"url", "client_id", "client_secret", "account_id", "calls": [["soap method", argument, ...], ...]}
// Out: [{"answer": ...} | {"error": message, "status": of the answer's OverallStatus, "results": of a failed write}, ...]
import SDK from 'sfmc-sdk';

let input = '';
for await (const chunk of process.stdin) input += chunk;
const { url, calls, ...credentials } = JSON.parse(input);

// The constructor takes nothing but addresses of the vendor; the real one is set once it has looked.
const vendor = `https://mc${'a'.repeat(26)}.auth.marketingcloudapis.com/`;
const sdk = new SDK({ ...credentials, auth_url: vendor }, { requestAttempts: 2, retryOnConnectionError: true });
sdk.auth.authObject.auth_url = url;

const outcomes = [];
for (const [method, ...parameters] of calls) {
    try {
        outcomes.push({ answer: await sdk.soap[method](...parameters) });
    } catch (error) {
        outcomes.push({ error: error.message, status: error.json?.OverallStatus, results: error.json?.Results });
    }
}
console.log(JSON.stringify(outcomes));
