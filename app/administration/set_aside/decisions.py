"""Decisions of the office about items that were not applied (contract, section 12).

A decision goes through the pipeline of devices under the sender's identity and the item's own fingerprint: the ledger's
unique constraint decides between office and device, and the one that comes second gets the outcome of the first.
Rights are those of the one who decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import select

from app import policies
from app.administration.set_aside import sight
from app.administration.set_aside.private import without_private
from app.administration.set_aside.selection import state_column
from app.administration.set_aside.sent import data_key
from app.administration.set_aside.shown import show_set_aside
from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import Write
from app.core.host.registry import Registry, current_registry
from app.core.ledger import audit
from app.core.ledger.entries import Remembered
from app.core.ledger.history import recall
from app.core.ledger.record import Origin, Recorder, keep_user, user_lock
from app.core.ledger.unit import unit_of_work
from app.core.sync.attempt import Attempt, Batch
from app.core.sync.batch import process_batch
from app.core.sync.items import Item, Routed, Terms, read_items
from app.core.sync.judge import MAX_MESSAGE_LENGTH
from app.core.values import JsonObject
from app.errors import ConflictError, ForbiddenError, NotFoundError, StaleError
from app.models import Inspection, SetAside, User

#: The door of decisions.
OFFICE_DOOR = "office"

#: What a decision is called once it is made.
MADE = {"apply": "applied", "change": "changed", "discard": "discarded"}

#: The parts of a conflict's entry that have no values of rows.
VERSIONS = ("server_version", "local_version", "conflicting_fields")

NOT_KEPT: JsonObject = {
    "result": "refused",
    "code": "not_kept",
    "error": "The item itself is not kept here",
    "message": "It was too large, or its sender had too many. Its device still has it.",
}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision of the office about an item."""

    #: `apply` as sent, `change` and apply, or `discard`.
    kind: str
    #: For `change`: merged into the item's data, objects key by key; any other value replaces the one that was sent.
    changes: Mapping[str, Any] | None = None
    #: The version of the row that was seen; None: for a conflict the one that it met, otherwise the one that was sent.
    version: datetime | None = None
    reason: str | None = None


def decide(user: User, key: str, decision: Decision) -> JsonObject:
    """Decide one item; returns it as `show_set_aside` does.

    Raises `NotFoundError`; `ForbiddenError`; `StaleError` with the present row, if somebody has changed it since; and
    `ConflictError`: `already_decided`, or `refused` with the entry in which the pipeline says why. The data of errors
    have no private values.
    """
    result = decide_many(user, [key], decision)[0]
    _raise_for(user, result)
    return show_set_aside(user, key)


def decide_many(user: User, keys: Sequence[str], decision: Decision) -> list[JsonObject]:
    """Decide several items, those of one device in the order in which it sent them; returns a result for each key.

    A result has `id` and `result`: `decided`, `already_decided`, `stale`, `refused`, `forbidden` or `not_found`; and
    `entry`, or code and sentences, where the pipeline has answered. No result has values of rows.
    """
    results: dict[str, JsonObject] = {key: {"result": "not_found"} for key in keys}
    waiting = []
    for row in _found(user, keys):
        results[row.id] = {"result": "forbidden" if not row.may_decide else "already_decided"}
        if row.may_decide and row.state == "open":
            waiting.append(row)
    waiting.sort(key=lambda row: (row.user_id, row.device_id, row.first_at, row.position))
    for _, device in groupby(waiting, key=lambda row: (row.user_id, row.device_id)):
        for piece in _pieces([*device]):
            results |= _decide_piece(user, piece, decision)
    return [{"id": key, **results[key]} for key in keys]


def _found(user: User, keys: Sequence[str]) -> Sequence[Any]:
    """What is to be known of the rows that the user may see, before any is decided."""
    columns = (SetAside.id, SetAside.user_id, SetAside.device_id, SetAside.first_at, SetAside.position)
    may_decide = sight.decidable(user.role).label("may_decide")
    statement = select(*columns, SetAside.item_bytes, state_column().label("state"), may_decide)
    statement = statement.where(SetAside.id.in_(keys), sight.visible(user.role))
    return db.session.execute(statement, sight.parameters_of(user)).all()


