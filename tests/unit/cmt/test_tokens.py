"""The life of a token: one request for all, early and in time, and no storm when it is refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from app.cmt.errors import CallFailed
from app.cmt.token_answer import Token
from app.cmt.tokens import EARLY_AGAIN_SECONDS, TokenClient
from app.delivery import errors as registry
from app.http.answer import Answer, FailureKind, TransportFailed
from app.settings import CmtSettings

SECRET = "very-secret-value"
LIFE = 1000.0


class Endpoint:
    """A token endpoint under the test's control: answers in order, and only while its gate is open."""

    def __init__(self) -> None:
        self.now = 50_000.0
        self.answers: list[Answer | TransportFailed] = []
        self.requests: list[dict[str, Any]] = []
        self.urls: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.slept: list[float] = []
        self.results: list[str] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.urls.append(url)
        self.requests.append(json.loads(body))
        await self.gate.wait()
        if not self.answers:
            return issued(f"token-{len(self.requests)}")
        answer = self.answers.pop(0)
        if isinstance(answer, TransportFailed):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def client(self, **settings: Any) -> TokenClient:
        given = {"auth_url": "https://auth.example", "client_id": "me", "client_secret": SECRET} | settings
        return TokenClient(
            CmtSettings.model_validate(given),
            self.post,
            on_refresh=self.results.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


def issued(value: str = "token", **changes: Any) -> Answer:
    document = {
        "access_token": value,
        "token_type": "Bearer",
        "expires_in": LIFE,
        "soap_instance_url": "https://soap.example/",
    } | changes
    return Answer(200, json.dumps({name: part for name, part in document.items() if part is not ...}).encode())


def refused(retry_after: float | None = None) -> Answer:
    return Answer(401, json.dumps({"error": "invalid_client", "error_description": SECRET}).encode(), retry_after)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


async def error_of(tokens: TokenClient) -> Any:
    with pytest.raises(CallFailed) as caught:
        await tokens.get()
    return caught.value.error


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_token_is_asked_for_once_and_then_used(endpoint: Endpoint) -> None:
    tokens = endpoint.client(account_id="523000123")
    first, second = await tokens.get(), await tokens.get()
    assert first is second
    assert first.soap_url == "https://soap.example/Service.asmx"
    assert endpoint.urls == ["https://auth.example/v2/token"]
    assert endpoint.requests == [
        {
            "grant_type": "client_credentials",
            "client_id": "me",
            "client_secret": SECRET,
            "account_id": 523000123,
        }
    ]
    assert endpoint.results == ["ok"]


async def test_all_callers_share_one_request(endpoint: Endpoint) -> None:
    tokens = endpoint.client()
    got = await asyncio.gather(*(tokens.get() for _ in range(50)))
    assert {token.value for token in got} == {"token-1"}


async def test_a_caller_that_gives_up_does_not_stop_the_request(endpoint: Endpoint) -> None:
    tokens = endpoint.client()
    endpoint.gate.clear()
    first, second = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await settle()
    first.cancel()
    await settle()
    endpoint.gate.set()
    assert (await second).value == "token-1"
    assert first.cancelled()
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(("life", "early"), [(1079, 215.8), (100, 20), (5, 1), (36_000, 300)])
async def test_a_token_is_replaced_early_without_anybody_waiting(endpoint: Endpoint, life: int, early: float) -> None:
    endpoint.answers = [issued("old", expires_in=life), issued("new", expires_in=life)]
    tokens = endpoint.client()
    await tokens.get()
    endpoint.now += life - early - 0.01
    await tokens.get()
    await settle()
    assert len(endpoint.requests) == 1
    endpoint.now += 0.02
    endpoint.gate.clear()
    assert (await tokens.get()).value == "old"
    endpoint.gate.set()
    await settle()
    assert (await tokens.get()).value == "new"
    assert len(endpoint.requests) == 2


async def test_an_expired_token_is_waited_for(endpoint: Endpoint) -> None:
    endpoint.answers = [issued("old"), issued("new")]
    tokens = endpoint.client()
    await tokens.get()
    endpoint.now += LIFE
    assert (await tokens.get()).value == "new"


async def test_a_failed_early_replacement_harms_nobody_and_is_not_repeated_at_once(endpoint: Endpoint) -> None:
    endpoint.answers = [issued("old"), Answer(404, b""), issued("new")]
    tokens = endpoint.client()
    await tokens.get()
    endpoint.now += LIFE * 0.9
    for _ in range(5):
        assert (await tokens.get()).value == "old"
        await settle()
    assert len(endpoint.requests) == 2
    endpoint.now += EARLY_AGAIN_SECONDS
    await tokens.get()
    await settle()
    assert (await tokens.get()).value == "new"


async def test_a_refused_token_is_replaced_once_for_all_who_were_refused(endpoint: Endpoint) -> None:
    tokens = endpoint.client()
    old = await tokens.get()
    tokens.accepted(old)
    for _ in range(20):
        tokens.invalidate(old)
    got = await asyncio.gather(*(tokens.get() for _ in range(20)))
    for _ in range(20):
        tokens.invalidate(old)
    assert {token.value for token in (*got, await tokens.get())} == {"token-2"}
    assert len(endpoint.requests) == 2


async def test_fresh_tokens_that_are_refused_again_and_again_are_replaced_ever_more_rarely(endpoint: Endpoint) -> None:
    tokens = endpoint.client()
    for _ in range(600):  # a minute of refusals, ten a second
        tokens.invalidate(await tokens.get())
        endpoint.now += 0.1
    assert 6 <= len(endpoint.requests) <= 8
    endpoint.now += 60
    tokens.invalidate(await tokens.get())
    tokens.accepted(await tokens.get())
    before = len(endpoint.requests)
    tokens.invalidate(await tokens.get())
    await tokens.get()
    assert len(endpoint.requests) == before + 1


async def test_wrong_credentials_are_not_tried_all_the_time(endpoint: Endpoint) -> None:
    endpoint.answers = [refused() for _ in range(100)]
    tokens = endpoint.client()
    for _ in range(600):
        error = await error_of(tokens)
        assert error.code == "CMT-TOKEN-REFUSED"
        endpoint.now += 0.1
    assert 5 <= len(endpoint.requests) <= 7
    assert error.retry_after > 0
    assert set(endpoint.results) == {"CMT-TOKEN-REFUSED"}


async def test_credentials_that_were_mended_are_found(endpoint: Endpoint) -> None:
    endpoint.answers = [refused(), issued("new")]
    tokens = endpoint.client()
    await error_of(tokens)
    endpoint.now += 1.01
    assert (await tokens.get()).value == "new"


@pytest.mark.parametrize(("retry_after", "waits"), [(7.0, 7.0), (None, 5.0)])
async def test_a_throttling_endpoint_is_left_alone_for_as_long_as_it_asks(
    endpoint: Endpoint, retry_after: float | None, waits: float
) -> None:
    endpoint.answers = [Answer(429, b"{}", retry_after)]
    tokens = endpoint.client()
    assert (await error_of(tokens)).code == "CMT-TOKEN-THROTTLED"
    endpoint.now += waits - 1
    error = await error_of(tokens)
    assert (error.code, error.retry_after) == ("CMT-TOKEN-THROTTLED", pytest.approx(1.0))
    assert len(endpoint.requests) == 1
    endpoint.now += 1.01
    await tokens.get()


async def test_a_caller_that_is_milliseconds_too_early_waits_for_them(endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(429, b"{}", 7.0)]
    tokens = endpoint.client()
    await error_of(tokens)
    endpoint.now += 6.998
    assert (await tokens.get()).value == "token-2"
    assert endpoint.slept == [pytest.approx(0.002)]


@pytest.mark.parametrize("answer", [Answer(429, b"{}", 30.0), refused(30.0), Answer(503, b"", 30.0)])
async def test_all_callers_together_leave_an_endpoint_alone_that_asked_for_it(
    endpoint: Endpoint, answer: Answer
) -> None:
    endpoint.answers = [answer]
    tokens = endpoint.client()
    for _ in range(29):
        failures = await asyncio.gather(*(tokens.get() for _ in range(20)), return_exceptions=True)
        assert all(isinstance(failure, CallFailed) for failure in failures)
        endpoint.now += 1
    assert len(endpoint.requests) == 1
    endpoint.now += 1.01
    got = await asyncio.gather(*(tokens.get() for _ in range(20)))
    assert {token.value for token in got} == {"token-2"}


@pytest.mark.parametrize(
    "answer", [Answer(429, b"{}", 7.0), refused(), Answer(500, b""), Answer(404, b""), Answer(200, b"{}")]
)
async def test_without_a_token_no_event_uses_up_an_attempt(endpoint: Endpoint, answer: Answer) -> None:
    endpoint.answers = [answer] * 3
    entry = registry.lookup((await error_of(endpoint.client())).code)
    assert entry.every_call, "the circuit breaker opens at once"


async def test_an_account_that_is_blocked_is_not_asked_for_again_and_again(endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(429, b'{"message": "x", "errorcode": 50200}')] * 50
    tokens = endpoint.client()
    for _ in range(120):
        assert (await error_of(tokens)).code == "CMT-BLOCKED"
        endpoint.now += 1
    assert len(endpoint.requests) == 7, "at once and after 1, 2, 4, 8, 16, 32 s"


async def test_an_account_has_a_token_of_its_own(endpoint: Endpoint) -> None:
    settings = CmtSettings(auth_url="https://auth.example", client_id="me", client_secret=SECRET, account_id="1")  # type: ignore[arg-type]
    clients = [TokenClient(given, endpoint.post) for given in (settings, settings.for_account("510002"))]
    one, other = [await client.get() for client in clients]
    assert [request["account_id"] for request in endpoint.requests] == [1, 510002]
    clients[1].invalidate(other)
    assert await clients[0].get() is one
    assert await clients[1].get() is not other


async def test_a_stumble_of_the_endpoint_is_not_felt(endpoint: Endpoint) -> None:
    broken = TransportFailed(FailureKind.CONNECTION, "broke", sent=True)
    endpoint.answers = [Answer(500, b"oops"), broken, issued("third")]
    tokens = endpoint.client()
    assert (await tokens.get()).value == "third"
    assert len(endpoint.slept) == 2
    assert endpoint.results == ["ok"]


@pytest.mark.parametrize(
    ("answers", "code", "requests"),
    [
        ([Answer(500, b"oops")] * 3, "CMT-TOKEN-UNAVAILABLE", 3),
        ([Answer(503, b"oops", 2.0)], "CMT-TOKEN-UNAVAILABLE", 1),
        ([TransportFailed(FailureKind.CONNECTION, "broke", sent=True)] * 3, "CMT-TOKEN-UNAVAILABLE", 3),
        ([TransportFailed(FailureKind.TIMEOUT, "late", sent=True)], "CMT-TOKEN-UNAVAILABLE", 1),
        ([Answer(404, b"<html>")], "CMT-TOKEN-MALFORMED", 1),
        ([Answer(302, b"")], "CMT-TOKEN-MALFORMED", 1),
        ([Answer(400, b'{"error": "invalid_request"}')], "CMT-TOKEN-REFUSED", 1),
        ([Answer(403, b"<html>")], "CMT-TOKEN-MALFORMED", 1),
        ([Answer(200, b"<html>")], "CMT-TOKEN-MALFORMED", 1),
        ([Answer(200, b"[]")], "CMT-TOKEN-MALFORMED", 1),
        ([issued(access_token=...)], "CMT-TOKEN-MALFORMED", 1),
        ([issued(access_token="two\nlines")], "CMT-TOKEN-MALFORMED", 1),
        ([issued(access_token=["x"])], "CMT-TOKEN-MALFORMED", 1),
        ([issued(expires_in=0)], "CMT-TOKEN-MALFORMED", 1),
        ([issued(expires_in="soon")], "CMT-TOKEN-MALFORMED", 1),
        ([issued(soap_instance_url=...)], "CMT-TOKEN-MALFORMED", 1),
        ([issued(soap_instance_url="http://soap.example/")], "CMT-TOKEN-MALFORMED", 1),
    ],
)
async def test_what_is_no_token(
    endpoint: Endpoint, answers: list[Answer | TransportFailed], code: str, requests: int
) -> None:
    endpoint.answers = list(answers)
    tokens = endpoint.client()
    assert (await error_of(tokens)).code == code
    assert len(endpoint.requests) == requests
    assert endpoint.results == [code]


async def test_a_life_in_text_is_understood(endpoint: Endpoint) -> None:
    endpoint.answers = [issued(expires_in="100")]
    assert (await endpoint.client().get()).expires_at == endpoint.now + 100


async def test_without_a_life_a_plain_jwt_tells_its_own(endpoint: Endpoint) -> None:
    value = jwt.encode({"exp": time.time() + 100}, "k" * 32, algorithm="HS256")
    endpoint.answers = [issued(value, expires_in=...)]
    token = await endpoint.client().get()
    assert token.expires_at - endpoint.now == pytest.approx(100, abs=5)


@pytest.mark.parametrize(("expires_in", "exp", "life"), [(1000, 100, 100), (100, 1000, 100), (1000, -100, 1000)])
async def test_of_what_the_answer_and_a_plain_jwt_say_the_sooner_counts(
    endpoint: Endpoint, expires_in: int, exp: int, life: int
) -> None:
    value = jwt.encode({"exp": time.time() + exp}, "k" * 32, algorithm="HS256")
    endpoint.answers = [issued(value, expires_in=expires_in)]
    token = await endpoint.client().get()
    assert token.expires_at - endpoint.now == pytest.approx(life, abs=5)


@pytest.mark.parametrize("value", ["a.b.c.d", "opaque", "e30.e30.x"])
async def test_without_any_word_of_its_life_a_token_is_used_for_ten_minutes(endpoint: Endpoint, value: str) -> None:
    endpoint.answers = [issued(value, expires_in=...)]
    token = await endpoint.client().get()
    assert token.value == value
    assert token.expires_at - endpoint.now == 600


@pytest.mark.parametrize("auth_url", ["https://a.example", "https://a.example/v2/token", "https://a.example/v2/token/"])
async def test_the_address_is_accepted_with_and_without_its_path(endpoint: Endpoint, auth_url: str) -> None:
    await endpoint.client(auth_url=auth_url).get()
    assert endpoint.urls == ["https://a.example/v2/token"]


async def test_a_configured_soap_address_wins(endpoint: Endpoint) -> None:
    endpoint.answers = [issued(soap_instance_url="http://elsewhere.example/")]
    tokens = endpoint.client(soap_url="https://mine.example/service.asmx")
    assert (await tokens.get()).soap_url == "https://mine.example/service.asmx"


async def test_neither_secret_nor_token_is_ever_shown(endpoint: Endpoint) -> None:
    endpoint.answers = [refused(), issued("t0ken-value")]
    tokens = endpoint.client()
    error = await error_of(tokens)
    endpoint.now += 2
    token = await tokens.get()
    shown = f"{error!r} {CallFailed(error)} {token!r} {tokens!r}"
    assert SECRET not in shown
    assert "t0ken-value" not in shown


async def test_closing_stops_a_request_under_way(endpoint: Endpoint) -> None:
    tokens = endpoint.client()
    endpoint.gate.clear()
    waiting = asyncio.create_task(tokens.get())
    await settle()
    await asyncio.wait_for(tokens.close(), 1)
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_tokens_are_told_apart_by_identity_not_by_content() -> None:
    assert Token("x", "u", 1, 2) != Token("x", "u", 1, 2)
