"""One operation at its turn: remembered or not, its rows, policy, conflict, apply.

Everything is in memory here: the rows of an operation were loaded and locked with the batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from time import perf_counter

import orjson

from app.core.ledger.entries import Remembered, StatedChange
from app.core.sync import answers, targets
from app.core.sync.answers import Answer
from app.core.sync.attempt import Attempt
from app.core.sync.context import OperationContext
from app.core.sync.items import Item, Refused, Routed, key_of
from app.core.sync.keys import Reference, created_rows
from app.core.sync.refusals import of_nobody
from app.core.sync.replay import replay
from app.core.sync.verdicts import Verdict, decide
from app.errors import Rejected
from app.models.entities import Fields, Row, entity_of
from app.plugin_api import Operation, Outcome

logger = logging.getLogger(__name__)

#: The most bytes that an operation's `result` may have, as JSON.
MAX_RESULT_BYTES = 4096

#: The longest message that the ledger keeps, in characters.
MAX_MESSAGE_LENGTH = 255


def judge(attempt: Attempt, item: Item) -> Answer:
    """The answer to one item. A rejection leaves nothing behind; any other exception is a bug."""
    operation = attempt.remembered.get(key_of(item))
    if operation is not None:
        # A row that a create of before has not left behind is not going to come: it is deleted, or was discarded.
        attempt.rows.refused.update(row for row in _created(item) if attempt.rows.find(row) is None)
        return replay(attempt, item, operation)
    if isinstance(item, Refused):
        return reject(attempt, item, item.rejected)
    if item.fault is not None:
        return reject(attempt, item, item.fault)
    if not attempt.user.active:
        return reject(attempt, item, of_nobody())
    mark = len(attempt.recorder.stated)
    try:
        return _apply(attempt, item, mark)
    except Rejected as rejected:
        if len(attempt.recorder.stated) > mark:
            attempt.recorder.undo(mark)
            attempt.rows.forget_children()
        return reject(attempt, item, rejected)


def reject(attempt: Attempt, item: Item, rejected: Rejected) -> Answer:
    """The answer to a refused item; it is logged with its code, never with data."""
    answer = answers.rejected(item, rejected)
    if not rejected.retryable:
        # Later items need not wait for these rows (contract, section 3).
        attempt.rows.refused.update(_created(item))
    logger.info(
        "operation rejected",
        extra={
            "code": rejected.code,
            "type": item.handler.type if item.handler else None,
            "index": item.index,
            "local_id": item.local_id,
        },
    )
    return answer


def _created(item: Item) -> set[Reference]:
    """The rows that a create names by their client_ids."""
    return item.created if item.handler is None else created_rows(item.payload, item.keys, item.handler)


def _apply(attempt: Attempt, item: Routed, mark: int) -> Answer:
    operation, changeable = targets.find(attempt.rows, attempt.user, item)
    verdict = decide(attempt, item, operation) if item.handler.versioned else Verdict(changes=operation.changes)
    if isinstance(verdict, Answer):
        return verdict
    if verdict.changes is not operation.changes:
        operation = replace(operation, changes=verdict.changes)
    outcome = Outcome() if verdict.is_dropped else _call(attempt, item, operation, changeable)
    return _finish(attempt, item, operation, verdict, outcome, mark)


def _call(attempt: Attempt, item: Routed, operation: Operation, changeable: list[Row]) -> Outcome:
    """Let the handler apply the operation, and keep the calls that it wants made after the commit."""
    settings = attempt.batch.registry.settings_of(item.handler)
    context = OperationContext(attempt, changeable, item, settings)
    started = perf_counter()
    try:
        outcome = item.handler.apply(operation, context)
    finally:
        attempt.tally.add_call(item.handler.type, started)
    attempt.calls.extend(context.calls)
    return outcome


def _finish(
    attempt: Attempt, item: Routed, operation: Operation, verdict: Verdict, outcome: Outcome, mark: int
) -> Answer:
    """Remember an applied operation, and answer it."""
    row: Row | None = outcome.row if outcome.row is not None else operation.target
    if row is None:
        raise TypeError("apply created no row and there is no target: return Outcome(row=…).")
    stated, is_versioned = attempt.recorder.stated[mark:], item.handler.versioned
    others = _further_rows(stated, row) if is_versioned else []
    remembered = Remembered(
        type=item.handler.type,
        recorded_at=attempt.recorder.now,
        position=item.index,
        local_id=item.local_id,
        fingerprint=item.fingerprint,
        entity=entity_of(row).name,
        entity_id=str(row.id),
        version_before=_version_before(operation, row, stated) if is_versioned else None,
        version_after=row.updated_at if is_versioned else None,
        message=_signed(attempt, verdict.message or _message_of(outcome) or _default_message(operation, row)),
        result=_result(outcome, others) or None,
        made_at=item.made_at,
        meta=item.meta,
        decided_by_id=attempt.recorder.origin.decided_by_id,
    )
    attempt.history.add(stated)
    attempt.remembered[key_of(item)] = remembered
    attempt.recorder.operations.append(remembered)
    may_show = verdict.is_known or not is_versioned or attempt.shown.may_show(row)
    return answers.applied(item, row, remembered, others, is_known=verdict.is_known, may_show=may_show)


def _further_rows(stated: Iterable[StatedChange], row: Row) -> list[Row]:
    """The other rows that the operation has changed, without those that it deleted."""
    others = (change.row for change in stated if change.row is not row and change.version_after is not None)
    return list(dict.fromkeys(others))


def _version_before(operation: Operation, row: Row, stated: Iterable[StatedChange]) -> datetime | None:
    """The version that the operation found; None where it has made the row, or acted on another one."""
    is_target = row is operation.target
    if not is_target:
        return None
    for change in stated:
        if change.row is row:
            return change.version_before
    return row.updated_at


def _message_of(outcome: Outcome) -> str | None:
    """The handler's own message. Raises `ValueError` where the ledger has no room for it."""
    message = outcome.message
    if message is not None and (not isinstance(message, str) or len(message) > MAX_MESSAGE_LENGTH):
        raise ValueError(f"The message of an Outcome is a text of at most {MAX_MESSAGE_LENGTH} characters.")
    return message


def _signed(attempt: Attempt, message: str) -> str:
    """The message; where the office has decided, with the name of the one who did."""
    if attempt.recorder.origin.decided_by_id is None:
        return message
    return f"Decided by {attempt.user.name}. {message}"[:MAX_MESSAGE_LENGTH]


def _default_message(operation: Operation, row: Row) -> str:
    return f"{entity_of(row).label} {'created' if operation.target is None else 'updated'} successfully"


def _result(outcome: Outcome, others: list[Row]) -> Fields:
    """The parts of the answer that are remembered beside its message and versions."""
    result: Fields = {}
    if outcome.result:
        encoded = orjson.dumps(dict(outcome.result))
        if len(encoded) > MAX_RESULT_BYTES:
            raise ValueError(f"The result has {len(encoded)} bytes; at most {MAX_RESULT_BYTES} are kept for retries.")
        # As every retry will read it, even if the handler changes its own values later.
        result["result"] = orjson.loads(encoded)
    if others:
        result["also"] = [[entity_of(row).name, str(row.id)] for row in others]
    return result
