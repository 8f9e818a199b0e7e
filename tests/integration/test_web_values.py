"""Values of dead letters over HTTP: masked, shown and recorded, edited; and the audit of what persons did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.broker import sources
from app.delivery.consumer_record import ConsumerState, consumer_key
from app.delivery.dead_letter_record import Holder, LetterStatus, ValuePlace
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import NOTE_BYTES
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.integration.test_web_letters import described, is_problem
from tests.support.kafka_probe import KafkaProbe
from tests.support.profiles import new, pet
from tests.support.web_site import JSON, Answer, Site, own_state_topics, running_site, token
from tests.unit.readmodels.test_letter_index import letter

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = 1_795_000_000_000
ID = "/api/dead-letters/{id}"
READ = token(scope="dlq:read", sub="reader")
VALUES = token(scope="dlq:read dlq:values", sub="ann")
WRITE = token(scope="dlq:write", sub="bob")
AUDIT = token(scope="audit:read")
SENT = [json.dumps(new(f"C-{n}", name="Zacharias")).encode() for n in range(3)] + [b'{"eventId": ', b"\xff\xfe\x00"]


def tell(kafka: KafkaProbe, settings: KafkaSettings) -> None:
    """Events 0-0 to 0-4, which became dead letters: 0-1 of a consumer who was deleted later, 0-3 and 0-4 are no JSON.
    0-9 has lost its bytes, 0-10 is settled, 0-11 has no key."""
    pipeline = pipeline_of(settings)
    kafka.produce(pipeline.topic, [(f"C-{n}", value) for n, value in enumerate(SENT)], partition=0)
    in_main = {n: letter(event=f"e-{n}", consumer=f"C-{n}", place=ValuePlace(Holder.MAIN, n)) for n in range(5)}
    in_main[0] = replace(in_main[0], place=ValuePlace(Holder.DLQ, 99))  # lost there, and still in the main topic
    letters = in_main | {
        9: letter(event="e-9"),
        10: letter(LetterStatus.SETTLED, event="e-10"),
        11: letter(event="e-11", consumer=None, has_key=False),
    }
    records = [(letter_key(LetterId(0, n), 1), one.encode()) for n, one in letters.items()]
    kafka.produce(pipeline.letters_topic, records, partition=0)
    erased = ConsumerState(8, "DE", erased=8)
    kafka.produce(pipeline.consumers_topic, [(consumer_key(0, 1, "C-1"), erased.encode())], partition=0)


@pytest.fixture(scope="module")
def topics(broker: sources.Broker, kafka: KafkaProbe) -> Iterator[KafkaSettings]:
    with own_state_topics(broker.bootstrap_servers) as settings:
        tell(kafka, settings)
        yield settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(topics: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(topics, tmp_path_factory.mktemp("site")) as running:
        yield running


async def detail(site: Site, letter_id: str, bearer: str, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = described(await site.get(f"/api/dead-letters/{letter_id}{query}", bearer), ID)
    return answer


async def audited(site: Site, query: str = "") -> list[dict[str, Any]]:
    answer = described(await site.get(f"/api/audit{query}", AUDIT), "/api/audit")
    assert answer["complete"] is True
    items: list[dict[str, Any]] = answer["items"]
    return items


async def put(site: Site, letter_id: str, value: bytes, query: str = "", **options: Any) -> Answer:
    given = {"data": value, "headers": JSON, "bearer": WRITE} | options
    bearer = given.pop("bearer")
    return await site.get(f"/api/dead-letters/{letter_id}/value{query}", bearer, "PUT", **given)


async def shown_to(site: Site, ids: list[str]) -> list[str]:
    return [one["by"] for one in await audited(site) if one["action"] == "view" and one["ids"] == ids]


async def test_a_value_is_masked_without_the_scope_and_shown_with_it_after_that_was_recorded(site: Site) -> None:
    masked = await detail(site, "0-0", READ)
    assert (masked["masked"], masked["valueMissing"]) == (True, None)
    assert "Zacharias" not in str(masked)
    assert json.loads(masked["value"])["consumerId"] == "C-0"
    assert (await detail(site, "0-0", VALUES, "?masked=true"))["value"] == masked["value"]
    assert await shown_to(site, ["0-0"]) == []
    shown = await detail(site, "0-0", VALUES)
    assert (shown["masked"], shown["value"]) == (False, SENT[0].decode())
    async with asyncio.timeout(30):
        while await shown_to(site, ["0-0"]) != ["ann"]:
            await asyncio.sleep(0.01)


async def test_values_that_are_gone_or_of_a_deleted_profile_are_never_shown(site: Site) -> None:
    gone, erased, binary = [await detail(site, one, VALUES) for one in ("0-9", "0-1", "0-4")]
    assert (gone["value"], gone["valueMissing"][:4]) == (None, "gone")
    assert erased["value"] is None
    assert "profile was deleted" in erased["valueMissing"]
    assert binary["valueBase64"] == "//4A"
    assert await shown_to(site, ["0-9"]) == await shown_to(site, ["0-1"]) == []


async def test_an_edit_is_checked_written_and_recorded(site: Site) -> None:
    wrong = [
        (b'{"eventId": "x"}', "EVENT-SCHEMA"),
        (json.dumps(new("C-2")).encode(), "EVENT-KEY-MISMATCH"),
        (json.dumps(new("C-3", pet=[pet("P-1", Wings=2)])).encode(), "EVENT-"),
        (SENT[3], "nothing was changed"),
        (b" ", "empty"),
        (b"\0" * 100, "EVENT-NOT-JSON"),
        (json.dumps(new("C-3", name="x" * 600_000)).encode(), "EVENT-TOO-LARGE"),
    ]
    for value, named in wrong:
        problem = is_problem(await put(site, "0-3", value), 422)
        assert named in problem
        assert "Wings=2" not in problem
    mended = json.dumps(new("C-3", name="Mended")).encode()
    done = described(await put(site, "0-3", mended, "?note=cut%20off"), f"{ID}/value", "put")
    one = await detail(site, "0-3", VALUES)
    assert (one["value"], one["originalValue"]) == (mended.decode(), SENT[3].decode())
    assert (one["edit"]["offset"], one["edit"]["by"], one["edit"]["note"]) == (done["offset"], "bob", "cut off")
    [entry] = [one for one in await audited(site) if one["action"] == "edit" and one["ids"] == ["0-3"]]
    assert (entry["by"], entry["note"]) == ("bob", "cut off")


async def test_of_two_edits_at_once_the_later_one_counts_and_both_are_recorded(site: Site) -> None:
    values = [json.dumps(new("C-2", name=name)).encode() for name in ("First", "Other")]
    answers = await asyncio.gather(*(put(site, "0-2", value) for value in values))
    offsets = [described(answer, f"{ID}/value", "put")["offset"] for answer in answers]
    assert len(set(offsets)) == 2
    last = values[0] if offsets[0] > offsets[1] else values[1]
    one = await detail(site, "0-2", VALUES)
    assert (one["value"], one["originalValue"]) == (last.decode(), SENT[2].decode())
    assert len([one for one in await audited(site) if one["action"] == "edit" and one["ids"] == ["0-2"]]) == 2


async def test_what_cannot_be_edited_is_said(site: Site) -> None:
    value = json.dumps(new("C-0")).encode()
    for letter_id, status, named in (
        ("7-7", 404, "no dead letter"),
        ("%00", 404, "no dead letter"),
        ("0-10", 409, "already settled"),
        ("0-9", 409, "gone"),
        ("0-1", 409, "deleted"),
        ("0-11", 409, "no readable key"),
    ):
        assert named in is_problem(await put(site, letter_id, value), status)
    assert "501 bytes" in is_problem(await put(site, "0-0", value, "?note=" + "x" * (NOTE_BYTES + 1)), 400)
    assert "unknown parameter" in is_problem(await put(site, "0-0", value, "?force=true"), 400)
    is_problem(await put(site, "0-0", b"x" * 3_000_000), 413)
    is_problem(await put(site, "0-0", value, headers={"Content-Type": "text/plain"}), 415)
    is_problem(await put(site, "0-0", value, headers={"Origin": "https://evil.example", **JSON}), 403)
    is_problem(await put(site, "0-0", value, bearer=None), 401)
    assert "dlq:write" in is_problem(await put(site, "0-0", value, bearer=VALUES), 403)
    assert (await detail(site, "0-0", READ))["edit"] is None


async def test_the_audit_is_paged_newest_first(site: Site) -> None:
    for number in range(3):
        note = f"note {number}"
        answer = await site.post("/api/dead-letters/discard", {"filter": {"consumer": "C-0"}, "note": note}, WRITE)
        assert answer.status == 202
    task = answer.json["taskId"]
    await site.post(f"/api/tasks/{task}/cancel", {"note": "no"}, WRITE)
    everything = await audited(site, "?limit=1000")
    assert [one["at"] for one in everything] == sorted((one["at"] for one in everything), reverse=True)
    cancelled, discarded = everything[:2]
    assert (cancelled["action"], cancelled["task"], cancelled["note"]) == ("cancel", task, "no")
    assert discarded == {
        "at": discarded["at"],
        "by": "bob",
        "action": "discard",
        "task": task,
        "ids": [],
        "filter": {"consumer": "C-0"},
        "matched": 1,
        "force": False,
        "note": "note 2",
    }
    paged: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await site.get("/api/audit?limit=2" + (f"&cursor={cursor}" if cursor else ""), AUDIT)).json
        paged += page["items"]
        cursor = page["next"]
    assert paged == everything
    assert await audited(site, "?since=2099-01-01") == []
    assert await audited(site, "?since=1h") == everything


async def test_the_audit_needs_its_scope_and_refuses_what_it_cannot_use(site: Site) -> None:
    is_problem(await site.get("/api/audit"), 401)
    assert "audit:read" in is_problem(await site.get("/api/audit", token(scope="dlq:read dlq:write")), 403)
    for query in ("cursor=abc", "cursor=" + "W" * 4000, "cursor=WzEsMl0", "since=x", "limit=0", "by=ann"):
        is_problem(await site.get(f"/api/audit?{query}", AUDIT), 400)
    assert "true or false" in is_problem(await site.get("/api/dead-letters/0-0?masked=1", VALUES), 400)


async def test_a_worker_that_cannot_record_shows_no_value(tmp_path: Path) -> None:
    away = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    async with running_site(away, tmp_path, caught_up=False) as site:
        is_problem(await put(site, "0-0", b"{}"), 503)
        answer = (await site.get("/api/audit", AUDIT)).json
        assert (answer["complete"], answer["items"]) == (False, [])
