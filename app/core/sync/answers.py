"""The answer to a batch: its entries are made while the operations run, and completed once all of them have.

Each entry is encoded by itself and before the commit, because plugins' code gives parts of it: what is no JSON, or too
large, is the fault of one item as long as nothing is durable.

Rows are projected for the client (attachment keys, form structures) only after the loop, from relationships loaded in
one query each, so that neither conflicts nor answers cost a query of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import orjson
from sqlalchemy import ColumnElement, inspect, select
from sqlalchemy.orm import Session, selectinload, subqueryload

from app.clock import to_wire
from app.core.ledger.entries import Remembered
from app.core.ledger.versions import AS_RECEIVED
from app.core.sync.items import Item, Routed
from app.errors import Rejected
from app.models.entities import Fields, Row, entity_of, fields_of

#: The sentence that follows that of a rejection, where the handler says nothing of its own.
ADVICE = {
    "invalid": "Correct the fields named in `details`; the item was not applied.",
    "invalid_type": "This server has no such type.",
    "not_found": "It is not there; the item was not applied. Set the item aside and show it.",
    "forbidden": "Set the item aside and show it: it is not yours to change.",
    "answer_full": "Nothing of this item was applied. Keep it queued and send it again, with fewer items.",
    "handler_failed": "Nothing of this item was applied. Keep it queued and send it again unchanged.",
}

#: The message of a conflict.
CONFLICT = "Version conflict detected"

#: The most bytes, as JSON, of a refusal's code, sentences and details.
MAX_REFUSAL_BYTES = 64 * 1024

#: The most bytes, as JSON, that an entity's `expose` and `conflict` may add to what the row itself holds.
MAX_ADDED_BYTES = 4 * 1024 * 1024

#: An entry as it is sent.
Entry: TypeAlias = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class Answer:
    """The entry of one item."""

    #: The list of `results` that it belongs to.
    group: Literal["success", "errors", "conflicts"]
    entry: Entry
    #: The row whose projections the entry still lacks.
    row: Row | None = None
    #: The row's fields when the operation was judged.
    fields: Fields | None = None
    #: For a conflict: the fields of the version that the client started from.
    base: Fields | None = None
    #: The entry as JSON, once it is complete.
    encoded: bytes = b""

    def show(self, row: Row) -> None:
        """Answer the row's present version together with its present content: the client takes both or neither."""
        self.entry["updated_at"] = to_wire(row.updated_at)
        self.row, self.fields = row, fields_of(row)


def _head(item: Item) -> Entry:
    """The keys that every entry begins with."""
    return {"index": item.index, "local_id": item.local_id, "type": item.type}


def applied(
    item: Item, row: Row, operation: Remembered, others: Iterable[Row], *, is_known: bool, may_show: bool
) -> Answer:
    """The entry of an applied operation (contract, section 3).

    `is_known`: whether the client knew the version before, so that it needs no content with the new one; `may_show`:
    whether there is room for the content.
    """
    answer = Answer(group="success", entry={**_head(item), "server_id": row.id, "message": operation.message})
    if operation.version_after is not None:
        if is_known:
            answer.entry["updated_at"] = to_wire(row.updated_at)
        elif may_show:
            answer.show(row)
        _add_others(answer, others)
    _add_result(answer, operation)
    return answer


def replayed(
    item: Item, operation: Remembered, server_id: object, row: Row | None = None, others: Iterable[Row] = ()
) -> Answer:
    """The first success entry again (section 3.2); `row` and `others` as they are now, where they are shown."""
    entry = {
        **_head(item),
        "server_id": server_id,
        "message": operation.message or "",
        "replayed": True,
        "first_applied_at": to_wire(operation.recorded_at),
    }
    answer = Answer(group="success", entry=entry)
    _add_result(answer, operation)
    if row is not None:
        answer.show(row)
        _add_others(answer, others)
    return answer


def _add_result(answer: Answer, operation: Remembered) -> None:
    """Add the `result` of the handler's outcome."""
    if operation.result is not None and "result" in operation.result:
        answer.entry["result"] = operation.result["result"]


def _add_others(answer: Answer, rows: Iterable[Row]) -> None:
    """Add the further rows that the operation changed (contract, section 3)."""
    others = [{"entity": entity_of(row).name, "id": row.id, "updated_at": to_wire(row.updated_at)} for row in rows]
    if others:
        answer.entry["also"] = others


