"""What needs a person, and what the badge says: one judgement for the command and the page."""

from __future__ import annotations

from typing import Any

import pytest

from app.delivery.cluster_facts import Facts, FindingKind, Level, OpenIncident
from app.delivery.cluster_status import FORGOTTEN_MS, LONG_WAIT_MS, STALE_MS, judge
from app.delivery.expiring_values import ExpiringValues
from app.delivery.worker_status import (
    AccountState,
    AccountStatus,
    ReasonStatus,
    UnreadableStatus,
    WorkerEnd,
    WorkerStatus,
    read_worker_end,
    read_worker_status,
)

NOW = 1_763_000_000_000
AWAY = AccountStatus(name="default", state=AccountState.OUTAGE, cause="CMT-TIMEOUT", since=NOW - 90_000)
THROTTLED = AccountStatus(name="default", state=AccountState.THROTTLED, cause="CMT-RATE-LIMITED", since=NOW - 5_000)
UNWELCOME = AccountStatus(name="default", state=AccountState.OUTAGE, cause="CMT-CLIENT-FAULT", since=NOW - 90_000)
REFUSED = AccountStatus(name="default", state=AccountState.OUTAGE, cause="CMT-TOKEN-REFUSED", since=NOW - 90_000)
KAFKA = ReasonStatus(kind="kafka", text="no heartbeat was answered")


def worker(name: str = "a", **fields: Any) -> WorkerStatus:
    given = {"at": NOW - 2_000, "started": NOW - 600_000, "ready": True, "partitions": (0, 1, 2, 3)} | fields
    return WorkerStatus(worker=name, **given)


def facts(*workers: WorkerStatus, **fields: Any) -> Facts:
    return Facts(workers=workers, partitions=range(4), **fields)


def test_a_pipeline_that_works_needs_nobody() -> None:
    judgement = judge(facts(worker(partitions=(0, 1)), worker("b", partitions=(2, 3))), NOW)
    assert (judgement.level, judgement.badge, judgement.needs_a_person) == (Level.GOOD, "complete", False)
    assert judgement.findings == ()


@pytest.mark.parametrize(
    ("seen", "level", "badge", "person", "text"),
    [
        (facts(), "bad", "no worker", True, "no worker is running"),
        (facts(worker(at=NOW - STALE_MS - 1)), "bad", "no worker", True, "silent: a (for 30 s)"),
        (facts(worker(at=NOW + 400_000)), "bad", "no worker", True, "no worker is running"),
        (facts(worker(at=NOW - STALE_MS)), "good", "complete", False, None),
        (facts(worker(at=NOW - FORGOTTEN_MS - 1), worker("b")), "good", "complete", False, None),
        (facts(worker(partitions=(0, 3))), "bad", "partitions without a worker", True, "partitions 1-2"),
        (facts(worker(partitions=(), started=NOW - 3_000)), "waiting", "taking over", False, "no worker owns"),
        (
            facts(worker(accounts=(AWAY,))),
            "bad",
            "Marketing Cloud is away",
            True,
            "2025-11-13 02:11:50Z (CMT-TIM",
        ),
        (
            facts(worker(accounts=(REFUSED,))),
            "bad",
            "Marketing Cloud refuses us",
            True,
            "Check CMT_CLIENT_ID",
        ),
        (facts(worker(accounts=(UNWELCOME,))), "bad", "Marketing Cloud refuses us", True, "API user is active"),
        (facts(worker(accounts=(THROTTLED,))), "waiting", "throttled", False, "default is throttled since"),
        (facts(worker(ready=False, reasons=(KAFKA,))), "bad", "Kafka is away", True, "a: no heartbeat was answered"),
        (facts(worker(reasons=(KAFKA,), started=NOW - 9)), "waiting", "starting", False, "a: no heartbeat"),
        (facts(worker(reasons=(KAFKA,), unready_since=NOW - 9)), "waiting", "taking over", False, "a: no heartbeat"),
        (facts(worker(reasons=(KAFKA,), unready_since=NOW - 20_000)), "bad", "Kafka is away", True, "a: no heartbeat"),
        (facts(worker(unready_since=NOW - 9, partitions=())), "waiting", "taking over", False, "no worker owns"),
        (facts(worker(unready_since=NOW - 20_000, partitions=(0,))), "bad", "partitions without a worker", True, "1-3"),
        (facts(worker(), complete=False), "waiting", "catching up", False, "the counts are being read"),
        (facts(worker(), dead_letters={"A": 2, "B": 1}), "good", "needs a person", True, "3 dead letters wait"),
        (facts(worker(), dead_letters={"A": 0}), "good", "complete", False, None),
        (facts(worker(warnings=("CMT_Pet: no column Name",))), "good", "complete", False, "CMT_Pet: no column Name"),
        (facts(worker(), waiting_since_ms=NOW - LONG_WAIT_MS), "waiting", "behind", True, "events wait for 15 min"),
        (facts(worker(), waiting_since_ms=NOW - LONG_WAIT_MS + 1), "good", "complete", False, None),
    ],
)
def test_what_is_not_as_it_should_be(seen: Facts, level: str, badge: str, person: bool, text: str | None) -> None:
    judgement = judge(seen, NOW)
    assert (judgement.level, judgement.badge, judgement.needs_a_person) == (level, badge, person)
    assert text is None or text in judgement.findings[0].text


