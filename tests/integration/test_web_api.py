"""The HTTP API on a real broker, over real HTTP: the answers, who gets them, and their form."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
import pytest_asyncio
import yarl
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jsonschema import Draft202012Validator, FormatChecker
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from app.broker import sources
from app.delivery.consumer_record import consumer_key
from app.delivery.counts import MARKETS_PER_DAY
from app.delivery.outcome import Outcome
from app.delivery.record_format import partition_key
from app.observe.health import Reason, ReasonKind
from app.observe.metrics import Gauges
from app.settings import KafkaSettings, WebSettings
from app.settings.pipelines import pipeline_of
from app.web import WebServer, WebServerError, WebState
from app.web.openapi import document
from tests.support.kafka_probe import KafkaProbe
from tests.support.records import consumer_state, partition_state, settlement
from tests.support.web_site import SECRET, Answer, Site, own_state_topics, running_site, tell_a_story, token

GUARDED = (
    "/api/kpi/daily",
    "/api/kpi/records",
    "/api/kpi/failures",
    "/api/kpi/totals",
    "/api/consumers/C-1",
)
OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json")
NONE = {"synced": 0, "partial": 0, "failed": 0, "invalid": 0, "superseded": 0, "discarded": 0}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    broker: sources.Broker, kafka: KafkaProbe, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A site for tests that only read; it runs for the whole module."""
    with own_state_topics(broker.bootstrap_servers) as settings:
        tell_a_story(kafka, settings)
        async with running_site(settings, tmp_path_factory.mktemp("site")) as running:
            yield running


@pytest_asyncio.fixture(loop_scope="module")
async def own_site(kafka: KafkaProbe, kafka_settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Site]:
    """A site for a test that changes something."""
    tell_a_story(kafka, kafka_settings)
    async with running_site(kafka_settings, tmp_path) as running:
        yield running


