"""The lines about topics and rights: one for each kind of problem, and one that there is none."""

from __future__ import annotations

from app.delivery.installation import CheckLine, Part, PartState
from app.flows.kafka_check import problem_lines
from app.kafka.rights import RIGHTS
from app.kafka.topic_specs import Problem

MISSING = Problem("g.retry", "topic", "missing", "there", "Create it: profile-sync topics create")
RIGHT = Problem("g.dlq", RIGHTS, "Describe", "Describe, Write", "Missing: Write on topic g.dlq.")


def test_no_problem() -> None:
    assert problem_lines([], "all 7") == [
        CheckLine(Part.TOPICS, PartState.OK, "all 7"),
        CheckLine(Part.RIGHTS, PartState.OK, "on group, cluster and all topics"),
    ]


def test_topics_with_the_same_problem_are_one_line() -> None:
    also = Problem("g.dlq", *(MISSING.setting, MISSING.found, MISSING.wanted, MISSING.remedy))
    topics, rights = problem_lines([MISSING, also], "")
    assert (topics.state, topics.message, topics.remedy) == (
        PartState.WRONG,
        "g.retry, g.dlq are missing.",
        "Create it: profile-sync topics create",
    )
    assert (rights.state, rights.message) == (PartState.OK, "on group, cluster and the topics that exist")


def test_a_missing_right_is_no_problem_of_the_topic() -> None:
    topics, rights = problem_lines([RIGHT], "all 7")
    assert topics == CheckLine(Part.TOPICS, PartState.OK, "all 7")
    assert (rights.part, rights.state, rights.remedy) == (Part.RIGHTS, PartState.WRONG, RIGHT.remedy)
    assert rights.message == "g.dlq: Describe; needed: Describe, Write."
