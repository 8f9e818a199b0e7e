"""``profile-sync dlq edit``: change the value of a dead letter before it is redriven."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli import dlq_options as options
from app.cli.command_errors import CommandError, report_failures
from app.cli.dlq_write import redrive_now
from app.cli.editor import edited
from app.cli.input_file import open_input
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.delivery.letter_selection import check_note
from app.delivery.operator_task import Note
from app.delivery.pipeline import Pipeline
from app.flows.catalog import load_catalog
from app.flows.letter_editing import Editable, open_for_edit, write_edit
from app.flows.letter_export import record_shown
from app.flows.task_writing import this_user
from app.kafka.acknowledged import AcknowledgedWriter
from app.profile.edited_value import EditRefused, checked_edit, difference, editable_text
from app.profile.entities import Catalog
from app.readmodels import Followed
from app.settings import DataExtensionSettings, KafkaSettings, load
from app.settings.pipelines import pipeline_of

_TOPICS = (Followed.LETTERS, Followed.TASKS, Followed.STATE, Followed.CONSUMERS)


def edit(
    letter: Annotated[str, typer.Argument(metavar="ID", help="A dead letter's ID, such as 5-26, or its event ID.")],
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The new value; - reads standard input. Without it, $EDITOR opens."),
    ] = None,
    note: options.Note = "",
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Give a dead letter another value; a redrive then runs that.

    The new value must be a valid event with the same consumerId. The key and the headers stay, and what the producer
    sent is kept. Needs KAFKA_*, and CMT_DATA_EXTENSIONS if the data extensions are not the bundled ones.
    """
    may_ask = sys.stdin.isatty() and not as_json
    if file is None and not may_ask:
        raise typer.BadParameter("give --file FILE: without a terminal, and with --json, no editor opens")
    if not yes and not may_ask:
        raise typer.BadParameter("give --yes: without a terminal, and with --json, there is no question")
    with options.report_wrong_use():
        check_note(note)
    with report_failures(), options.report_refusals():
        kafka = load(KafkaSettings)
        pipeline = pipeline_of(kafka)
        catalog = load_catalog(load(DataExtensionSettings).data_extensions)
        with caught_up_read_models(topics=_TOPICS) as models:
            try:
                opened = open_for_edit(kafka, pipeline, models, letter)
                if file is None:  # the editor shows what is there now
                    _record_shown(kafka, pipeline, opened)
                    value = _from_editor(opened, catalog, kafka.max_message_bytes)
                else:
                    with open_input(file) as stream:
                        value = stream.read(kafka.max_message_bytes + 1)
                    _check(opened, value, catalog, kafka.max_message_bytes)
            except EditRefused as refused:
                raise CommandError(f"{str(refused).rstrip('.')}. Nothing was written.") from None
            if not as_json:
                if file is not None:  # the difference shows it
                    _record_shown(kafka, pipeline, opened)
                for line in difference(opened.event.value, value):
                    typer.echo(printable(line))
            if not yes and not typer.confirm("Write this edit?"):
                raise CommandError("Nothing was written.")
            said = Note(this_user(), int(time.time() * 1000), note)
            offset = write_edit(kafka, pipeline, opened, value, said).offset
            name = str(opened.listed.id)
            if as_json:
                typer.echo(json.dumps({"id": name, "topic": pipeline.dlq_topic, "offset": offset}))
                return
            typer.echo(f"edited {name}. It runs with: profile-sync dlq redrive {name}")
            if may_ask and not yes and typer.confirm("Redrive it now?"):
                redrive_now(kafka, models, opened.listed.id)


def _record_shown(kafka: KafkaSettings, pipeline: Pipeline, opened: Editable) -> None:
    record_shown(AcknowledgedWriter(kafka), pipeline, this_user(), [opened.listed.id])
    options.tell_shown(this_user(), [opened.listed.id])


def _from_editor(opened: Editable, catalog: Catalog, largest: int) -> bytes:
    text = editable_text(opened.event.value or b"")
    while True:
        changed = edited(text, f"{opened.listed.id}.json")
        if changed.strip() == text.strip():
            raise EditRefused("nothing was changed")
        value = changed.strip().encode()
        try:
            _check(opened, value, catalog, largest)
        except EditRefused as refused:
            typer.echo(printable(str(refused)), err=True)
            if not typer.confirm("Edit again?"):
                raise
            text = changed
        else:
            return value


def _check(opened: Editable, value: bytes, catalog: Catalog, largest: int) -> None:
    checked_edit(opened.event, value, opened.state, catalog, largest=largest)