def _pieces(rows: Sequence[Any]) -> Iterator[list[str]]:
    """The rows' ids, as many at once as a batch may have items and bytes."""
    settings = current_settings()
    piece: list[str] = []
    size = 0
    for row in rows:
        size += row.item_bytes
        if piece and (len(piece) == settings.max_batch_items or size > settings.max_batch_bytes):
            yield piece
            piece, size = [], row.item_bytes
        piece.append(row.id)
    if piece:
        yield piece


def _decide_piece(user: User, keys: Sequence[str], decision: Decision) -> dict[str, JsonObject]:
    """The results of some items of one device."""
    found = {row.id: row for row in db.session.scalars(select(SetAside).where(SetAside.id.in_(keys)))}
    db.session.expunge_all()
    rows = [found[key] for key in keys if key in found]
    gone: dict[str, JsonObject] = {key: {"result": "not_found"} for key in keys if key not in found}
    if not rows:
        return gone
    origin = Origin(
        door=OFFICE_DOOR, user_id=rows[0].user_id, device_id=rows[0].device_id or None, decided_by_id=user.id
    )
    if decision.kind == "discard":
        return gone | unit_of_work(partial(_discard, origin, rows, decision))
    whole = [row for row in rows if row.item is not None]
    cut = {row.id: NOT_KEPT for row in rows if row.item is None}
    return gone | cut | (_apply(origin, whole, decision) if whole else {})


# Applying.


def _apply(origin: Origin, rows: Sequence[SetAside], decision: Decision) -> dict[str, JsonObject]:
    """Apply items of one device, as sent or changed, in one batch."""
    registry = current_registry()
    elements = [_changed(row.item or {}, decision.changes, registry) for row in rows]
    items = read_items({"sync_items": elements}, registry)
    for item, row in zip(items, rows, strict=True):
        _put_under_its_name(item, row, decision)
    besides = partial(_settlements, rows, decision)
    answer = process_batch(Batch(items=items, origin=origin, registry=registry, besides=besides))
    # An entry is encoded before the commit, and read again here.
    results = orjson.loads(orjson.dumps(answer["results"]))
    entries = {entry["index"]: (group, entry) for group in results for entry in results[group]}
    return {row.id: _result(*entries[index]) for index, row in enumerate(rows)}


def _put_under_its_name(item: Item, row: SetAside, decision: Decision) -> None:
    """Let the item be the operation that the device has sent, changed or not."""
    item.fingerprint = row.fingerprint
    if isinstance(item, Routed):
        item.terms = Terms(version=decision.version or row.seen_version)


def _changed(item: JsonObject, changes: Mapping[str, Any] | None, registry: Registry) -> JsonObject:
    """The item as sent, with other values in its data."""
    key = data_key(item, registry)
    return item if not changes else {**item, key: _merged(item.get(key), changes)}


def _merged(value: Any, changes: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**value, **{name: _merged(value.get(name), change) for name, change in changes.items()}}


def _settlements(rows: Sequence[SetAside], decision: Decision, attempt: Attempt) -> Iterable[Write]:
    """The write that notes the decision with the rows whose operations are applied by it, in the same transaction."""
    pairs = zip(rows, attempt.answers, strict=True)
    decided = [row for row, answer in pairs if answer.group == "success" and "replayed" not in answer.entry]
    return _settling(decided, decision, attempt.recorder)


def _settling(rows: Sequence[SetAside], decision: Decision, recorder: Recorder) -> Iterator[Write]:
    values = {
        "decision": MADE[decision.kind],
        "decided_by_id": recorder.origin.decided_by_id,
        "reason": decision.reason,
        "settled_at": recorder.now,
    }
    if rows:
        written = [{"id": row.id, **values} for row in rows]
        yield Write(kind="update", table=table_of(SetAside), names=tuple(values), rows=written)
        about = ("set_aside", rows[0].id) if len(rows) == 1 else None
        origin = Origin(door=OFFICE_DOOR)
        yield audit.entry(
            "set_aside_decided", origin, recorder.user, about, decision=values["decision"], count=len(rows)
        )


def _result(group: str, entry: JsonObject) -> JsonObject:
    """The result of an item that went through the pipeline. Of rows its entry has versions, and no values."""
    told = {name: value for name, value in entry.items() if name not in ("data", "conflict_data")}
    if group == "success":
        return {"result": "already_decided" if entry.get("replayed") else "decided", "entry": told}
    if group == "conflicts":
        told["conflict_data"] = {name: entry["conflict_data"][name] for name in VERSIONS}
    return {"result": "stale" if group == "conflicts" else "refused", "entry": told}