ENDED = WorkerEnd(worker="b", at=NOW - 180_000, reason="Topic profiles is not the one that the state is about.")


def test_why_the_last_worker_ended_is_said_when_none_is_running() -> None:
    (found,) = judge(facts(last_end=ENDED), NOW).findings
    assert found.text == f"no worker is running; the last one, b, ended 3 min ago: {ENDED.reason}"
    assert found.person
    asked = ENDED.model_copy(update={"reason": ""})
    (found,) = judge(facts(last_end=asked), NOW).findings
    assert found.text == "no worker is running; the last one, b, was asked to stop 3 min ago"


def test_a_worker_that_ended_beside_others_needs_a_person_only_while_partitions_have_no_worker() -> None:
    judgement = judge(facts(worker(), last_end=ENDED), NOW)
    assert (judgement.level, judgement.badge, judgement.needs_a_person) == (Level.GOOD, "complete", False)
    assert judgement.findings[0].text == f"b ended 3 min ago: {ENDED.reason}"
    judgement = judge(facts(worker(partitions=(0, 1)), last_end=ENDED), NOW)
    assert judgement.needs_a_person
    assert [one.person for one in judgement.findings if one.text.startswith("b ended")] == [True]
    assert judge(facts(worker(started=NOW - 120_000), last_end=ENDED), NOW).findings == ()
    assert judge(facts(worker(), last_end=ENDED.model_copy(update={"reason": ""})), NOW).findings == ()
    old = ENDED.model_copy(update={"at": NOW - FORGOTTEN_MS - 1})
    assert judge(facts(worker(started=NOW - 2 * FORGOTTEN_MS), last_end=old), NOW).findings == ()


def test_dead_letters_are_said_to_wait_in_their_topic() -> None:
    (found,) = judge(facts(worker(), dead_letters={"A": 2}, dead_letter_topic="g.dlq"), NOW).findings
    assert found.text.startswith("2 dead letters wait in g.dlq")


def test_values_that_expire_need_a_person_who_is_told_what_to_do() -> None:
    gone = ExpiringValues("g.dlq", 2, NOW)
    judgement = judge(facts(worker(), expiring=[gone]), NOW)
    (found,) = judgement.findings
    assert (judgement.level, judgement.needs_a_person, found.kind) == (Level.GOOD, True, FindingKind.DEAD_LETTERS)
    assert found.text == f"{gone.text}. {gone.remedy}"


def test_the_end_of_a_worker_is_read_as_it_was_written_and_nothing_else_is() -> None:
    assert read_worker_end(ENDED.to_bytes()) == ENDED
    for other in (b"", b"{}", b"[1]", b'{"v":2,"worker":"a","at":1}', b"x" * 300_000):
        with pytest.raises(UnreadableStatus):
            read_worker_end(other)


def test_the_judgement_counts_live_workers_and_what_waits_for_them() -> None:
    silent = worker("c", at=NOW - STALE_MS - 1, lag=900)
    judgement = judge(facts(worker(partitions=(0, 1), lag=3), worker("b", partitions=(2, 3), lag=4), silent), NOW)
    assert (judgement.workers, judgement.lag, judgement.summary) == (2, 7, "all is well")


def test_the_badge_is_red_however_complete_the_numbers_are() -> None:
    incident = OpenIncident("CMT-OUTAGE:event:-", "INC1", "outage", NOW - 90_000, 41)
    judgement = judge(facts(worker(accounts=(AWAY,)), incidents=[incident], dead_letters={"A": 1}, complete=True), NOW)
    assert (judgement.level, judgement.badge) == (Level.BAD, "Marketing Cloud is away")
    assert [f.text for f in judgement.findings if "INC1" in f.text] == [
        "incident INC1 is open since 2025-11-13 02:11:50Z: outage, CMT-OUTAGE:event:-"
    ]


