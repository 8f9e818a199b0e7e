"""Dead letters and operators' tasks over HTTP, from the records in Kafka: lists, filters, pages, and who gets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator, FormatChecker

from app.broker import sources
from app.delivery.consumer_record import consumer_key
from app.delivery.counts import FailureCount
from app.delivery.dead_letter_record import DeadLetter, HistoryLine, LetterStatus
from app.delivery.failed_attempt import FailedAttempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import Action, LetterFilter, Note, OperatorTask, Selection, TaskEnd, TaskKey
from app.delivery.outcome import Outcome
from app.profile.consumer_history import after_settling
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from app.web.openapi import document
from tests.support.kafka_probe import KafkaProbe
from tests.support.records import settlement
from tests.support.web_site import Answer, Site, own_state_topics, running_site, token
from tests.unit.readmodels.test_letter_index import letter

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = 1_795_000_000_000
HOUR = 3_600_000
INVALID = Fingerprint("CMT-ROW-INVALID", "consumer", "NEW")
TASK = OperatorTask(
    "redrive-20261118-110000-abcdef",
    Action.REDRIVE,
    Selection(filter=LetterFilter(market="FR")),
    START + 1,
    "ann",
    "fixed the column",
    matched={0: 2, 1: 1},
)
READ = token(scope="dlq:read")
KPI = token(scope="kpi:read")


def story() -> dict[LetterId, DeadLetter]:
    """Seven dead letters on two partitions: five open ones of two kinds, a settled and a discarded one."""
    line = HistoryLine(START, "redrive", "synced", "", "ann", TASK.id, "fixed the column")
    return {
        **{
            LetterId(0, at): letter(failed=START + at, consumer=f"C-{at}", event=f"e-{at}", kind=INVALID)
            for at in range(3)
        },
        LetterId(1, 7): letter(failed=START + HOUR, consumer="C-1", event="e-7", market="FR"),
        LetterId(1, 8, foreign=True): letter(failed=START + HOUR, consumer=None, event="dlq-1-8", market="-"),
        LetterId(0, 3): letter(
            LetterStatus.SETTLED,
            failed=START,
            consumer="C-9",
            event="e-twice",
            market="FR",
            attempts=(FailedAttempt(START, "CMT-TIMEOUT"),),
            tasks=(TASK.id,),
            history=(line,),
            redrives=1,
        ),
        LetterId(0, 4): letter(LetterStatus.DISCARDED, failed=START, consumer="C-8", event="e-twice", market="FR"),
    }


def tell(kafka: KafkaProbe, settings: KafkaSettings) -> None:
    pipeline = pipeline_of(settings)
    for one, content in story().items():
        kafka.produce(pipeline.letters_topic, [(letter_key(one, 1), content.encode())], partition=one.partition)
    failed = settlement(
        "e-1", outcome=Outcome.PARTIAL, reason="CMT-ROW-INVALID", failures=(FailureCount("pet", "CMT-ROW-INVALID"),)
    )
    ended = [
        (consumer_key(0, 1, name), after_settling(None, at, failed, START + at).encode())
        for at, name in enumerate(("P-1", "P-2", "C-1"))
    ]
    kafka.produce(pipeline.consumers_topic, ended, partition=0)
    records = [
        (TaskKey(TASK.id).encode(), TASK.encode()),
        (TaskKey(TASK.id, "pause").encode(), Note("bob", START + 5).encode()),
        (TaskKey(TASK.id, "end", 1).encode(), TaskEnd(START + 6).encode()),
    ]
    kafka.produce(pipeline.tasks_topic, records, partition=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    broker: sources.Broker, kafka: KafkaProbe, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A site for tests that only read; it runs for the whole module."""
    with own_state_topics(broker.bootstrap_servers) as settings:
        tell(kafka, settings)
        async with running_site(settings, tmp_path_factory.mktemp("site")) as running:
            yield running


