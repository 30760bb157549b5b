"""Rows as they leave the server: in REST answers, the feed and offline packages (contract, section 6)."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import subqueryload

from app.clock import to_wire
from app.models.entities import entity_of, fields_of
from app.plugin_api import Row

logger = logging.getLogger(__name__)


def select_shown(model: Any) -> Select[Any]:
    """Selects rows of `model` with what `record_of` reads: one more query for each relationship, never one a row."""
    options = [subqueryload(getattr(model, name)) for name in entity_of(model).loads]
    return select(model).options(*options).execution_options(populate_existing=True)


def record_of(row: Row) -> dict[str, Any]:
    """The row as its entity shows it; without a hook of its own: its id, root, times and fields.

    The same where the hook fails: one row that a plugin cannot show must not keep a device from all that follows it.
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