def _is_problem(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["detail"]
    return problem


# What is answered.
async def test_totals_are_the_sum_of_all_partitions(site: Site) -> None:
    answer = await site.get("/api/kpi/totals", token())
    assert answer.status == 200
    assert answer.json == {
        "complete": True,
        **NONE,
        "synced": 1,
        "partial": 1,
        "invalid": 1,
        "superseded": 1,
        "events": 4,
        "parked": 1,
    }


async def test_daily_rows_are_sorted_and_filtered(site: Site) -> None:
    everything = await site.get("/api/kpi/daily", token())
    assert everything.json == {
        "complete": True,
        "rows": [
            {"day": "2026-11-20", "market": "FR", **NONE, "superseded": 1},
            {"day": "2026-11-21", "market": "-", **NONE, "invalid": 1},
            {"day": "2026-11-21", "market": "DE", **NONE, "synced": 1, "partial": 1},
        ],
    }
    one_day = await site.get("/api/kpi/daily?from=2026-11-20&to=2026-11-20", token())
    assert [row["market"] for row in one_day.json["rows"]] == ["FR"]
    one_market = await site.get("/api/kpi/daily?market=DE", token())
    assert [row["market"] for row in one_market.json["rows"]] == ["DE"]


async def test_records_and_failures_have_their_rows(site: Site) -> None:
    records = await site.get("/api/kpi/records?market=DE", token())
    assert records.json["rows"] == [
        {"day": "2026-11-21", "market": "DE", "entity": "consumer", "operation": "NEW", "synced": 1, "failed": 0},
        {"day": "2026-11-21", "market": "DE", "entity": "consumer", "operation": "UPDATE", "synced": 1, "failed": 0},
        {"day": "2026-11-21", "market": "DE", "entity": "pet", "operation": "UPDATE", "synced": 1, "failed": 1},
    ]
    failures = await site.get("/api/kpi/failures", token())
    assert [(row["reason"], row["count"]) for row in failures.json["rows"]] == [
        ("EVENT-NOT-JSON", 1),
        ("CMT-ROW-INVALID", 1),
    ]


async def test_a_consumer_is_shown_with_what_was_settled_or_parked(site: Site) -> None:
    settled = (await site.get("/api/consumers/C-1", token())).json
    assert (settled["consumerId"], settled["lastEventId"], settled["lastOutcome"]) == ("C-1", "e-3", "synced")
    assert settled["lastSyncedAt"] == "2026-11-18T11:06:40.000Z"
    assert settled["parked"] == []
    parked = (await site.get("/api/consumers/C-2", token())).json
    assert parked["lastEventId"] is None
    assert parked["parked"] == [
        {
            "id": "0-5",
            "eventId": "e-5",
            "attempts": 2,
            "dueAt": "2026-11-18T11:06:41.000Z",
            "reason": "CMT-TIMEOUT",
            "firstFailedAt": "2026-11-18T11:06:40.000Z",
        }
    ]


async def test_new_counts_are_seen_while_it_runs(
    own_site: Site, kafka: KafkaProbe, kafka_settings: KafkaSettings
) -> None:
    pipeline = pipeline_of(kafka_settings)
    newer = partition_state(*(settlement(f"n-{n}", outcome=Outcome.SYNCED) for n in range(10)))
    kafka.produce(pipeline.state_topic, [(partition_key(1, 1), newer.encode())], partition=1)
    assert await own_site.models.wait_until(pipeline.state_topic, 1, 1, timeout=30)
    assert (await own_site.get("/api/kpi/totals", token())).json["events"] == 14


@pytest.mark.parametrize("consumer", ["nobody", "C-1%2F..", "%ff%fe", "%00", "x" * 2000, "%F0%9F%90%88", "C-1'--"])
async def test_a_consumer_never_seen_is_not_found_whatever_the_name(site: Site, consumer: str) -> None:
    problem = _is_problem(await site.get(f"/api/consumers/{consumer}", token()), 404)
    assert consumer not in problem["detail"]


async def test_a_consumer_id_may_hold_any_character(
    own_site: Site, kafka: KafkaProbe, kafka_settings: KafkaSettings
) -> None:
    pipeline = pipeline_of(kafka_settings)
    name = "a/b|c d?é%😀"
    record = (consumer_key(2, 1, name), consumer_state(1).encode())
    kafka.produce(pipeline.consumers_topic, [record], partition=2)
    assert await own_site.models.wait_until(pipeline.consumers_topic, 2, 1, timeout=30)
    path = yarl.URL(f"{own_site.url}/api/consumers/{quote(name, safe='')}", encoded=True)
    async with own_site.client.get(path, headers={"Authorization": f"Bearer {token()}"}) as answer:
        assert answer.status == 200
        assert (await answer.json())["consumerId"] == name


@pytest.mark.parametrize("path", ["/api/kpi/daily", "/api/kpi/records", "/api/kpi/failures"])
@pytest.mark.parametrize("query", ["from=yesterday", "to=2026-02-30", "from=2026-02-02&to=2026-02-01", "market=a%20b"])
async def test_a_filter_that_cannot_be_used_is_named(site: Site, path: str, query: str) -> None:
    problem = _is_problem(await site.get(f"{path}?{query}", token()), 400)
    assert query.split("=")[0] in problem["detail"]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/kpi/daily?markt=DE", "unknown parameter markt; known are from, to, market"),
        ("/api/kpi/records?From=2026-11-20&day=1", "unknown parameter From, day; known are from, to, market"),
        ("/api/kpi/failures?%3Cscript%3E=1", "unknown parameter (unusual name); known are from, to, market"),
        ("/api/kpi/totals?market=DE", "unknown parameter market; this address takes none"),
        ("/api/consumers/C-1?market=DE", "unknown parameter market; this address takes none"),
    ],
)
async def test_a_parameter_that_would_be_ignored_is_refused(site: Site, path: str, named: str) -> None:
    assert _is_problem(await site.get(path, token()), 400)["detail"] == named


# To whom.
@pytest.mark.parametrize("path", GUARDED)
async def test_no_token_no_answer(site: Site, path: str) -> None:
    answer = await site.get(path)
    _is_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="profile-sync"'


