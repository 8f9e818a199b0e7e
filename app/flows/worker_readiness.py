"""Whether this worker is ready, and what it waits for if it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from app.engine.stream import Stream
from app.observe.health import Readiness, Reason, ReasonKind
from app.readmodels import ReadModels


class WorkerReadiness:
    """Collects the reasons from the parts of the worker, which are set as they are made.

    ``waiting_for``: the step of the start or the stop that the worker is at; None: it runs. ``closed_topics``: why some
    of our topics take no writes.
    """

    def __init__(self, read_models: ReadModels) -> None:
        self.waiting_for: Reason | None = Reason(ReasonKind.KAFKA, "starting")
        self.stream: Stream | None = None
        self.closed_topics: Callable[[], Iterable[str]] = tuple
        self._read_models = read_models

    def now(self) -> Readiness:
        """Ready, or the reasons why not."""
        stream = self.stream
        owned = stream is not None and stream.ownership.ready
        return Readiness.of(
            self.waiting_for,
            None if owned else Reason(ReasonKind.KAFKA, "partitions are not taken over yet"),
            *(Reason(ReasonKind.KAFKA, text) for text in (stream.watch.reasons() if stream is not None else ())),
            *(Reason(ReasonKind.KAFKA, text) for text in self.closed_topics()),
            self._read_model_trouble(),
        )

    def _read_model_trouble(self) -> Reason | None:
        trouble = self._read_models.trouble()
        kind = ReasonKind.STATE if self._read_models.trouble_is_own else ReasonKind.KAFKA
        return None if trouble is None else Reason(kind, trouble)
