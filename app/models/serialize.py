"""Rows as they leave the server: in REST answers, the feed and offline packages (contract, section 6)."""

from __future__ import annotations

import logging

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import subqueryload

from app.clock import to_wire
from app.core.values import JsonObject
from app.models.entities import entity_of, fields_of
from app.plugin_api import Model, Row

logger = logging.getLogger(__name__)


def select_shown(model: Model) -> Select[Row]:
    """Select rows of `model` with the relationships that `serialize` reads: one query each, never one for each row."""
    options = [subqueryload(getattr(model, name)) for name in entity_of(model).loads]
    return select(model).options(*options).execution_options(populate_existing=True)


def undeleted(model: Model) -> list[ColumnElement[bool]]:
    """The condition for rows that are not marked as deleted; empty for models whose rows are never marked."""
    return [model.deleted_at.is_(None)] if hasattr(model, "deleted_at") else []


def serialize(row: Row) -> JsonObject:
    """The row as a JSON object: from its entity's `record` hook, otherwise its id, root, times and fields.

    If the hook fails, the fields are sent too: one row that a plugin cannot serialize must not keep a device from all
    the rows after it.
    """
    hook = entity_of(row).record
    if hook is not None:
        try:
            return hook(row)
        except Exception:  # a plugin's code may raise anything
            logger.exception("record failed", extra={"entity": entity_of(row).name, "id": row.id})
    return {
        "id": row.id,
        **({"inspection_id": row.inspection_id} if hasattr(row, "inspection_id") else {}),
        **fields_of(row),
        "created_at": to_wire(row.created_at),
        "updated_at": to_wire(row.updated_at),
    }