def test_without_kafka_that_comes_first() -> None:
    seen = facts(worker(reasons=(KAFKA,), partitions=(), accounts=(AWAY,)), worker("b", at=NOW - 40_000))
    assert judge(seen, NOW).badge == "Kafka is away"


def test_two_workers_that_see_one_outage_make_one_finding_with_the_earliest_beginning() -> None:
    later = AWAY.model_copy(update={"since": NOW, "cause": "CMT-CONNECTION"})
    findings = judge(facts(worker(accounts=(later,)), worker("b", accounts=(AWAY,))), NOW).findings
    assert len(findings) == 1
    assert "02:11:50Z (CMT-CONNECTION, CMT-TIMEOUT)" in findings[0].text


def test_a_worker_is_read_as_it_was_written() -> None:
    status = worker(accounts=(AWAY,), reasons=(KAFKA,), invalid={"EVENT-SCHEMA": {"count": 3, "since": NOW}}, lag=7)
    assert read_worker_status(status.to_bytes()) == status
    assert read_worker_status(b'{"v":1,"worker":"old","at":1,"started":1,"unknown":[]}').worker == "old"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"v":2,"worker":"a","at":1,"started":1}',
        b'{"v":1,"worker":"a","at":-1,"started":1}',
        b'{"v":1,"worker":"a","at":1e300,"started":1}',
        b'{"v":1,"worker":"\\ud800","at":1,"started":1}',
        b'{"v":1,"worker":"a","at":1,"started":1,"partitions":"x"}',
        b'{"v":1,"worker":"%s","at":1,"started":1}' % (b"a" * 300_000),
    ],
)
def test_what_is_no_status_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableStatus):
        read_worker_status(value)


def test_throttled_without_a_cause_is_not_said_to_have_no_answers() -> None:
    unexplained = AccountStatus(name="default", state=AccountState.THROTTLED)
    (found,) = judge(facts(worker(accounts=(unexplained,))), NOW).findings
    assert found.text == "account default is throttled; calls are sent again"
    (found,) = judge(facts(worker(accounts=(THROTTLED,))), NOW).findings
    assert (
        found.text == "account default is throttled since 2025-11-13 02:13:15Z (CMT-RATE-LIMITED); calls are sent again"
    )


LACKS = AccountStatus(name="default", lacks="may not read CMT_Pet", lacks_since=NOW - 240_000, blocked=True, waiting=20)


def test_a_missing_right_is_named_with_its_data_extension_and_needs_a_person_though_the_workers_are_ready() -> None:
    two = facts(worker(partitions=(0, 1), accounts=(LACKS,)), worker("b", partitions=(2, 3), accounts=(LACKS,)))
    judgement = judge(two, NOW)
    assert (judgement.level, judgement.badge, judgement.needs_a_person) == (Level.BAD, "a right is missing", True)
    (found,) = judgement.findings
    assert found.text.startswith(
        "account default: it may not read CMT_Pet since 2025-11-13 02:09:20Z (CMT-NOT-ALLOWED); "
        "the events that need it wait (40 in all), others go on. "
    )
    assert "installed package" in found.text


def test_a_right_that_one_child_lacks_stops_nothing_and_needs_a_person() -> None:
    child = LACKS.model_copy(update={"blocked": False, "waiting": 0})
    judgement = judge(facts(worker(accounts=(child,))), NOW)
    assert (judgement.level, judgement.needs_a_person) == (Level.GOOD, True)
    assert "it may not read CMT_Pet since 2025-11-13 02:09:20Z (CMT-PERMISSION)" in judgement.findings[0].text


def test_a_moment_that_was_computed_a_millisecond_off_is_no_news() -> None:
    other = AWAY.model_copy(update={"since": NOW - 90_001})
    assert worker(accounts=(AWAY,)).essence == worker(accounts=(other,)).essence


def test_a_topic_that_is_gone_is_told_beside_everything_else() -> None:
    gone = "Topic profiles does not exist any more."
    judgement = judge(facts(worker(accounts=(AWAY,)), topic_gone=gone), NOW)
    assert (judgement.badge, judgement.needs_a_person) == ("the topic is gone", True)
    assert judgement.findings[0].text == gone
    assert len(judgement.findings) == 2
