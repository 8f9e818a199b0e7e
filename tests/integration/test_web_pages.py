"""The page with the counts, and the login: over real HTTP, on a real broker."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
import trustme

from app.broker import sources
from app.delivery.counts import FailureCount
from app.delivery.errors import CMT_TIMEOUT
from app.delivery.outcome import Outcome
from app.delivery.record_format import partition_key
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from app.web import WebServerError
from tests.support.kafka_probe import KafkaProbe
from tests.support.records import partition_state, settlement
from tests.support.web_site import Answer, Site, own_state_topics, running_site, tell_a_story, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    broker: sources.Broker, kafka: KafkaProbe, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    with own_state_topics(broker.bootstrap_servers) as settings:
        tell_a_story(kafka, settings)
        async with running_site(settings, tmp_path_factory.mktemp("site")) as running:
            yield running


class _Page(HTMLParser):
    """What a browser would load, run or send."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.forms: list[dict[str, str | None]] = []
        self.fields: dict[str, str | None] = {}
        self.text = ""
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.text += " "
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") and value]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self._script = tag == "script"
        if tag == "style":
            self.inline.append("style element")
        if tag == "form":
            self.forms.append(given)
        if tag == "input" and (name := given.get("name")):
            self.fields[name] = given.get("value")

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append("script")
        self.text += data


def _page(answer: Answer) -> _Page:
    assert answer.content_type == "text/html"
    return _Page(answer.body.decode())


async def _login(site: Site, given: str) -> tuple[Answer, dict[str, str]]:
    form = await site.get("/login")
    cookies = _cookies(form)
    fields = {"token": given, "csrf": str(_page(form).fields["csrf"])}
    answer = await site.get(
        "/login", method="POST", data=urlencode(fields), headers=FORM | {"Cookie": _header(cookies)}
    )
    return answer, cookies | _cookies(answer)


def _cookies(answer: Answer) -> dict[str, str]:
    pairs = [header.partition(";")[0].partition("=") for header in answer.headers.getall("Set-Cookie", [])]
    return {name: value for name, _, value in pairs}


def _header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


async def test_the_page_shows_the_counts_of_the_whole_cluster(site: Site) -> None:
    page = _page(await site.get("/", token()))
    words = re.sub(r"\s+", " ", page.text)
    assert "complete" in words
    assert "events 4" in words
    assert "parked 1" in words
    assert "CMT-ROW-INVALID" in words
    assert "digitalAsset" not in words
    assert re.search(r"pet UPDATE 1 1", words)


