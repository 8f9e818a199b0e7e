"""`profile-sync status` fits a terminal of 80 columns, whatever there is to say, and cuts nothing off."""

from __future__ import annotations

import json
from dataclasses import replace

from app.cli.status_report import WIDTH, PipelineView, document, lines
from app.delivery.cluster_facts import Facts, OpenIncident
from app.delivery.cluster_status import judge
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.worker_status import AccountState, AccountStatus, ReasonStatus, WorkerEnd, WorkerStatus

NOW = 1_763_000_000_000
AWAY = AccountStatus(name="510001234", state=AccountState.OUTAGE, cause="CMT-TOKEN-REFUSED", since=NOW - 600_000)
GOOD = WorkerStatus(
    worker="pod-7f9c-a1b2",
    at=NOW - 2_000,
    started=NOW - 7_500_000,
    version="0.1.0",
    pipeline="consumers",
    topic="consumer-profiles",
    group="profile-sync",
    target="mc.example.com",
    strategy="replace",
    ready=True,
    partitions=tuple(range(8)),
    accounts=(AccountStatus(name="default"),),
    last_success=NOW - 22_000,
)


def seen(*workers: WorkerStatus, **fields: object) -> PipelineView:
    facts = Facts(workers=workers, partitions=range(8), **fields)  # type: ignore[arg-type]
    return PipelineView("consumer-profiles", "profile-sync", facts, judge(facts, NOW), 0, {}, NOW)


def test_a_pipeline_that_works_in_a_few_lines() -> None:
    assert list(lines(seen(GOOD))) == [
        "profile-sync  0.1.0, 2025-11-13 02:13:20Z",
        "state         all is well",
        "",
        "pipeline      consumers: consumer-profiles -> mc.example.com",
        "              group profile-sync, strategy replace",
        "workers       1",
        "              pod-7f9c-a1b2: ready, partitions 0-7, up for 2 h 5 min, 0.1.0",
        "lag           0 events",
        "parked        0 events of 0 consumers",
        "accounts      default: up",
        "dead letters  0",
        "              with records of other programs: profile-sync dlq stats",
        "today (UTC)   no event settled yet",
        "last success  2025-11-13 02:12:58Z, 22 s ago",
    ]


def test_a_dry_run_is_named_when_its_worker_has_stopped() -> None:
    stopped = replace(seen(), partitions={0: PartitionState(dry_run=True)})
    assert "              group profile-sync, DRY RUN" in list(lines(stopped))
    assert document(stopped)["dryRun"] is True


def test_why_the_last_worker_ended_is_shown() -> None:
    shown = seen(last_end=WorkerEnd(worker="pod-1", at=NOW - 180_000, reason="Group g works in earnest."))
    text = " ".join(line.strip() for line in lines(shown))
    assert "no worker is running; the last one, pod-1, ended 3 min ago: Group g works in earnest." in text
    assert document(shown)["lastEnd"] == {
        "worker": "pod-1",
        "at": "2025-11-13T02:10:20Z",
        "reason": "Group g works in earnest.",
    }


def test_the_worst_case_fits_too_and_nothing_is_cut() -> None:
    long = "x" * 150
    bad = GOOD.model_copy(
        update={
            "worker": long,
            "accounts": (AWAY,),
            "dry_run": True,
            "ready": False,
            "reasons": (ReasonStatus(kind="kafka", text="topic " + long + " may not be read\x1b[31m"),),
        }
    )
    silent = GOOD.model_copy(update={"worker": "gone", "at": NOW - 300_000})
    incident = OpenIncident("CMT-OUTAGE:account-510001234:-", "INC0010001", "outage", NOW - 600_000, 41)
    parked = PartitionState(
        parked={1: ParkedEvent("C-1", "e", 2, NOW, NOW - 240_000, NOW, "CMT-TIMEOUT"), 2: ParkedEvent("C-1")}
    )
    shown = seen(bad, silent, incidents=[incident], dead_letters={"CMT-ROW-INVALID": 1200, "EVENT-SCHEMA": 3})
    text = list(lines(replace(shown, lag=1234, partitions={0: parked})))
    assert max(map(len, text)) <= WIDTH
    together = "".join(line.strip() for line in text)
    assert together.count(long) == 3
    assert "\x1b" not in together
    for part in (
        "KAFKA IS AWAY, NEEDS A PERSON",
        "DRY RUN",
        "gone: silent for 5 min",
        "outage for 10 min",
        "INC0010001",
    ):
        assert part in " ".join(text), part
    assert "parked        2 events of 1 consumers, the first failed 4 min ago" in text
    assert "dead letters  1,203: CMT-ROW-INVALID 1,200, EVENT-SCHEMA 3" in text


def test_without_any_worker_it_says_so() -> None:
    text = list(lines(seen()))
    assert text[1].endswith("NO WORKER, NEEDS A PERSON")
    assert "  ! no worker is running" in text


def test_the_document_has_the_same() -> None:
    found = json.loads(json.dumps(document(seen(GOOD, dead_letters={"EVENT-SCHEMA": 1}))))
    assert (found["level"], found["headline"], found["needsPerson"]) == ("good", "needs a person", True)
    assert found["deadLetters"] == {"EVENT-SCHEMA": 1}
    assert found["workers"][0]["lastSuccess"] == found["lastSuccess"] == "2025-11-13T02:12:58Z"
    assert found["lag"] == {"records": 0, "waitingSince": None}
    assert found["today"]["synced"] == 0


def test_a_missing_right_is_shown_with_how_long_events_have_waited_for_it() -> None:
    lacks = AccountStatus(
        name="default", lacks="may not read CMT_Pet", lacks_since=NOW - 240_000, blocked=True, waiting=1
    )
    parked = PartitionState(parked={1: ParkedEvent("C-1")})
    shown = replace(seen(GOOD.model_copy(update={"accounts": (lacks,)})), partitions={0: parked})
    text = list(lines(shown))
    assert text[1] == "state         A RIGHT IS MISSING, NEEDS A PERSON"
    assert "parked        1 events of 1 consumers, some have waited for a right for 4 min" in text
    assert "accounts      default: up, may not read CMT_Pet" in text
    found = document(shown)
    assert found["parked"]["blockedSince"] == "2025-11-13T02:09:20Z"
    assert found["workers"][0]["accounts"][0]["lacks"] == "may not read CMT_Pet"


def test_the_last_success_is_not_known_without_a_worker_and_a_dry_run_has_none() -> None:
    assert "last success  not known: no worker is running" in list(lines(seen()))
    fresh = GOOD.model_copy(update={"last_success": None})
    assert "last success  none since the workers started" in list(lines(seen(fresh)))
    dry = GOOD.model_copy(update={"dry_run": True})
    assert "last success  dry run: nothing is written" in list(lines(seen(dry)))
