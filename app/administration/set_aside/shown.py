"""Items that were not applied, as they are shown: in a list, and one with its values (contract, section 12)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select

from app.administration.among import among
from app.administration.set_aside import sight
from app.administration.set_aside.private import private_fields
from app.administration.set_aside.selection import state_column
from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.rows import set_in_memory
from app.core.host.registry import current_registry
from app.core.host.watch import is_interrupt
from app.core.values import JsonObject, parse_timestamp
from app.errors import NotFoundError
from app.models import Inspection, SetAside, User
from app.models.entities import Row, entity_of, fields_of
from app.models.serialize import select_shown

logger = logging.getLogger(__name__)

#: The columns of a row that a list shows as they are.
PLAIN = (
    *("id", "outcome", "code", "error", "message", "retryable", "device_id", "local_id", "type"),
    *("entity", "entity_id", "inspection_id", "is_cut", "times", "decision", "reason"),
)

#: All columns that `described` needs.
LISTED = (*PLAIN, "first_at", "last_at", "settled_at", "user_id", "decided_by_id")


def described(rows: Sequence[Any], state: str | None) -> list[JsonObject]:
    """The rows as they are listed, with the names of people; one query for all of them, if there are any.

    `state`: that of all of them; None: each has its own.
    """
    people = _people(key for row in rows for key in (row.user_id, row.decided_by_id) if key is not None)
    return [
        {
            **{name: getattr(row, name) for name in PLAIN},
            "device_id": row.device_id or None,
            "state": state or row.state,
            "user": people.get(row.user_id),
            "first_at": to_wire(row.first_at),
            "last_at": to_wire(row.last_at),
            "decided_by": people.get(row.decided_by_id),
            "decided_at": to_wire(row.settled_at) if row.decision is not None else None,
        }
        for row in rows
    ]


def show_set_aside(user: User, key: str) -> JsonObject:
    """One row with its item, its details, and with the row as it is now. Raises `NotFoundError`.

    `private` names the private fields, whose values are there, too: see `without_private`.
    """
    statement = select(SetAside, state_column()).where(SetAside.id == key, sight.visible(user.role))
    found = db.session.execute(statement, sight.parameters_of(user)).one_or_none()
    if found is None:
        raise NotFoundError("There is no such item")
    row, state = found
    (line,) = described([row], state)
    present = _present_row(row)
    shown = {
        **line,
        "details": row.details,
        "item": row.item,
        "made_at": _made_at(row.item),
        "seen": _seen(row, present),
        "seen_version": None if row.seen_version is None else to_wire(row.seen_version),
        "present": None if present is None else {"updated_at": to_wire(present.updated_at), "data": _exposed(present)},
    }
    return {**shown, "private": private_fields(shown, present)}


def _people(keys: Iterable[int]) -> dict[int | None, JsonObject]:
    wanted = set(keys)
    statement = select(User.id, User.name).where(among(User.id, wanted))
    rows = db.session.execute(statement) if wanted else ()
    return {key: {"id": key, "name": name} for key, name in rows}


def _present_row(row: SetAside) -> Row | None:
    """The row that the item is about, as it is now; None where it is not known, or no longer there."""
    registry = current_registry()
    model: Any = registry.models.get(row.entity or "")
    if model is None or row.entity_id is None or row.inspection_id is None:
        return None
    key = registry.key_of(model, row.entity_id)
    present: Row | None = db.session.scalars(select_shown(model).where(model.id == key)).one_or_none()
    # The item's inspection has decided who sees it; its row may have another one only by a mistake.
    if present is None or present.inspection_id != row.inspection_id:
        return None
    root = db.session.get(Inspection, row.inspection_id)
    if model is not Inspection and root is not None:
        # Plugins' titles and labels read it.
        set_in_memory(present, {"inspection": root})
    return present


def _made_at(item: JsonObject | None) -> str | None:
    """When the item was made by its device's clock; None: the item is not kept, or says nothing that can be read."""
    try:
        return to_wire(parse_timestamp((item or {}).get("made_at")))
    except ValueError:
        return None


def _exposed(row: Row) -> JsonObject:
    """A row's fields as answers show them; none where the plugin's code fails."""
    expose = entity_of(row).expose
    if expose is None:
        return fields_of(row)
    try:
        return dict(expose(row, dict(fields_of(row))))
    except BaseException as error:  # a plugin's code may raise anything
        if is_interrupt(error):
            raise
        logger.exception("expose failed", extra={"entity": entity_of(row).name, "id": row.id})
        return {}


def _seen(row: SetAside, present: Row | None) -> JsonObject | None:
    """The values of a conflict, without fields of the server that its entity shows nobody."""
    if row.seen is None or present is None or row.seen["theirs"] is None:
        return row.seen
    hidden = fields_of(present).keys() - _exposed(present).keys()
    sides = {side: row.seen[side] for side in ("base", "theirs") if row.seen[side] is not None}
    shown = {side: {name: value for name, value in sides[side].items() if name not in hidden} for side in sides}
    return {**row.seen, **shown}
