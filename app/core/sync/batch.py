"""One batch through its stages: prepare, load and lock, recall, judge each operation, write, answer.

The batch runs in one transaction without savepoints. If anything unexpected is raised, everything is rolled back and
the same batch runs again with a savepoint around each operation, so that only the guilty one fails.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.database.session import RestrictableSession, restricted
from app.core.database.write import Write
from app.core.host.handlers import models_of
from app.core.host.registry import Registry
from app.core.host.watch import BUGS, HandlerTimeout, Watch, watched
from app.core.ledger.constraints import sentence_of
from app.core.ledger.history import Recalled, entries_since, recall
from app.core.ledger.record import Origin, Recorder
from app.core.ledger.unit import is_repeatable, unit_of_work
from app.core.sync import answers
from app.core.sync.answers import Answer
from app.core.sync.conflicts import Step
from app.core.sync.items import Item, batch_answer
from app.core.sync.judge import Remembered, State, judge, reject
from app.core.sync.prepare import Draft, Reference, failed, not_tried, prepare, prepare_again
from app.core.sync.rows import Rows
from app.errors import Rejected, RequestError
from app.http import metrics
from app.models import LedgerEntry, UserSync
from app.models.entities import entity_of, fields_of
from app.plugin_api import Row

logger = logging.getLogger(__name__)


#: In the `info` of a batch's session.
_UNFLUSHED = "fieldpost_unflushed"


class DirtySessionError(Exception):
    """A handler assigned to a row, or added one, behind its context's back."""


def process_batch(items: Sequence[Item], origin: Origin, registry: Registry) -> dict[str, Any]:
    """Apply a batch and return its answer. Raises `RequestError` where nothing was recorded."""
    started = perf_counter()
    with watched(current_settings().handler_seconds) as watch:
        batch = _run(_Passes(origin=origin, registry=registry, watch=watch), prepare(items, registry, watch))
        metrics.count_batch(batch.tally(), perf_counter() - started)
        batch.call_after_commit()
    return batch.answer()


@dataclass(kw_only=True)
class _Passes:
    """What the passes over one batch share."""

    origin: Origin
    registry: Registry
    watch: Watch
    #: Indexes of operations whose handler did not end: they are not tried again.
    late: set[int] = field(default_factory=set)


def _run(passes: _Passes, drafts: Sequence[Draft]) -> _Batch:
    try:
        return unit_of_work(lambda unit_id: _Batch(unit_id, passes, drafts).run())
    except RequestError:
        raise
    except BUGS:
        logger.warning("batch repeated with a savepoint around each operation", exc_info=True)
    while True:
        metrics.second_passes.inc()
        again = prepare_again(drafts, passes.registry, passes.watch)
        try:
            return unit_of_work(lambda unit_id, again=again: _Batch(unit_id, passes, again, is_guarded=True).run())  # type: ignore[misc]
        except HandlerTimeout:
            # It may have been interrupted anywhere: what the pass had in memory is forgotten with it.
            logger.warning("batch repeated without an operation that does not end")


class MisplacedError(Exception):
    """A handler raised what answers a whole request; the other items are not its to refuse."""