def rejected(item: Item, rejection: Rejected) -> Answer:
    """The entry of a rejected operation. Raises `TypeError` or `ValueError` where it is no JSON, or too large."""
    if not all(isinstance(text, str) for text in (rejection.code, rejection.error, rejection.message)):
        raise TypeError("The code, the error and the message of a Rejected are texts.")
    has_advice = rejection.message != rejection.error
    entry = {
        **_head(item),
        "code": rejection.code,
        "error": rejection.error,
        "message": rejection.message if has_advice else ADVICE.get(rejection.code, rejection.error),
        "retryable": bool(rejection.retryable),
    }
    if rejection.details is not None:
        entry["details"] = dict(rejection.details)
    encoded = orjson.dumps(entry)
    if len(encoded) > MAX_REFUSAL_BYTES:
        _refuse_bulk(len(encoded) - len(orjson.dumps(_head(item))), MAX_REFUSAL_BYTES, "A refusal")
    return Answer(group="errors", entry=entry, encoded=encoded)


def conflict(
    item: Routed,
    row: Row,
    local: Mapping[str, object],
    base: Fields | None,
    conflicting: list[str],
    *,
    is_unknown: bool,
) -> Answer:
    """The entry of an operation that stands against somebody else's change (contract, section 3.1).

    `is_unknown`: whether the row never had the version that was sent.
    """
    data: Entry = {
        "server_version": to_wire(row.updated_at),
        "local_version": item.keys.sent_version,
        "server_data": {},
        "local_data": dict(local),
        "base_data": None,
        "conflicting_fields": conflicting,
    }
    if is_unknown:
        data["unknown_version"] = True
    entry = {
        **_head(item),
        "success": False,
        "conflict": True,
        "server_id": row.id,
        "message": f"{CONFLICT}. {AS_RECEIVED}" if is_unknown else CONFLICT,
        "conflict_data": data,
    }
    return Answer(group="conflicts", entry=entry, row=row, fields=fields_of(row), base=base)


def batch_answer(answers: Iterable[Answer], moment: datetime, generation: str) -> dict[str, Any]:
    """The answer to a batch (contract, section 3)."""
    results: dict[str, list[orjson.Fragment]] = {"success": [], "errors": [], "conflicts": []}
    for answer in answers:
        results[answer.group].append(orjson.Fragment(answer.encoded))
    success, errors, conflicts = map(len, results.values())
    return {
        "success": True,
        "results": results,
        "synced_at": to_wire(moment),
        "generation": generation,
        "message": f"Sync completed: {success} successful, {errors} errors, {conflicts} conflicts",
    }


def load_shown(session: Session, answers: Iterable[Answer]) -> None:
    """Load the relationships that the entities' hooks read of the rows that entries show: one query for each."""
    models: dict[type, list[Row]] = {}
    for row in {answer.row for answer in answers if answer.row is not None}:
        models.setdefault(type(row), []).append(row)
    for model, rows in models.items():
        # `selectinload` is made in a fraction of the time, but sends one more query for every 500 rows.
        load = selectinload if len(rows) <= 500 else subqueryload
        loads = [load(getattr(model, name)) for name in entity_of(model).loads]
        if loads:
            key: ColumnElement[Any] = inspect(model).primary_key[0]
            session.scalars(select(model).where(key.in_([row.id for row in rows])).options(*loads)).all()


def complete(answer: Answer) -> None:
    """Add the projected content to an entry that shows a row, and encode it.

    Raises `TypeError` or `ValueError` where a hook gave what is no JSON, or too large.
    """
    if answer.row is not None and answer.fields is not None:
        shown = _expose(answer.row, answer.fields)
        if answer.group == "conflicts":
            _complete_conflict(answer.entry["conflict_data"], answer, shown)
        else:
            answer.entry["data"] = shown
    encoded = orjson.dumps(answer.entry)
    if len(encoded) > MAX_ADDED_BYTES:
        local = answer.entry.get("conflict_data", {}).get("local_data")
        own = orjson.dumps([answer.entry["local_id"], answer.fields, answer.base, local])
        _refuse_bulk(len(encoded) - len(own), MAX_ADDED_BYTES, "What `expose` and `conflict` add")
    answer.encoded = encoded


def _complete_conflict(data: Entry, answer: Answer, shown: Fields) -> None:
    data["server_data"] = shown
    if answer.base is not None:
        hidden = (answer.fields or {}).keys() - shown.keys()
        data["base_data"] = {name: value for name, value in answer.base.items() if name not in hidden}
    more = entity_of(answer.row).conflict
    if more is not None:
        data.update(_as_object("conflict", more(answer.row)))


def _expose(row: Row, fields: Fields) -> Fields:
    expose = entity_of(row).expose
    return fields if expose is None else _as_object("expose", expose(row, dict(fields)))


def _as_object(hook: str, value: object) -> Fields:
    if not isinstance(value, dict):
        raise TypeError(f"`{hook}` returned {type(value).__name__}; a dict is needed.")
    return value


def _refuse_bulk(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise ValueError(f"{what} has {size} bytes as JSON; at most {limit} are sent.")
