"""What ``check`` prints: one entry for each thing, in 80 columns, with a command that can be copied."""

from __future__ import annotations

from app.cli.check_report import document, report
from app.cli.output import COLUMNS
from app.delivery.installation import CheckLine, Part, PartState, not_checked
from app.delivery.pipeline import Pipeline

PIPELINE = Pipeline("consumers", "consumer-profiles", "profile-sync")
FINE = CheckLine(Part.BROKER, PartState.OK, "kafka-1:9092")
MISSING = CheckLine(
    Part.TOPICS, PartState.WRONG, "profile-sync.retry is missing.", "Create it: profile-sync topics create"
)
PET = CheckLine(Part.DATA_EXTENSION, PartState.NOTE, "also has column Chip.", "Use reconcile.", "CMT_Pet", "510001234")


def test_one_entry_for_each_thing_with_its_remedy() -> None:
    unknown = not_checked(Part.TOKEN, "its configuration is wrong")
    assert list(report([FINE, MISSING, PET, unknown])) == [
        "ok              broker: kafka-1:9092",
        "WRONG           topics: profile-sync.retry is missing.",
        "                Create it:",
        "                profile-sync topics create",
        "note            data extension CMT_Pet (account 510001234): also has column",
        "                Chip.",
        "                Use reconcile.",
        "not checked     token: its configuration is wrong",
        "",
        "1 thing is wrong.",
    ]


def test_notes_and_what_is_not_configured_leave_all_well() -> None:
    servicenow = CheckLine(Part.SERVICENOW, PartState.NOT_CONFIGURED, "SERVICENOW_URL is not set")
    assert list(report([FINE, PET, servicenow]))[-1] == "All is well."
    assert document(PIPELINE, [FINE, PET, servicenow])["ok"] is True


def test_a_long_text_is_wrapped_and_a_long_command_is_not() -> None:
    command = f"kafka-acls.sh --add --allow-principal User:sync {'--operation Read ' * 8}--topic profile-sync.retry"
    line = CheckLine(
        Part.RIGHTS, PartState.WRONG, "a word " * 60, f"Missing: Read on topic profile-sync.retry. Give it: {command}"
    )
    shown = list(report([line]))
    assert f"{' ' * 16}{command}" in shown
    assert all(len(text) <= COLUMNS for text in shown if command not in text)
    assert " ".join(text.strip() for text in shown).count("a word") == 60


def test_a_remedy_without_a_command_is_only_wrapped() -> None:
    text = "It is now profile-sync.retry. Delete the old one if it holds nothing you need, or leave it for another day."
    shown = list(report([CheckLine(Part.TOPICS, PartState.WRONG, "x", text)]))
    assert [line.strip() for line in shown[1:3]] == [
        "It is now profile-sync.retry. Delete the old one if it holds",
        "nothing you need, or leave it for another day.",
    ]


def test_control_characters_of_others_are_not_obeyed() -> None:
    shown = "\n".join(report([CheckLine(Part.BROKER, PartState.WRONG, "a\x1b[2Jb", "c\x07d")]))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_json_document() -> None:
    assert document(PIPELINE, [MISSING, PET]) | {"version": ""} == {
        "version": "",
        "flow": "consumers",
        "topic": "consumer-profiles",
        "group": "profile-sync",
        "ok": False,
        "checks": [
            {
                "part": "topics",
                "subject": None,
                "account": None,
                "state": "wrong",
                "message": "profile-sync.retry is missing.",
                "remedy": "Create it: profile-sync topics create",
            },
            {
                "part": "dataExtension",
                "subject": "CMT_Pet",
                "account": "510001234",
                "state": "note",
                "message": "also has column Chip.",
                "remedy": "Use reconcile.",
            },
        ],
    }
    assert document(None, [not_checked(Part.SERVICENOW, "x")])["checks"][0] | {"message": ""} == {
        "part": "serviceNow",
        "subject": None,
        "account": None,
        "state": "notChecked",
        "message": "",
        "remedy": None,
    }
