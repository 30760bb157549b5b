"""Fault isolation: the code of a plugin runs here, and what it does wrong is the fault of its own item only.

In the first pass all operations run together, without savepoints, and anything unexpected ends the attempt. In the
second pass each operation runs and is written inside a savepoint of its own (rule 5 of docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.core.database.session import RestrictableSession, restricted
from app.core.host.handlers import models_of
from app.core.host.watch import HandlerTimeout
from app.core.ledger.constraints import sentence_of
from app.core.ledger.entries import StatedChange
from app.core.ledger.record import Recorder
from app.core.ledger.unit import is_repeatable
from app.core.sync.answers import Answer, complete, load_shown
from app.core.sync.attempt import Attempt
from app.core.sync.bounds import MAX_ENTRY_BYTES, fit
from app.core.sync.items import Item, key_of
from app.core.sync.judge import judge, reject
from app.core.sync.refusals import failed, not_tried
from app.errors import Rejected
from app.models.entities import Fields, Row, entity_of, fields_of

#: In the `info` of a session in which only the recorder writes rows: a flush would be a handler's, and unrecorded.
_UNFLUSHED = "fieldpost_unflushed"


class DirtySessionError(Exception):
    """A handler assigned to a row, or added one, behind its context's back."""


def judge_together(attempt: Attempt) -> list[Answer]:
    """Judge all operations. An exception of any kind ends the attempt."""
    attempt.session.info[_UNFLUSHED] = True
    with restricted():
        answers = [_judge(attempt, item) for item in attempt.batch.items]
    _refuse_unrecorded(attempt.recorder)
    return answers


def judge_apart(attempt: Attempt) -> list[Answer]:
    """Judge and write each operation inside a savepoint of its own."""
    attempt.session.info[_UNFLUSHED] = True
    return [_judge_guarded(attempt, item) for item in attempt.batch.items]


def show(attempt: Attempt, pairs: Iterable[tuple[Item, Answer]]) -> None:
    """Complete and encode the answers, with the hooks of the entities whose rows they show."""
    pairs, room = list(pairs), MAX_ENTRY_BYTES
    load_shown(attempt.session, [answer for _, answer in pairs])
    with restricted():
        for item, answer in pairs:
            if answer.row is not None:
                _complete(attempt, item, answer)
            elif not answer.encoded:
                complete(answer)
            room = fit(item, answer, room)
    _refuse_aborted(attempt.session)


def _complete(attempt: Attempt, item: Item, answer: Answer) -> None:
    """Let the hooks complete an answer; one that was complete before later operations may stay as it was."""
    try:
        with attempt.batch.watch(item.handler, item.fingerprint):
            complete(answer)
    except HandlerTimeout:
        _note_late(attempt, item)
        raise
    except Exception as error:
        # PostgreSQL commits nothing after an error of its own.
        if not answer.encoded or isinstance(error, SQLAlchemyError):
            raise
        failed(item.handler, item.index, item.local_id, attempt.batch.registry)


def _judge(attempt: Attempt, item: Item) -> Answer:
    attempt.recorder.position, attempt.recorder.made_at = item.index, item.made_at
    batch = attempt.batch
    if item.handler is not None and (item.index in batch.late or batch.watch.has_given_up(item.handler)):
        item.fault = not_tried()
    try:
        with batch.watch(item.handler, item.fingerprint):
            return judge(attempt, item)
    except HandlerTimeout:
        _note_late(attempt, item)
        raise


def _judge_guarded(attempt: Attempt, item: Item) -> Answer:
    """Judge and write one operation inside a savepoint: an exception of any kind is its own fault."""
    calls = len(attempt.calls)
    stated: list[StatedChange] = []
    try:
        with attempt.session.begin_nested():
            with restricted():
                answer = _judge(attempt, item)
            _refuse_unrecorded(attempt.recorder)
            stated = attempt.recorder.stated
            attempt.recorder.write()
            _try_to_show(attempt, item, answer)
        return answer
    except Exception as error:
        if is_repeatable(error):
            raise
        # The savepoint has taken back the changes that were written already; in memory they are still there.
        attempt.recorder.stated = attempt.recorder.stated or stated
        rejection = _rejection_of(error, attempt, item)
        _take_back(attempt, item, calls)
        return reject(attempt, item, rejection)


def _try_to_show(attempt: Attempt, item: Item, answer: Answer) -> None:
    """Complete the answer early: an exception of the entity's hooks is this operation's fault, too."""
    show(attempt, [(item, answer)])
    if answer.row is not None:
        # Read again in the end, when the other operations have been applied.
        attempt.session.expire(answer.row, entity_of(answer.row).loads)


def _note_late(attempt: Attempt, item: Item) -> None:
    """The handler did not end, and was interrupted: call this while that is handled."""
    failed(item.handler, item.index, item.local_id, attempt.batch.registry)
    attempt.batch.late.add(item.index)


def _take_back(attempt: Attempt, item: Item, calls: int) -> None:
    """Forget, in memory, everything that a failed operation did. It had made so many `calls` before."""
    session, recorder = attempt.session, attempt.recorder
    attempt.history.forget(recorder.stated)
    attempt.rows.forget_children()
    touched = {change.row for change in recorder.stated}
    recorder.undo()
    recorder.operations.clear()
    del attempt.calls[calls:]
    attempt.remembered.pop(key_of(item), None)
    for row in [*session.new]:
        session.expunge(row)
    # A value that a handler assigned before it stated a change would pass for the row's former value.
    for row in {*touched, *session.dirty, *session.deleted}:
        if row in session:
            session.refresh(row)


def _rejection_of(error: Exception, attempt: Attempt, item: Item) -> Rejected:
    """A breach of a constraint for which the entity has a sentence is the item's fault; any other error is a bug."""
    if isinstance(error, IntegrityError) and item.handler is not None:
        created = [type(change.row) for change in attempt.recorder.stated]
        sentence = sentence_of(error, dict.fromkeys([*models_of(item.handler), *created]))
        if sentence is not None:
            return Rejected("invalid", str(sentence))
    return failed(item.handler, item.index, item.local_id, attempt.batch.registry)


def _refuse_aborted(session: Session) -> None:
    """Refuse to go on after an error of the database that a hook swallowed: COMMIT would roll back in silence."""
    info = getattr(session.connection().connection.dbapi_connection, "info", None)
    if info is not None and info.transaction_status.name == "INERROR":
        raise RuntimeError("A hook swallowed an error of the database, after which nothing can be committed.")


def _refuse_unrecorded(recorder: Recorder) -> None:
    """Refuse everything that would be written unrecorded: by the ORM, or by an assignment to a new row."""
    _refuse_dirty(recorder.session)
    recorded: dict[Row, Fields] = {}
    for change in recorder.stated:
        if change.action == "create":
            recorded[change.row] = {}
        elif change.action == "delete":
            recorded.pop(change.row, None)
        if change.row in recorded:
            recorded[change.row] |= {name: sides["new"] for name, sides in change.changes.items() if "new" in sides}
    for row, fields in recorded.items():
        if fields_of(row) != fields:
            raise DirtySessionError(f"A handler assigned to a new {type(row).__name__}. Use context.change.")


def _refuse_dirty(session: Session) -> None:
    """Rows are written by the recorder alone: everything that the ORM would write besides is a handler's mistake."""
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