class _Batch:
    """One batch in one unit of work."""

    def __init__(self, unit_id: str, passes: _Passes, drafts: Sequence[Draft], *, is_guarded: bool = False) -> None:
        self.session: Session = db.session()
        self.now: datetime = now()
        self.passes = passes
        self.drafts = drafts
        #: Whether each operation runs and is written inside a savepoint of its own: the second pass.
        self.is_guarded = is_guarded
        self.recorder = Recorder(self.session, unit_id, passes.origin, self.now, capacity=max(1, len(drafts)))
        self.state = State(recorder=self.recorder, rows=Rows(self.recorder), registry=passes.registry)
        self.answers: list[Answer] = []
        structlog.contextvars.bind_contextvars(batch=unit_id)
        # Rows are written by the recorder alone; a flush would be a handler's, and nothing of it be recorded.
        self.session.info[_UNFLUSHED] = True

    def run(self) -> _Batch:
        """All stages inside the transaction; the caller commits."""
        self._load()
        self._load_past()
        self.recorder.reserve(self._creates())
        if self.is_guarded:
            self.answers = [self._guarded(draft) for draft in self.drafts]
        else:
            with restricted():
                self.answers = [self._judged(draft) for draft in self.drafts]
            self._refuse_unrecorded()
        self.recorder.write(_last_sync(self.recorder.origin.user_id, self.now))
        self._show(zip(self.drafts, self.answers, strict=True))
        return self

    def answer(self) -> dict[str, Any]:
        """The answer to the batch."""
        lists: dict[str, list[dict[str, Any]]] = {"success": [], "errors": [], "conflicts": []}
        for each in self.answers:
            lists[each.outcome].append(each.entry)
        return batch_answer(lists["success"], lists["errors"], lists["conflicts"], self.now, self.recorder.generation)

    def tally(self) -> metrics.Tally:
        """What the operations came to, for the metrics."""
        tally = self.state.tally
        for draft, answer in zip(self.drafts, self.answers, strict=True):
            outcome = "replayed" if "replayed" in answer.entry else answer.outcome
            type_ = metrics.UNKNOWN if draft.handler is None else draft.handler.type
            tally.add_outcome(type_, outcome, is_failure=answer.entry.get("code") == "handler_failed")
        return tally

    def call_after_commit(self) -> None:
        """What handlers asked for once everything is durable; a failure there is no failure of the operation."""
        for call in self.state.calls:
            try:
                with self.passes.watch(None):
                    call()
            except BUGS:
                logger.exception("after_commit failed")

    def _creates(self) -> Counter[type]:
        """How many rows of each model the drafts may make, by the look of them."""
        return Counter(
            draft.handler.target.model
            for draft in self.drafts
            if draft.handler is not None
            and draft.parent is not None
            and (draft.item.local_id, draft.fingerprint) not in self.state.remembered
        )

    def _load(self) -> None:
        """Lock the user and what the drafts name, in this order, then find what was applied before."""
        user_lock, locks = self.recorder.user_lock(), self.state.rows.locks(self.drafts)
        local_ids = [draft.item.local_id for draft in self.drafts if draft.fingerprint]
        found = recall(self.session, self.recorder.origin, local_ids, [user_lock, *locks])
        self.recorder.keep_user(user_lock)
        self.state.rows.keep(locks)
        self._remember(found)

    def _remember(self, found: Mapping[tuple[str, str], Recalled]) -> None:
        """Keep what was applied before, and the rows that its answers show."""
        known = {(draft.item.local_id, draft.fingerprint) for draft in self.drafts}
        registry, wanted = self.state.registry, []
        for key, operation in found.items():
            if key not in known:
                continue  # the same local_id with other content is another operation
            remembered = self.state.remembered[key] = _remembered(operation, registry)
            if remembered.model is not None:
                wanted.append((remembered.model, remembered.key))
            for entity, row_id in remembered.result.get("also", ()):
                model = registry.models.get(entity)
                if model is not None:
                    wanted.append((model, registry.key_of(model, row_id)))
        self.state.rows.load_unlocked(wanted)

    def _load_past(self) -> None:
        """Read from the ledger what happened to each row since the version that a client named, if it is older."""
        stale: dict[str, dict[Any, datetime]] = {}
        for draft in self.drafts:
            row, version = self._named_version(draft)
            if row is not None and version is not None and version < row.updated_at:
                versions = stale.setdefault(entity_of(row).name, {})
                versions[row.id] = min(version, versions.get(row.id, version))
        for entity, versions in stale.items():
            found = entries_since(self.session, entity, versions)
            for key in versions:
                self.state.past[entity, key] = [_step(entry) for entry in found[str(key)]]

    def _named_version(self, draft: Draft) -> tuple[Row | None, datetime | None]:
        if draft.fault is not None or draft.handler is None or not draft.handler.versioned:
            return None, None
        if draft.target is not None:
            return self.state.rows.find(draft.target), draft.version
        if draft.client_id is None:
            return None, None
        row = self.state.rows.find(Reference(draft.handler.target.model, draft.client_id, is_client_id=True))
        return row, None if row is None else draft.version or row.created_at

    def _judged(self, draft: Draft) -> Answer:
        self.recorder.position = draft.item.index
        if draft.item.index in self.passes.late or self.passes.watch.has_given_up(draft.handler):
            draft.fault = not_tried()
        try:
            with self.passes.watch(draft.handler):
                return judge(self.state, draft)
        except HandlerTimeout:
            self._note_late(draft)
            raise
        except RequestError as error:
            raise MisplacedError(str(error)) from error

    def _guarded(self, draft: Draft) -> Answer:
        """Judge and write one operation inside a savepoint: whatever it raises is its own fault."""
        calls = len(self.state.calls)
        try:
            with self.session.begin_nested():
                with restricted():
                    answer = self._judged(draft)
                self._refuse_unrecorded()
                self.recorder.write()
                self._try_to_show(draft, answer)
            return answer
        except (Exception, SystemExit) as error:
            if is_repeatable(error):
                raise
            self._take_back(draft, calls)
            return reject(draft, self._fault(draft, error))

    def _note_late(self, draft: Draft) -> None:
        """The handler did not end, and was interrupted: called while that is handled."""
        failed(draft, self.state.registry)
        self.passes.late.add(draft.item.index)

    def _show(self, pairs: Iterable[tuple[Draft, Answer]]) -> None:
        """Complete the answers that show a row, with the hooks of its entity."""
        showing = [(draft, answer) for draft, answer in pairs if answer.row is not None]
        answers.load_shown(self.session, [answer for _, answer in showing])
        with restricted():
            for draft, answer in showing:
                try:
                    with self.passes.watch(draft.handler):
                        answers.complete(answer)
                except HandlerTimeout:
                    self._note_late(draft)
                    raise

    def _try_to_show(self, draft: Draft, answer: Answer) -> None:
        """What an entity's hooks raise when the answers are completed is this operation's fault, too."""
        self._show([(draft, answer)])
        if answer.row is not None:
            # Read again in the end, when the other operations have done what they do.
            self.session.expire(answer.row, entity_of(answer.row).loads)

    def _refuse_unrecorded(self) -> None:
        """Nothing may be written that the ledger does not tell: neither by the ORM nor by an assignment."""
        _refuse_dirty(self.session)
        told: dict[Row, dict[str, Any]] = {}
        for entry in self.recorder.entries:
            if entry.action == "create":
                told[entry.row] = {}
            elif entry.action == "delete":
                told.pop(entry.row, None)
            if entry.row in told:
                told[entry.row] |= {name: each["new"] for name, each in entry.changes.items() if "new" in each}
        for row, fields in told.items():
            if fields_of(row) != fields:
                raise DirtySessionError(f"A handler assigned to a new {type(row).__name__}. Use context.change.")

    def _take_back(self, draft: Draft, calls: int) -> None:
        """Forget, in memory, what a failed operation did."""
        self.state.forget(self.recorder.entries)
        touched = {each.row for each in self.recorder.entries}
        self.recorder.undo()
        self.recorder.heads.clear()
        del self.state.calls[calls:]
        self.state.remembered.pop((draft.item.local_id, draft.fingerprint), None)
        for row in [*self.session.new]:
            self.session.expunge(row)
        # What a handler assigned before it stated a change would pass for the row's former value.
        for row in {*touched, *self.session.dirty, *self.session.deleted}:
            if row in self.session:
                self.session.refresh(row)

    def _fault(self, draft: Draft, error: BaseException) -> Rejected:
        """A breach of a constraint that the entity has a sentence for is the item's; anything else a bug."""
        handler = draft.handler
        if isinstance(error, IntegrityError) and handler is not None:
            sentence = sentence_of(error, models_of(handler))
            if sentence is not None:
                return Rejected("invalid", sentence)
        return failed(draft, self.state.registry)