BAD_TOKENS = {
    "expired": lambda: token(exp=int(time.time()) - 3600),
    "never expires": lambda: token(exp=None),
    "alg=none": lambda: token(secret="", algorithm="none"),
    "wrong audience": lambda: token(aud="somebody-else"),
    "no audience": lambda: token(aud=None),
    "wrong secret": lambda: token(secret="another secret of thirty-two bytes!"),
    "wrong algorithm": lambda: token(secret=SECRET * 2, algorithm="HS512"),
    "not a token": lambda: "abc.def.ghi",
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_gets_no_answer_on_any_route(site: Site, kind: str) -> None:
    bad = BAD_TOKENS[kind]()
    for path in GUARDED:
        answer = await site.get(path, bad)
        problem = _is_problem(answer, 401)
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert bad not in str(problem)


@pytest.mark.parametrize("scope", [None, "", "dlq:read dlq:write", "kpi:readx", ["dlq:read"]])
async def test_a_token_that_is_too_weak_is_told_what_it_lacks(site: Site, scope: object) -> None:
    for path in GUARDED:
        answer = await site.get(path, token(scope=scope))
        assert "kpi:read" in _is_problem(answer, 403)["detail"]
        assert 'error="insufficient_scope", scope="kpi:read"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer a b", "Token abc"])
async def test_another_scheme_gets_no_answer(site: Site, header: str) -> None:
    for path in GUARDED:
        _is_problem(await site.get(path, headers={"Authorization": header}), 401)


async def test_a_cookie_does_not_open_the_api(site: Site) -> None:
    for path in GUARDED:
        _is_problem(await site.get(path, headers={"Cookie": f"profile_sync_token={token()}"}), 401)


async def test_a_token_in_the_address_does_not_open_the_api(site: Site) -> None:
    _is_problem(await site.get(f"/api/kpi/totals?access_token={token()}"), 401)


async def test_an_unknown_consumer_and_a_known_one_look_the_same_without_a_token(site: Site) -> None:
    known, unknown = await site.get("/api/consumers/C-1"), await site.get("/api/consumers/nobody")
    assert (known.status, known.body) == (unknown.status, unknown.body)


@pytest.mark.parametrize("path", OPEN)
async def test_probes_and_description_are_open(site: Site, path: str) -> None:
    assert (await site.get(path)).status == 200


async def test_without_authentication_everything_on_loopback_is_open_but_foreign_names_are_refused(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    async with running_site(kafka_settings, tmp_path, auth="off") as site:
        for path in GUARDED[:4]:
            assert (await site.get(path)).status == 200
        _is_problem(await site.get("/api/kpi/totals", headers={"Host": "attacker.example:80"}), 421)
        for host in ("localhost:1234", "127.0.0.1", "[::1]:80"):
            assert (await site.get("/api/kpi/totals", headers={"Host": host})).status == 200


# Keys of an identity provider.
class Provider:
    """Serves a key set; ``hits`` counts the requests."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.hits = 0

    async def keys(self, _request: web.Request) -> web.Response:
        self.hits += 1
        one = json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key())) | {"kid": "r", "use": "sig", "alg": "RS256"}
        two = json.loads(ECAlgorithm.to_jwk(self.ec.public_key())) | {"kid": "e", "use": "sig", "alg": "ES256"}
        return web.json_response({"keys": [one, two]})

    def signed(self, algorithm: str, kid: str | None, **claims: Any) -> str:
        key = self.rsa if algorithm.startswith(("RS", "PS")) else self.ec
        payload = {"aud": "profile-sync", "scope": "kpi:read", "exp": int(time.time()) + 600} | claims
        return jwt.encode(payload, _pem(key), algorithm=algorithm, headers={"kid": kid} if kid else {})


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[tuple[Provider, str]]:
    known = Provider()
    app = web.Application()
    app.router.add_get("/keys", known.keys)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield known, f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    await runner.cleanup()


async def test_tokens_of_an_identity_provider_are_accepted_and_its_keys_fetched_once(
    kafka_settings: KafkaSettings, tmp_path: Path, provider: tuple[Provider, str]
) -> None:
    known, url = provider
    async with running_site(kafka_settings, tmp_path, jwt_secret=None, jwks_url=url) as site:
        for algorithm, kid in (("RS256", "r"), ("ES256", "e"), ("RS256", "r")):
            assert (await site.get("/api/kpi/totals", known.signed(algorithm, kid))).status == 200
        assert known.hits == 1


async def test_keys_of_an_identity_provider_open_nothing_else(
    kafka_settings: KafkaSettings, tmp_path: Path, provider: tuple[Provider, str]
) -> None:
    known, url = provider
    public = known.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = Provider()
    async with running_site(kafka_settings, tmp_path, jwt_secret=None, jwks_url=url) as site:
        bad = {
            "signed by a stranger": stranger.signed("RS256", "r"),
            "unknown key": known.signed("RS256", "x"),
            "no key named": known.signed("RS256", None),
            "the other kind of key": known.signed("RS256", "e"),
            "another algorithm of the same key": known.signed("PS256", "r"),
            "the public key as a secret": _hs256_by_hand(public),
            "a secret nobody configured": token(),
            "expired": known.signed("RS256", "r", exp=int(time.time()) - 3600),
        }
        for what, one in bad.items():
            for path in GUARDED:
                assert (await site.get(path, one)).status == 401, what
        assert known.hits <= 3, "unknown keys must not become a flood of requests"


def _hs256_by_hand(secret: bytes) -> str:
    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    payload = {"aud": "profile-sync", "scope": "kpi:read", "exp": int(time.time()) + 600}
    unsigned = f"{part(json.dumps({'alg': 'HS256', 'kid': 'r'}).encode())}.{part(json.dumps(payload).encode())}"
    return f"{unsigned}.{part(hmac.new(secret, unsigned.encode(), hashlib.sha256).digest())}"


async def test_a_provider_that_is_away_is_no_fault_of_the_caller(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    async with running_site(kafka_settings, tmp_path, jwt_secret=None, jwks_url="http://127.0.0.1:1/keys") as site:
        answer = await site.get("/api/kpi/totals", Provider().signed("RS256", "r"))
        _is_problem(answer, 503)
        assert answer.headers["Retry-After"]


# In which form.
@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/kpi",
        "/api/kpi/totals/",
        "/api/consumers/",
        "/api/consumers/a/",
        "//api/kpi",
    ],
)
async def test_an_unknown_address_under_api_is_a_problem_and_never_a_redirect(site: Site, path: str) -> None:
    for bearer in (None, token()):
        answer = await site.get(path, bearer)
        if path == "//api/kpi":
            assert answer.status == 404
        else:
            _is_problem(answer, 404)


@pytest.mark.parametrize("path", [*GUARDED, *OPEN])
async def test_another_method_is_refused_with_those_there_are(site: Site, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await site.get(path, token(), method=method)
        _is_problem(answer, 405)
        assert answer.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", [*GUARDED, *OPEN, "/login"])
async def test_head_answers_as_get_without_a_body(site: Site, path: str) -> None:
    get, head = await site.get(path, token()), await site.get(path, token(), method="HEAD")
    assert (head.status, head.content_type, head.body) == (get.status, get.content_type, b"")


@pytest.mark.parametrize("path", [*GUARDED, *OPEN, "/", "/login", "/nothing", "/api/nothing", "/static/style.css"])
async def test_every_answer_has_the_security_headers(site: Site, path: str) -> None:
    for bearer in (None, token()):
        headers = (await site.get(path, bearer)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "aiohttp" not in headers["Server"]
        if not path.startswith("/static/"):
            assert headers["Cache-Control"] == "no-store"


async def test_real_answers_are_what_the_description_says(site: Site) -> None:
    described = document()
    assert (await site.get("/openapi.json")).json == described
    cases = [(path, token(), 200) for path in GUARDED]
    cases += [(path, None, 401) for path in GUARDED]
    cases += [(path, token(scope=""), 403) for path in GUARDED]
    cases += [("/api/kpi/daily?from=x", token(), 400), ("/api/consumers/C-2", token(), 200)]
    cases += [("/api/consumers/nobody", token(), 404), ("/healthz", None, 200), ("/readyz", None, 200)]
    for path, bearer, status in cases:
        answer = await site.get(path, bearer)
        assert answer.status == status
        template = "/api/consumers/{id}" if path.startswith("/api/consumers/") else path.partition("?")[0]
        content = described["paths"][template]["get"]["responses"][str(status)]["content"]
        schema = content[answer.content_type]["schema"] | {"components": described["components"]}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(answer.json)


async def test_readiness_says_what_is_missing(own_site: Site) -> None:
    assert (await own_site.get("/readyz")).json == {"ready": True, "reasons": []}
    own_site.missing.append(Reason(ReasonKind.KAFKA, "the partitions are not assigned yet"))
    answer = await own_site.get("/readyz", token())
    assert answer.status == 503
    assert answer.json == {"ready": False, "reasons": ["the partitions are not assigned yet"]}
    assert (await own_site.get("/healthz")).status == 200


async def test_metrics_are_served_as_prometheus_reads_them(own_site: Site) -> None:
    own_site.metrics.event_settled("synced", "DE", 0.1)
    answer = await own_site.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b'profile_sync_events_settled_total{market="DE",outcome="synced"} 1.0' in answer.body


async def test_while_catching_up_the_answer_is_not_called_complete(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    away = kafka_settings.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    async with running_site(away, tmp_path, caught_up=False) as site:
        assert (await site.get("/api/kpi/totals", token())).json["complete"] is False
        assert (await site.get("/api/kpi/daily", token())).json == {"complete": False, "rows": []}
        assert "catching up" in _is_problem(await site.get("/api/consumers/C-1", token()), 404)["detail"]


# What must do no harm.
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/consumers/ann@example.com\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/kpi/totals HTTP/1.1\r\nHost: a b\r\nAuthorization: Bearer hush-hush\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 99999999999\r\n\r\n" + b"a" * 3_000_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS to a plain port\r\n\r\n",
    ],
    ids=["control character", "bad header", "long header", "long path", "long body", "TLS"],
)
async def test_malformed_and_oversized_requests_are_refused_and_not_logged(
    site: Site, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.readline(), 10)
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer
    assert "ann@" not in caplog.text
    assert "hush" not in caplog.text
    assert (await site.get("/healthz")).status == 200


async def test_the_log_names_routes_and_no_consumers(site: Site) -> None:
    with capture_logs() as lines:
        await site.get("/api/consumers/ann.example?note=secret", token())
        await site.get("/nothing/ann.example", token())
    assert [(line["route"], line["status"]) for line in lines] == [("/api/consumers/{id}", 400), ("unknown", 404)]
    assert "ann" not in str(lines)
    assert "secret" not in str(lines)


async def test_an_error_of_ours_is_a_plain_500_and_in_the_log(own_site: Site) -> None:
    def broken() -> float:
        raise ValueError("a bug at ann@example.com")

    own_site.metrics.watch(Gauges(in_flight=broken))
    with capture_logs() as lines:
        problem = _is_problem(await own_site.get("/metrics"), 500)
    assert "ann@" not in str(problem)
    assert [line["event"] for line in lines] == ["request failed", "request"]


async def test_a_port_that_is_taken_says_so(site: Site) -> None:
    port = int(site.url.rpartition(":")[2])
    state = WebState(site.models, site.metrics, lambda: pytest.fail("not asked"))
    with pytest.raises(WebServerError, match=f"WEB_PORT {port}"):
        await WebServer(state, WebSettings(port=port, jwt_secret=SECRET)).start()  # type: ignore[arg-type]


async def test_counts_of_a_dry_run_say_so(own_site: Site, kafka: KafkaProbe, kafka_settings: KafkaSettings) -> None:
    addresses = ("/api/kpi/totals", "/api/kpi/daily", "/api/kpi/records", "/api/kpi/failures")
    for address in addresses:
        assert "dryRun" not in (await own_site.get(address, token())).json
    state = partition_state(settlement("dry"))
    state.dry_run = True
    kafka.produce(pipeline_of(kafka_settings).state_topic, [(partition_key(2, 1), state.encode())], partition=2)
    while (await own_site.get("/api/kpi/totals", token())).json["events"] != 5:
        await asyncio.sleep(0.02)
    for address in addresses:
        assert (await own_site.get(address, token())).json["dryRun"] is True


async def test_a_day_with_too_many_markets_says_so_in_the_api_and_on_the_page(
    own_site: Site, kafka: KafkaProbe, kafka_settings: KafkaSettings
) -> None:
    assert "folded" not in (await own_site.get("/api/kpi/daily", token())).json
    markets = [settlement(f"m{number}", day="2026-11-22", market=f"M{number}") for number in range(MARKETS_PER_DAY + 2)]
    kafka.produce(
        pipeline_of(kafka_settings).state_topic,
        [(partition_key(2, 1), partition_state(*markets).encode())],
        partition=2,
    )
    while not (await own_site.get("/api/kpi/daily?market=other", token())).json["rows"]:
        await asyncio.sleep(0.02)
    for kind in ("daily", "records", "failures"):
        assert (await own_site.get(f"/api/kpi/{kind}?market=M1", token())).json["folded"] is True
        assert "folded" not in (await own_site.get(f"/api/kpi/{kind}?to=2026-11-21", token())).json
    assert b"count as <code>other</code>" in (await own_site.get("/", token())).body
    [row] = (await own_site.get("/api/kpi/daily?market=other", token())).json["rows"]
    assert row["synced"] == 2
    assert (await own_site.get("/api/kpi/totals", token())).json["events"] == 4 + MARKETS_PER_DAY + 2
