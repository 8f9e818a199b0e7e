"""What a worker reports about itself, at changes and every few seconds: one record in ``<group>.status``. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

FORMAT = 1
PREFIX = "worker|"
# One record for the whole group: which worker ended last, and why.
LAST_END_KEY = "end|last"

# Other programs may write into the topic; a larger record is not from this program.
LARGEST_BYTES = 200_000

Ms = Annotated[int, Field(ge=0, le=32_503_680_000_000)]
Number = Annotated[int, Field(ge=0, le=2**53)]
Text = Annotated[str, Field(max_length=1000)]


class UnreadableStatus(ValueError):
    """The bytes are not the status of a worker of this program."""


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class AccountState(StrEnum):
    """The state of an account, as one worker sees it."""

    UP = "up"
    THROTTLED = "throttled"
    OUTAGE = "outage"


class AccountStatus(_Part):
    """One account. ``cause``: a registry code; ``since``: when the state began.

    ``lacks``: the rights that the account lacks, worded as the end of a sentence that begins with "it";
    ``lacks_since``: since when. ``blocked``: events wait for these rights. ``waiting``: how many of this worker's
    events are parked meanwhile, for any reason.
    """

    name: Text
    state: AccountState = AccountState.UP
    cause: Text = ""
    since: Ms | None = None
    lacks: Text = ""
    lacks_since: Ms | None = None
    blocked: bool = False
    waiting: Number = 0


class ReasonStatus(_Part):
    """Why a worker is not ready; the kinds are those of ``app/observe/health.py``."""

    kind: Text
    text: Text


class InvalidCount(_Part):
    """How many invalid events of one reason came in the last minutes, and when the first of them came."""

    count: Number
    since: Ms


class WorkerStatus(_Part):
    """One worker. Times in ms since 1970 (UTC); fields are added with a default, so that older records are read.

    ``causes``: fingerprints of the alerts that the worker has sent and whose causes, as far as it sees, go on.
    """

    v: int = FORMAT
    worker: Text
    at: Ms
    started: Ms
    version: Text = ""
    pipeline: Text = ""
    topic: Text = ""
    group: Text = ""
    target: Text = ""
    strategy: Text = ""
    dry_run: bool = False
    ready: bool = False
    reasons: tuple[ReasonStatus, ...] = ()
    unready_since: Ms | None = None
    partitions: tuple[Number, ...] = ()
    lag: Number = 0
    accounts: tuple[AccountStatus, ...] = ()
    causes: tuple[Text, ...] = ()
    last_success: Ms | None = None
    invalid: dict[Text, InvalidCount] = {}
    warnings: tuple[Text, ...] = ()

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return f"{PREFIX}{self.worker}".encode()

    def to_bytes(self) -> bytes:
        """The value of its record."""
        return self.model_dump_json(by_alias=True).encode()

    @property
    def essence(self) -> WorkerStatus:
        """The status without the fields that change all the time. When it changes, it is reported at once."""
        # Each report computes these times from durations, so they vary by milliseconds.
        changing = {"since": None, "lacks_since": None, "waiting": 0}
        accounts = tuple(account.model_copy(update=changing) for account in self.accounts)
        return self.model_copy(update={"at": 0, "lag": 0, "last_success": None, "invalid": {}, "accounts": accounts})


class WorkerEnd(_Part):
    """The end of a worker. ``reason`` is empty if the worker was asked to stop."""

    v: int = FORMAT
    worker: Text
    at: Ms
    reason: Text = ""
    dry_run: bool = False

    def to_bytes(self) -> bytes:
        """The value of its record."""
        return self.model_dump_json(by_alias=True).encode()


def read_worker_end(value: bytes) -> WorkerEnd:
    """Read the value of a record.

    Raises:
        UnreadableStatus: not the end of a worker.
    """
    if len(value) > LARGEST_BYTES:
        raise UnreadableStatus("too large")
    try:
        end = WorkerEnd.model_validate_json(value)
    except ValidationError:
        raise UnreadableStatus("not the end of a worker") from None
    if end.v != FORMAT:
        raise UnreadableStatus("another format; was it written by a newer program?")
    return end


def read_worker_status(value: bytes) -> WorkerStatus:
    """Read the value of a record.

    Raises:
        UnreadableStatus: not the status of a worker.
    """
    if len(value) > LARGEST_BYTES:
        raise UnreadableStatus("too large")
    try:
        status = WorkerStatus.model_validate_json(value)
    except ValidationError:
        raise UnreadableStatus("not the status of a worker") from None
    if status.v != FORMAT:
        raise UnreadableStatus("another format; was it written by a newer program?")
    return status