def described(answer: Answer, path: str, method: str = "get") -> Any:
    """The answer, which is what the description says."""
    whole = document()
    content = whole["paths"][path][method]["responses"][str(answer.status)]["content"]
    schema = content[answer.content_type]["schema"] | {"components": whole["components"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(answer.json)
    return answer.json


def is_problem(answer: Answer, status: int) -> str:
    assert answer.status == status, answer.body
    assert answer.content_type == "application/problem+json"
    detail: str = answer.json["detail"]
    return detail


async def ids(site: Site, query: str = "") -> list[str]:
    answer = described(await site.get(f"/api/dead-letters{query}", READ), "/api/dead-letters")
    assert answer["complete"] is True
    return [one["id"] for one in answer["items"]]


async def test_open_dead_letters_are_listed_newest_failure_first(site: Site) -> None:
    assert await ids(site) == ["dlq-1-8", "1-7", "0-2", "0-1", "0-0"]
    first = (await site.get("/api/dead-letters?consumer=C-2", READ)).json["items"][0]
    assert first == {
        "id": "0-2",
        "consumerId": "C-2",
        "eventId": "e-2",
        "market": "DE",
        "operation": "NEW",
        "entity": "consumer",
        "reason": "CMT-ROW-INVALID",
        "fingerprint": "CMT-ROW-INVALID:consumer:NEW",
        "message": "m",
        "attempts": 1,
        "firstFailedAt": "1970-01-01T00:00:00.001Z",
        "failedAt": "2026-11-18T11:06:40.002Z",
        "status": "open",
        "redrives": 0,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?fingerprint=CMT-ROW-INVALID:consumer:NEW", {"0-0", "0-1", "0-2"}),
        ("?fingerprint=profile-sync:CMT-ROW-INVALID:consumer:NEW", {"0-0", "0-1", "0-2"}),
        ("?reason=CMT-TIMEOUT&market=FR", {"1-7"}),
        ("?entity=pet&operation=NEW", {"1-7", "dlq-1-8"}),
        ("?consumer=C-1", {"1-7", "0-1"}),
        ("?since=2026-11-18T11:30Z", {"1-7", "dlq-1-8"}),
        ("?until=2026-11-18T11:30Z", {"0-0", "0-1", "0-2"}),
        ("?market=FR&status=all", {"1-7", "0-3", "0-4"}),
        ("?status=settled,discarded", {"0-3", "0-4"}),
        ("?status=redriving", set()),
        ("?consumer=nobody", set()),
        ("?consumer=%00%F0%9F%90%88", set()),
    ],
)
async def test_filters_choose(site: Site, query: str, expected: set[str]) -> None:
    assert set(await ids(site, query)) == expected


@pytest.mark.parametrize("path", ["/api/dead-letters", "/api/dead-letters/groups"])
async def test_a_name_that_cannot_exist_is_refused_because_an_empty_list_would_look_like_good_news(
    site: Site, path: str
) -> None:
    assert "did you mean CMT-ROW-INVALID?" in is_problem(await site.get(f"{path}?reason=CMT-ROW-INVALD", READ), 400)
    assert "three parts" in is_problem(await site.get(f"{path}?fingerprint=CMT-ROW-INVALID:consumer", READ), 400)
    assert (await site.get(f"{path}?reason=CMT-PERMISSION", READ)).json["items"] == []


async def test_pages_follow_each_other_by_cursor(site: Site) -> None:
    found: list[list[str]] = []
    query = "?status=all&limit=3"
    cursor: str | None = ""
    while cursor is not None:
        page = (await site.get(f"/api/dead-letters{query}" + (f"&cursor={cursor}" if cursor else ""), READ)).json
        found.append([one["id"] for one in page["items"]])
        cursor = page["next"]
    assert [len(page) for page in found] == [3, 3, 1]
    assert [one for page in found for one in page] == await ids(site, "?status=all")


async def test_groups_say_how_many_since_when_and_give_an_example(site: Site) -> None:
    answer = await site.get("/api/dead-letters/groups", READ)
    large, small = described(answer, "/api/dead-letters/groups")["items"]
    assert large == {
        "fingerprint": "CMT-ROW-INVALID:consumer:NEW",
        "reason": "CMT-ROW-INVALID",
        "entity": "consumer",
        "operation": "NEW",
        "open": 3,
        "consumers": 3,
        "oldest": "2026-11-18T11:06:40.000Z",
        "newest": "2026-11-18T11:06:40.002Z",
        "example": "0-2",
    }
    assert (small["open"], small["consumers"]) == (2, 1)
    late = (await site.get("/api/dead-letters/groups?since=2026-11-18T11:30Z&market=FR", READ)).json["items"]
    assert [(group["open"], group["example"]) for group in late] == [(1, "1-7")]


async def test_one_dead_letter_is_found_by_its_id_and_by_its_event_id(site: Site) -> None:
    for name in ("1-7", "e-7"):
        one = described(await site.get(f"/api/dead-letters/{name}", READ), "/api/dead-letters/{id}")
        assert (one["id"], one["eventId"], one["complete"]) == ("1-7", "e-7", True)
    settled = described(await site.get("/api/dead-letters/0-3", READ), "/api/dead-letters/{id}")
    assert settled["attempts"] == [{"at": "2026-11-18T11:06:40.000Z", "code": "CMT-TIMEOUT"}]
    assert [(line["by"], line["task"], line["note"]) for line in settled["history"]] == [
        ("ann", TASK.id, "fixed the column")
    ]
    assert "0-3" in is_problem(await site.get("/api/dead-letters/e-twice", READ), 409)
    for name in ("9-9", "nothing", "%00", "5-026"):
        assert name not in is_problem(await site.get(f"/api/dead-letters/{name}", READ), 404)


async def test_tasks_say_how_far_they_are(site: Site) -> None:
    [listed] = described(await site.get("/api/tasks?limit=5", READ), "/api/tasks")["items"]
    one = described(await site.get(f"/api/tasks/{TASK.id}", READ), "/api/tasks/{id}")
    assert one == {**listed, "complete": True}
    assert one == {
        "complete": True,
        "id": TASK.id,
        "action": "redrive",
        "state": "paused",
        "matched": 3,
        "done": 1,
        "outcomes": {"synced": 1},
        "open": 1,
        "by": "ann",
        "note": "fixed the column",
        "createdAt": "2026-11-18T11:06:40.001Z",
        "selection": {"by": "filter", "number": None, "filter": {"market": "FR"}},
        "ratePerSecond": None,
        "force": False,
        "paused": {"at": "2026-11-18T11:06:40.005Z", "by": "bob", "note": ""},
        "resumed": None,
        "cancelled": None,
        "endedAt": None,
    }
    is_problem(await site.get("/api/tasks/redrive-none", READ), 404)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/dead-letters?markt=DE", "unknown parameter markt"),
        ("/api/dead-letters?market=DE&market=FR", "market is given more than once"),
        ("/api/dead-letters?market=", "market is empty"),
        ("/api/dead-letters?limit=0", "limit"),
        ("/api/dead-letters?limit=1001", "limit"),
        ("/api/dead-letters?limit=1e2", "limit"),
        ("/api/dead-letters?limit=%D9%A1", "limit"),
        ("/api/dead-letters?since=yesterday", "since"),
        ("/api/dead-letters?until=9999-99-99", "until"),
        ("/api/dead-letters?status=closed", "open, redriving, settled, discarded, all"),
        ("/api/dead-letters?cursor=abc", "not a cursor"),
        ("/api/dead-letters/groups?status=open", "unknown parameter status"),
        ("/api/dead-letters/1-7?values=1", "unknown parameter values"),
        ("/api/tasks?limit=x", "limit"),
        ("/api/tasks/x?limit=1", "takes none"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(site: Site, path: str, named: str) -> None:
    assert named in is_problem(await site.get(path, READ), 400)


async def test_a_cursor_of_another_filter_is_refused(site: Site) -> None:
    page = (await site.get("/api/dead-letters?limit=1", READ)).json
    other = await site.get(f"/api/dead-letters?limit=1&market=DE&cursor={page['next']}", READ)
    assert "another filter" in is_problem(other, 400)


async def test_consumers_are_found_by_how_their_last_event_ended(site: Site) -> None:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        query = "?outcome=partial&since=2026-11-18&limit=2" + (f"&cursor={cursor}" if cursor else "")
        page = described(await site.get(f"/api/consumers{query}", KPI), "/api/consumers")
        assert page["complete"] is True
        found += page["items"]
        cursor = page["next"]
    assert [one["consumerId"] for one in found] == ["C-1", "P-2", "P-1"]
    assert (found[0]["lastEntity"], found[0]["lastReason"]) == ("pet", "CMT-ROW-INVALID")
    for query in ("outcome=synced", "outcome=partial&since=2099-01-01"):
        assert (await site.get(f"/api/consumers?{query}", KPI)).json["items"] == []
    later = (await site.get("/api/consumers?outcome=partial&limit=1", KPI)).json["next"]
    for query, named in (
        ("", "outcome must be one of synced"),
        ("outcome=", "outcome must be"),
        ("outcome=partial%00", "outcome must be"),
        ("outcome=partial&limit=1e9", "limit"),
        ("outcome=partial&cursor=x", "not a cursor"),
        (f"outcome=synced&cursor={later}", "another filter"),
        ("outcome=partial&market=DE", "unknown parameter market"),
    ):
        assert named in is_problem(await site.get(f"/api/consumers?{query}", KPI), 400)
    is_problem(await site.get("/api/consumers?outcome=partial"), 401)
    assert "kpi:read" in is_problem(await site.get("/api/consumers?outcome=partial", READ), 403)


async def test_a_consumer_is_shown_with_its_dead_letters(site: Site) -> None:
    path = "/api/consumers/{id}"
    one = described(await site.get("/api/consumers/C-1", KPI), path)
    assert (one["lastOutcome"], [letter["id"] for letter in one["deadLetters"]]) == ("partial", ["1-7", "0-1"])
    without = described(await site.get("/api/consumers/C-9", KPI), path)
    assert (without["lastOutcome"], [letter["status"] for letter in without["deadLetters"]]) == (None, ["settled"])
    assert described(await site.get("/api/consumers/P-1", KPI), path)["deadLetters"] == []
    is_problem(await site.get("/api/consumers/nobody", KPI), 404)


READS = (
    "/api/dead-letters",
    "/api/dead-letters/groups",
    "/api/dead-letters/1-7",
    "/api/tasks",
    f"/api/tasks/{TASK.id}",
)


async def test_nobody_reads_without_the_scope(site: Site) -> None:
    for path in READS:
        is_problem(await site.get(path), 401)
        assert "dlq:read" in is_problem(await site.get(path, token(scope="kpi:read dlq:write dlq:values")), 403)
        assert (await site.get(path, READ)).status == 200


async def test_an_answer_is_not_complete_while_the_dead_letters_are_being_read(tmp_path: Path) -> None:
    away = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with running_site(away, tmp_path, caught_up=False) as site:
        for path in ("/api/dead-letters", "/api/dead-letters/groups", "/api/tasks"):
            answer = (await site.get(path, READ)).json
            assert (answer["complete"], answer["items"]) == (False, [])
        assert "catching up" in is_problem(await site.get("/api/dead-letters/1-7", READ), 404)
