"""Redrives, discards and changes of tasks over HTTP: what is written to Kafka, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.broker import sources
from app.delivery.consumer_record import ConsumerState, FullState, consumer_key
from app.delivery.dead_letter_record import LetterStatus
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import Action, LetterFilter, Selection
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from app.web.bodies import LARGEST_JSON_BYTES
from tests.integration.test_web_letters import described, is_problem
from tests.support.kafka_probe import KafkaProbe
from tests.support.web_site import JSON, Site, own_state_topics, running_site, token
from tests.unit.readmodels.test_letter_index import letter

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = 1_795_000_000_000
WRITE = token(scope="dlq:write", sub="ann@example.com")
READ = token(scope="dlq:read")
REDRIVE, DISCARD = "/api/dead-letters/redrive", "/api/dead-letters/discard"


def tell(kafka: KafkaProbe, settings: KafkaSettings) -> None:
    """Four open dead letters, of which a later state has superseded 0-1, and a settled one."""
    pipeline = pipeline_of(settings)
    letters = {
        LetterId(0, 1): letter(failed=START, consumer="C-1", event="e-1", opened_ms=START),
        LetterId(0, 2): letter(failed=START, consumer="C-2", event="e-2", opened_ms=START),
        LetterId(1, 3): letter(failed=START, consumer="C-3", event="e-3", opened_ms=START, market="FR"),
        LetterId(1, 4): letter(failed=START, consumer="C-4", event="e-4", opened_ms=START, market="FR"),
        LetterId(1, 5): letter(LetterStatus.SETTLED, failed=START, consumer="C-4", event="e-5"),
    }
    for one, content in letters.items():
        kafka.produce(pipeline.letters_topic, [(letter_key(one, 1), content.encode())], partition=one.partition)
    later = ConsumerState(9, "DE", full=FullState(9, "UPDATE", "e-9"))
    kafka.produce(pipeline.consumers_topic, [(consumer_key(0, 1, "C-1"), later.encode())], partition=0)


@pytest.fixture(scope="module")
def topics(broker: sources.Broker, kafka: KafkaProbe) -> Iterator[KafkaSettings]:
    with own_state_topics(broker.bootstrap_servers) as settings:
        tell(kafka, settings)
        yield settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(topics: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(topics, tmp_path_factory.mktemp("site")) as running:
        yield running


async def made(site: Site, path: str, document: Any) -> dict[str, Any]:
    answer = await site.post(path, document, WRITE)
    content: dict[str, Any] = described(answer, path, "post")
    assert answer.status == 202
    assert answer.headers["Location"] == f"/api/tasks/{content['taskId']}"
    return content


async def test_dead_letters_are_redriven_by_id_by_filter_and_all(site: Site) -> None:
    by_id = await made(site, REDRIVE, {"ids": ["0-2", "e-3", "0-2"], "ratePerSecond": 2.5, "note": " fixed "})
    assert (by_id["matched"], by_id["superseded"]) == (2, 0)
    task = site.models.tasks.task(by_id["taskId"])
    assert task is not None, "the worker that answered knows its task"
    assert (task.action, task.selection) == (Action.REDRIVE, Selection((LetterId(0, 2), LetterId(1, 3))))
    assert (task.by, task.note, task.rate, task.force) == ("ann@example.com", "fixed", 2.5, False)
    assert task.matched == {0: 1, 1: 1}
    by_filter = await made(site, REDRIVE, {"filter": {"market": "DE", "since": "2026-11-18"}})
    assert (by_filter["matched"], by_filter["superseded"]) == (2, 1)
    task = site.models.tasks.task(by_filter["taskId"])
    assert task is not None
    assert task.selection.filter == LetterFilter(market="DE", since_ms=1_794_960_000_000)
    everything = await made(site, REDRIVE, {"all": True})
    assert (everything["matched"], everything["superseded"]) == (4, 1)
    forced = await made(site, REDRIVE, {"ids": ["0-1"], "force": True})
    assert (forced["matched"], forced["superseded"]) == (1, 0)
    task = site.models.tasks.task(forced["taskId"])
    assert task is not None
    assert task.force


async def test_a_discard_says_why(site: Site) -> None:
    answer = await made(site, DISCARD, {"filter": {"fingerprint": "CMT-TIMEOUT:pet:NEW"}, "note": "test consumers"})
    assert (answer["matched"], answer["superseded"]) == (4, None)
    task = (await site.get(f"/api/tasks/{answer['taskId']}", READ)).json
    assert (task["action"], task["by"], task["note"]) == ("discard", "ann@example.com", "test consumers")


async def test_a_dry_run_and_a_filter_without_a_match_write_nothing(site: Site) -> None:
    before = len(site.models.tasks.all(1000))
    for path, document, matched in (
        (REDRIVE, {"filter": {"consumer": "nobody"}}, 0),
        (DISCARD, {"filter": {"market": "\0"}, "note": "x"}, 0),
        (DISCARD, {"all": True, "dryRun": True}, 4),
    ):
        answer = await site.post(path, document, WRITE)
        assert (answer.status, described(answer, path, "post")["matched"]) == (200, matched), document
    assert len(site.models.tasks.all(1000)) == before


async def test_a_task_is_paused_resumed_and_cancelled(site: Site) -> None:
    task = (await made(site, REDRIVE, {"ids": ["0-2"]}))["taskId"]
    address = f"/api/tasks/{task}"

    async def say(change: str, note: str | None = None) -> str:
        answer = await site.post(f"{address}/{change}", None if note is None else {"note": note}, WRITE)
        state: str = described(answer, f"/api/tasks/{{id}}/{change}", "post")["state"]
        return state

    assert [await say("pause", "release first"), await say("pause")] == ["paused", "paused"]
    known = site.models.tasks.known(task)
    assert known is not None and known.pause is not None
    assert (known.pause.by, known.pause.note) == ("ann@example.com", "release first")
    assert [await say("resume"), await say("resume"), await say("cancel")] == ["waiting", "waiting", "cancelled"]
    for change in ("pause", "resume", "cancel"):
        assert "already cancelled" in is_problem(await site.post(f"{address}/{change}", None, WRITE), 409)
        is_problem(await site.post(f"/api/tasks/redrive-none/{change}", None, WRITE), 404)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, 'give one of "ids", "filter" and "all"'),
        ({"ids": ["0-2"], "all": True}, "only one way"),
        ({"ids": ["0-2"], "filter": {"market": "DE"}}, "only one way"),
        ({"ids": []}, "at least one"),
        ({"ids": "0-2"}, "ids must be a list"),
        ({"ids": [5]}, "each of ids must be a text"),
        ({"ids": None}, "ids must be a list"),
        ({"ids": ["0-2"] * 10_001}, "at most 10,000"),
        ({"all": False}, "all must be true"),
        ({"all": "true"}, "all must be true"),
        ({"filter": {}}, '"all": true'),
        ({"filter": []}, "filter must be a JSON object"),
        ({"filter": {"market": ""}}, "market is empty"),
        ({"filter": {"market": 5}}, "market must be a text"),
        ({"filter": {"status": "open"}}, "unknown member status"),
        ({"filter": {"since": "yesterday"}}, "since takes"),
        ({"filter": {"market": "DE"}, "force": True}, "single IDs"),
        ({"all": True, "force": True}, "single IDs"),
        ({"ids": ["0-2"], "force": 1}, "force must be true or false"),
        ({"ids": ["0-2"], "dryRun": "no"}, "dryRun must be true or false"),
        ({"ids": ["0-2"], "dryrun": True}, "unknown member dryrun"),
        *(({"ids": ["0-2"], "ratePerSecond": rate}, "rate is from 0.01") for rate in (0, -1, -1e300, 1e300, 1e-300)),
        *(({"ids": ["0-2"], "ratePerSecond": rate}, "must be a number") for rate in (True, "5", None, [1])),
        ({"ids": ["0-2"], "note": ["x"]}, "note must be a text"),
        ({"ids": ["0-2"], "note": "é" * 251}, "502 bytes"),
        ([{"ids": ["0-2"]}], "must be a JSON object"),
    ],
)
async def test_what_a_redrive_may_not_ask_for_is_named(site: Site, document: Any, named: str) -> None:
    before = len(site.models.tasks.all(1000))
    assert named in is_problem(await site.post(REDRIVE, document, WRITE), 400)
    assert len(site.models.tasks.all(1000)) == before


async def test_what_a_discard_may_not_ask_for_is_named(site: Site) -> None:
    for document, named in (
        ({"ids": ["0-2"]}, "needs a note"),
        ({"ids": ["0-2"], "note": " "}, "needs a note"),
        ({"ids": ["0-2"], "note": "x", "force": True}, "unknown member force"),
        ({"ids": ["0-2"], "note": "x", "ratePerSecond": 5}, "unknown member ratePerSecond"),
    ):
        assert named in is_problem(await site.post(DISCARD, document, WRITE), 400)


async def test_dead_letters_that_cannot_be_handled_are_named(site: Site) -> None:
    unknown = is_problem(await site.post(REDRIVE, {"ids": ["0-2", "9-9", "nothing\0"]}, WRITE), 404)
    assert "9-9: no dead letter" in unknown
    assert "already settled" in is_problem(await site.post(REDRIVE, {"ids": ["1-5"]}, WRITE), 409)
    many = is_problem(await site.post(REDRIVE, {"ids": [f"9-{n}" for n in range(2000)]}, WRITE), 404)
    assert many.endswith("and 1,980 more")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\0\0", 400),
        (b'{"ids": ["0-2"], "ids": ["0-1"]}', 400),
        (b'{"ids": ["\\ud800"]}', 400),
        (b'{"ids": ["\xff"]}', 400),
        (b'{"ids": ["0-2"], "ratePerSecond": NaN}', 400),
        (b'{"ids": ["0-2"], "ratePerSecond": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 200_000, 400),
        (b'{"ids": ["' + b"x" * 1_000_000 + b'"]}', 413),
    ],
)
async def test_a_body_that_is_no_request_is_refused(site: Site, body: bytes, status: int) -> None:
    is_problem(await site.post(REDRIVE, None, WRITE, data=body, headers=JSON), status)


async def test_the_largest_list_of_ids_is_read(site: Site) -> None:
    names = [f"{n:037x}" for n in range(10_000)]
    assert len(str(names)) < LARGEST_JSON_BYTES
    assert "and 9,980 more" in is_problem(await site.post(REDRIVE, {"ids": names}, WRITE), 404)


async def test_a_body_without_an_end_is_refused_when_it_is_too_large(site: Site) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    is_problem(await site.post(REDRIVE, None, WRITE, data=endless(), headers=JSON), 413)


WRITES = (
    (REDRIVE, {"all": True}),
    (DISCARD, {"all": True, "note": "x"}),
    ("/api/tasks/redrive-none/pause", {}),
    ("/api/tasks/redrive-none/resume", {}),
    ("/api/tasks/redrive-none/cancel", {}),
)


async def test_nobody_writes_without_the_scope_or_from_a_page_of_another_site(site: Site, tmp_path: Path) -> None:
    before = len(site.models.tasks.all(1000))
    for path, document in WRITES:
        is_problem(await site.post(path, document), 401)
        lacking = await site.post(path, document, token(scope="kpi:read dlq:read dlq:values"))
        assert "dlq:write" in is_problem(lacking, 403)
        foreign = {"Sec-Fetch-Site": "cross-site", **JSON}
        is_problem(await site.post(path, document, WRITE, headers=foreign), 403)
        is_problem(await site.post(path, document, WRITE, headers={"Origin": "https://evil.example", **JSON}), 403)
        form = await site.post(path, document, WRITE, headers={"Content-Type": "text/plain"})
        assert "application/json" in is_problem(form, 415)
        assert (await site.get(path, WRITE, "PUT")).status == 405
    assert len(site.models.tasks.all(1000)) == before


async def test_a_request_that_its_sender_has_given_up_makes_at_most_one_task(site: Site) -> None:
    before = len(site.models.tasks.all(1000))
    asking = asyncio.ensure_future(site.post(REDRIVE, {"ids": ["0-2"], "note": "given up"}, WRITE))
    await asyncio.sleep(0)  # begun, not more
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await made(site, REDRIVE, {"ids": ["0-2"]})
    assert len(site.models.tasks.all(1000)) - before in (1, 2)


async def test_nothing_is_written_while_the_worker_catches_up(tmp_path: Path) -> None:
    away = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with running_site(away, tmp_path, caught_up=False) as site:
        for path, document in WRITES:
            answer = await site.post(path, document, WRITE)
            assert "nothing was done" in is_problem(answer, 503)
            assert answer.headers["Retry-After"]


async def test_without_a_name_in_the_token_the_record_says_so(
    site: Site, topics: KafkaSettings, tmp_path: Path
) -> None:
    for subject in (None, "\n", "a\0b", 5):
        nameless = token(scope="dlq:write", sub=subject)
        answer = await site.post(REDRIVE, {"ids": ["0-2"]}, nameless)
        if subject == 5:  # not a text, so the token is not valid
            is_problem(answer, 401)
            continue
        known = site.models.tasks.task(answer.json["taskId"])
        assert known is not None
        assert known.by == "web (token without sub)"
    async with running_site(topics, tmp_path, auth="off") as site:
        answer = await site.post(REDRIVE, {"ids": ["0-2"]})
        task = site.models.tasks.task(answer.json["taskId"])
        assert task is not None
        assert task.by == "web (WEB_AUTH=off)"
