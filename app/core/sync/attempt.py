"""One attempt to apply a batch, in one unit of work: everything that its operations share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import structlog

from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import AnyWrite, Write
from app.core.host.registry import Registry
from app.core.host.watch import UNWATCHED, Watch
from app.core.ledger.entries import Key, Remembered, StatedChange
from app.core.ledger.history import PastChange
from app.core.ledger.record import DEVICE_DOOR, Origin, Recorder
from app.core.sync.answers import Answer
from app.core.sync.bounds import Shown
from app.core.sync.conflicts import Change, Step
from app.core.sync.device_reports import report_writes
from app.core.sync.hours import hour_counts
from app.core.sync.items import Item
from app.core.sync.rows import Rows
from app.core.values import Values
from app.http.metrics import Tally
from app.models import UserSync
from app.models.entities import Row, entity_of
from app.plugin_api import ActingUser


@dataclass(kw_only=True)
class Batch:
    """A batch, and everything that all attempts to apply it share."""

    items: Sequence[Item]
    origin: Origin
    registry: Registry
    watch: Watch = UNWATCHED
    #: The elements of the batch as a device has sent them, by index.
    elements: Sequence[object] = ()
    #: Makes the writes that go along with the operations where no device has sent them.
    besides: Callable[[Attempt], Iterable[AnyWrite]] | None = None
    #: What the device says of itself, where it says anything (contract, section 13).
    report: Values | None = None
    #: Indexes of operations whose handler did not end: they are not tried again.
    late: set[int] = field(default_factory=set)


class RowHistory:
    """The versions that the batch's rows went through, as far as the batch has to know them."""

    def __init__(self) -> None:
        #: The ledger's changes of stale rows, by entity and id, oldest first.
        self.past: dict[tuple[str, Any], Sequence[PastChange]] = {}
        #: The changes that this batch has made so far, in order.
        self._applied: dict[Row, list[StatedChange]] = {}
        #: The same with the ones made earlier by operations that this batch repeats.
        self._in_batch: dict[Row, list[Step]] = {}

    def add(self, changes: Iterable[StatedChange]) -> None:
        """An operation of this batch has made these changes."""
        for change in changes:
            self._applied.setdefault(change.row, []).append(change)
            self._in_batch.setdefault(change.row, []).append(change)

    def add_replayed(self, row: Row, operation: Remembered) -> None:
        """An operation that was applied earlier is repeated by this batch."""
        self._in_batch.setdefault(row, []).append(operation)

    def forget(self, changes: Iterable[StatedChange]) -> None:
        """These changes are going to be taken back; they may have been added already."""
        for change in changes:
            for known in (self._applied.get(change.row), self._in_batch.get(change.row)):
                if known is not None and change in known:
                    known.remove(change)

    def changes_of(self, row: Row) -> list[Change]:
        """All that is known to have happened to the row, oldest first."""
        return [*self._past_of(row), *self._applied.get(row, ())]

    def own_of(self, row: Row) -> list[Step]:
        """Those that the client has made: in earlier batches, if it has named its device, and in this one."""
        return [*(change for change in self._past_of(row) if change.is_own), *self.in_batch(row)]

    def in_batch(self, row: Row) -> Sequence[Step]:
        """Those that the operations of this batch have made, now or earlier: the client knows of them."""
        return self._in_batch.get(row, ())

    def _past_of(self, row: Row) -> Sequence[PastChange]:
        return self.past.get((entity_of(row).name, row.id), ())


class Attempt:
    """One attempt. Another one begins from the batch alone."""

    def __init__(self, batch: Batch, unit_id: str) -> None:
        self.batch = batch
        self.session = db.session()
        self.recorder = Recorder(self.session, unit_id, batch.origin, now(), capacity=max(1, len(batch.items)))
        self.rows = Rows(self.recorder)
        #: The operations that were applied before, by an earlier batch or by this one.
        self.remembered: dict[Key, Remembered] = {}
        self.history = RowHistory()
        #: The most bytes of a row's document, read once for all operations.
        self.max_document_bytes = current_settings().max_form_bytes
        #: The rows whose content the answers show.
        self.shown = Shown()
        #: Calls to make once the batch is durable.
        self.calls: list[Callable[[], None]] = []
        self.tally = Tally()
        self.answers: list[Answer] = []
        structlog.contextvars.bind_contextvars(batch=unit_id)

    @cached_property
    def user(self) -> ActingUser:
        """The user who sent the batch, as plugins see them: they cannot edit the role by which items are judged."""
        user = self.recorder.user
        assert user is not None
        return ActingUser(id=user.id, email=user.email, name=user.name, role=user.role, active=user.active)

    def write(self, besides: Iterable[AnyWrite] = ()) -> None:
        """Write everything that the operations have stated, and, for a device, what is known of it and of the hour."""
        notes = self._notes() if self.recorder.origin.door == DEVICE_DOOR else ()
        self.recorder.write(*notes, *besides)

    def _notes(self) -> Iterator[Write]:
        """When the user has synced, what the device says of itself, and the counts of the hour."""
        origin, moment = self.recorder.origin, self.recorder.now
        last_sync = {"user_id": origin.user_id, "last_sync": moment}
        yield Write(kind="put", table=table_of(UserSync), names=tuple(last_sync), rows=[last_sync])
        yield hour_counts(self.batch.items, self.answers, moment, self.recorder.unit_id)
        if self.batch.report is not None:
            yield from report_writes(origin, self.batch.report, moment, is_batch=True)