async def test_the_daily_table_shows_the_last_days_and_failures_say_what_to_do(
    kafka: KafkaProbe, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    failed = settlement(
        day=today, market="GB", outcome=Outcome.FAILED, failures=(FailureCount("consumer", CMT_TIMEOUT.code),)
    )
    long_ago = settlement(day="2020-01-01", market="FR")
    record = (partition_key(0, 1), partition_state(failed, long_ago).encode())
    kafka.produce(pipeline_of(kafka_settings).state_topic, [record], partition=0)
    async with running_site(kafka_settings, tmp_path) as running:
        page = _page(await running.get("/", token()))
    assert today in page.text
    assert "2020-01-01" not in page.text
    assert re.search(r"events\s*2", page.text)
    assert CMT_TIMEOUT.meaning in page.text
    assert CMT_TIMEOUT.remedy in page.text


async def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(site: Site) -> None:
    for path in ("/", "/login", "/nothing"):
        page = _page(await site.get(path, token()))
        assert page.inline == [], path
        assert all(address.startswith("/") and not address.startswith("//") for address in page.addresses), path
        for address in page.addresses:
            if address.startswith("/static/"):
                assert (await site.get(address)).status == 200, address


async def test_the_page_reads_at_the_width_of_a_phone(site: Site) -> None:
    text = (await site.get("/", token())).body.decode()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    style = (await site.get("/static/style.css")).body.decode()
    assert "prefers-color-scheme: dark" in style
    assert "max-width: 34rem" in style


async def test_foreign_values_are_shown_as_text(
    kafka: KafkaProbe, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    evil = settlement(
        market="<b>x</b>",
        day=time.strftime("%Y-%m-%d", time.gmtime()),
        failures=(FailureCount("<script>alert(1)</script>", "<img src=x>"),),
    )
    record = (partition_key(0, 1), partition_state(evil).encode())
    kafka.produce(pipeline_of(kafka_settings).state_topic, [record], partition=0)
    async with running_site(kafka_settings, tmp_path) as running:
        text = (await running.get("/", token())).body.decode()
    assert "&lt;b&gt;x" in text
    assert "<img" not in text
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    "cookie", [None, "", "abc", token(exp=int(time.time()) - 3600), token(aud="x"), token(secret="", algorithm="none")]
)
async def test_without_a_good_token_the_page_leads_to_the_login(site: Site, cookie: str | None) -> None:
    headers = {} if cookie is None else {"Cookie": f"profile_sync_token={cookie}"}
    answer = await site.get("/", headers=headers)
    assert answer.status == 303
    assert answer.headers["Location"] == "/login"
    assert answer.body == b""


async def test_a_bearer_token_opens_the_page_too_and_a_bad_one_says_so(site: Site) -> None:
    assert (await site.get("/", token())).status == 200
    assert (await site.get("/", token(exp=1))).status == 401
    assert (await site.get("/", token(scope="dlq:read"))).status == 403


async def test_logging_in_sets_a_cookie_no_script_can_read_and_logging_out_takes_it_back(site: Site) -> None:
    answer, cookies = await _login(site, token())
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    set_cookie = next(header for header in answer.headers.getall("Set-Cookie") if "profile_sync_token" in header)
    assert "HttpOnly" in set_cookie
    assert "SameSite=Strict" in set_cookie
    assert "Path=/" in set_cookie
    lifetime = re.search(r"Max-Age=(\d+)", set_cookie)
    assert lifetime is not None
    assert 500 < int(lifetime.group(1)) <= 600, "as long as the token"
    page = await site.get("/", headers={"Cookie": _header(cookies)})
    assert page.status == 200
    csrf = str(_page(page).fields["csrf"])
    out = await site.get(
        "/logout", method="POST", data=urlencode({"csrf": csrf}), headers=FORM | {"Cookie": _header(cookies)}
    )
    assert (out.status, out.headers["Location"]) == (303, "/login")
    assert "Max-Age=0" in next(h for h in out.headers.getall("Set-Cookie") if "profile_sync_token" in h)


@pytest.mark.parametrize(
    ("made", "status", "why"),
    [
        # Made when the test runs, because a valid token expires after ten minutes.
        (lambda: token(exp=1), 401, "expired"),
        (lambda: token(secret="another secret of thirty-two bytes!"), 401, "not valid"),
        (lambda: token(scope="dlq:read"), 403, "kpi:read"),
        (lambda: "", 401, "not a JWT"),
        (lambda: "x" * 5000, 401, "longer"),
    ],
    ids=["expired", "another secret", "another scope", "none", "too long"],
)
async def test_a_token_that_is_not_accepted_is_not_kept_and_the_form_says_why(
    site: Site, made: Callable[[], str], status: int, why: str
) -> None:
    given = made()
    answer, cookies = await _login(site, given)
    assert answer.status == status
    assert why in _page(answer).text
    assert "profile_sync_token" not in cookies
    assert not given or given not in answer.body.decode()


async def test_a_form_from_elsewhere_is_refused(site: Site) -> None:
    form = await site.get("/login")
    cookie, csrf = _header(_cookies(form)), str(_page(form).fields["csrf"])
    good = {"token": token(), "csrf": csrf}
    tries = {
        "no cookie": ({}, good),
        "no field": ({"Cookie": cookie}, {"token": token()}),
        "another value": ({"Cookie": cookie}, good | {"csrf": "x" * 43}),
        "both empty": ({"Cookie": "profile_sync_csrf="}, good | {"csrf": ""}),
    }
    for path in ("/login", "/logout"):
        for what, (headers, fields) in tries.items():
            answer = await site.get(path, method="POST", data=urlencode(fields), headers=FORM | headers)
            assert answer.status == 403, f"{path}: {what}"
            assert "Set-Cookie" not in answer.headers or "profile_sync_token" not in str(answer.headers)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        (FORM["Content-Type"], b"\xff\xfe=1", 400),
        (FORM["Content-Type"], b"&".join(b"a%d=1" % n for n in range(50)), 400),
        (FORM["Content-Type"], b"", 403),
    ],
)
async def test_a_body_that_is_no_form_is_refused(site: Site, content_type: str, body: bytes, status: int) -> None:
    answer = await site.get("/login", method="POST", data=body, headers={"Content-Type": content_type})
    assert answer.status == status


@pytest.mark.parametrize(
    "path", ["/nothing", "/login/", "/static/", "/static/../state.py", "/static/..%2fstate.py", "/%00"]
)
async def test_an_unknown_page_is_a_plain_page(site: Site, path: str) -> None:
    answer = await site.get(path)
    assert answer.status == 404
    assert "404 Not Found" in _page(answer).text


async def test_over_tls_cookies_are_secure(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    async with running_site(kafka_settings, tmp_path, caught_up=False, **tls) as running:
        assert running.url.startswith("https://")
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as client,
            client.get(running.url + "/login") as answer,
        ):
            assert answer.status == 200
            assert "Secure" in answer.headers["Set-Cookie"]
            assert "max-age" in answer.headers["Strict-Transport-Security"]


async def test_a_certificate_that_cannot_be_used_says_so(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    tls = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    with pytest.raises(WebServerError, match="WEB_TLS_CERT"):
        async with running_site(kafka_settings, tmp_path, caught_up=False, **tls):
            pytest.fail("it must not start")


async def test_without_authentication_there_is_no_login(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    async with running_site(kafka_settings, tmp_path, auth="off", jwt_secret=None) as running:
        page = await running.get("/")
        assert page.status == 200
        assert "Log out" not in _page(page).text
        assert (await running.get("/login")).headers["Location"] == "/"