def _last_sync(user_id: int | None, moment: datetime) -> Write:
    """Notes when the user has synced."""
    table: Any = UserSync.__table__
    row = {"user_id": user_id, "last_sync": moment}
    return Write(kind="put", table=table, names=tuple(row), rows=[row])


def _refuse_dirty(session: Session) -> None:
    """Rows are written by the recorder alone: what the ORM would write besides is a handler's mistake."""
    dirty = [*session.new, *session.dirty, *session.deleted]
    if dirty:
        names = ", ".join(sorted({type(row).__name__ for row in dirty}))
        raise DirtySessionError(
            f"A handler assigned to, added or deleted {names} itself. State changes through the context: "
            "context.create, context.change, context.delete."
        )


@event.listens_for(RestrictableSession, "before_flush")
def _refuse_flush(session: Session, *_: object) -> None:
    if _UNFLUSHED in session.info:
        _refuse_dirty(session)


def _remembered(operation: Recalled, registry: Registry) -> Remembered:
    model = registry.models.get(operation.entity or "")
    key = operation.entity_id
    return Remembered(
        model=model,
        key=registry.key_of(model, key) if model is not None and key is not None else key,
        message=operation.message or "",
        applied_at=operation.recorded_at,
        version_before=operation.version_before,
        version_after=operation.version_after,
        result=operation.result or {},
    )


def _step(entry: LedgerEntry) -> Step:
    assert entry.version_after is not None
    return Step(before=entry.version_before, after=entry.version_after, changes=entry.changes)