# Discarding.


def _discard(origin: Origin, rows: Sequence[SetAside], decision: Decision, unit_id: str) -> dict[str, JsonObject]:
    """Remember items of one device as done without any change. Inside a unit of work."""
    recorder = Recorder(db.session(), unit_id, origin, now())
    lock = user_lock(origin)
    remembered = recall(recorder.session, origin, [row.local_id for row in rows], [lock])
    keep_user(recorder, lock)
    _require_still_in_charge(recorder, rows)
    waiting = _lock_waiting(recorder, rows)
    discarded = [row for row in rows if row.id in waiting and (row.local_id, row.fingerprint) not in remembered]
    for position, row in enumerate(discarded):
        recorder.operations.append(_discarded(recorder, position, row, decision.reason))
    recorder.write(*_settling(discarded, decision, recorder))
    done = {row.id for row in discarded}
    return {row.id: {"result": "decided" if row.id in done else "already_decided"} for row in rows}


def _require_still_in_charge(recorder: Recorder, rows: Iterable[SetAside]) -> None:
    """Raise `ForbiddenError` if the user has ceased to be an administrator, or the owner, since the rows were found."""
    if policies.is_admin(recorder.user):
        return
    roots = {row.inspection_id for row in rows}
    owned = select(Inspection.id).where(Inspection.id.in_(roots), Inspection.owner_id == recorder.origin.decided_by_id)
    if set(recorder.session.scalars(owned.order_by(Inspection.id).with_for_update(read=True))) != roots:
        raise _not_in_charge()


def _lock_waiting(recorder: Recorder, rows: Iterable[SetAside]) -> set[str]:
    """Lock the rows; returns the ids of those that nobody has decided meanwhile."""
    statement = select(SetAside.id).where(SetAside.id.in_([row.id for row in rows]), SetAside.decision.is_(None))
    return set(recorder.session.scalars(statement.order_by(SetAside.id).with_for_update()))


def _discarded(recorder: Recorder, position: int, row: SetAside, reason: str | None) -> Remembered:
    """The operation that every retry of a discarded item is answered with."""
    name = "" if recorder.user is None else recorder.user.name
    message = f"Discarded by {name}: {reason}" if reason else f"Discarded by {name}"
    return Remembered(
        type=row.type,
        recorded_at=recorder.now,
        position=position,
        local_id=row.local_id,
        fingerprint=row.fingerprint,
        entity=row.entity,
        entity_id=row.entity_id,
        message=message[:MAX_MESSAGE_LENGTH],
        result={"result": {"discarded": True}},
        decided_by_id=recorder.origin.decided_by_id,
    )


# Errors of a single decision.


def _not_in_charge() -> ForbiddenError:
    return ForbiddenError("Only administrators and the inspection's owner decide this", "Ask one of them.")


def _raise_for(user: User, result: JsonObject) -> None:
    """Raise the error of a decision that was not made."""
    kind, entry = result["result"], result.get("entry") or result
    if kind == "not_found":
        raise NotFoundError("There is no such item")
    if kind == "forbidden":
        raise _not_in_charge()
    if kind == "already_decided":
        raise _already_decided(user, result["id"])
    if kind == "stale":
        raise _stale(user, result["id"], entry["conflict_data"])
    if kind == "refused":
        details = {"details": entry["details"]} if "details" in entry else {}
        extra = {"reason": entry["code"], **details}
        raise ConflictError("refused", entry["error"], entry["message"], extra=extra)


def _stale(user: User, key: str, data: JsonObject) -> StaleError:
    """The error that shows the row as it is by now, without private values."""
    present = without_private(show_set_aside(user, key))["present"]
    if present is None:
        # The item names its row by a `client_id` that had no row yet when it came in.
        present = {"updated_at": data["server_version"], "data": {}}
    return StaleError(extra={"data": {"present": present, "conflicting_fields": data["conflicting_fields"]}})


def _already_decided(user: User, key: str) -> ConflictError:
    """The error that names the one who was faster: somebody in the office, or the device itself."""
    row = show_set_aside(user, key)
    if row["decided_by"] is not None:
        error = f"This was already decided by {row['decided_by']['name']}"
    else:
        error = "The device has already solved this itself"
    message = "Nothing was changed. `data` has the item as it is now."
    return ConflictError("already_decided", error, message, extra={"data": {"set_aside": without_private(row)}})
