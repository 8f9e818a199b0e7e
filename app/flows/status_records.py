"""The records of ``<group>.status``: workers (``worker|id``), why the last worker ended (``end|last``), and remembered
incidents (``incident|fingerprint``)."""

from __future__ import annotations

from collections.abc import Mapping

from app.delivery.cluster_facts import OpenIncident
from app.delivery.worker_status import (
    LARGEST_BYTES,
    LAST_END_KEY,
    PREFIX,
    UnreadableStatus,
    WorkerEnd,
    WorkerStatus,
    read_worker_end,
    read_worker_status,
)
from app.incidents.memory import Remembered, UnreadableMemory

INCIDENT_PREFIX = "incident|"


def is_ours(key: str, value: bytes) -> bool:
    """Whether this program could have written a record of the topic."""
    if len(value) > LARGEST_BYTES:
        return False
    try:
        if key.startswith(PREFIX):
            return read_worker_status(value).key == key.encode()
        if key.startswith(INCIDENT_PREFIX):
            Remembered.from_bytes(value)
        elif key == LAST_END_KEY:
            read_worker_end(value)
        else:
            return False
    except (UnreadableStatus, UnreadableMemory):
        return False
    return True


def read_workers(records: Mapping[str, bytes]) -> dict[str, WorkerStatus]:
    """The workers among the records of the topic; records that are not a worker's status are left out."""
    found = {}
    for key, value in records.items():
        if key.startswith(PREFIX):
            try:
                found[key.removeprefix(PREFIX)] = read_worker_status(value)
            except UnreadableStatus:
                continue
    return found


def read_last_end(records: Mapping[str, bytes]) -> WorkerEnd | None:
    """The worker that ended last, and why."""
    value = records.get(LAST_END_KEY)
    try:
        return None if value is None else read_worker_end(value)
    except UnreadableStatus:
        return None


def read_incidents(records: Mapping[str, bytes]) -> dict[str, Remembered]:
    """The remembered incidents among the records of the topic, by fingerprint."""
    found = {}
    for key, value in records.items():
        if key.startswith(INCIDENT_PREFIX):
            try:
                found[key.removeprefix(INCIDENT_PREFIX)] = Remembered.from_bytes(value)
            except UnreadableMemory:
                continue
    return found


def open_incidents(records: Mapping[str, bytes]) -> list[OpenIncident]:
    """The same in the form that the judgement takes."""
    return [
        OpenIncident(fingerprint, one.incident.number, one.severity.value, one.since_ms, one.waiting)
        for fingerprint, one in read_incidents(records).items()
    ]
