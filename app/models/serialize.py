"""Rows as they leave the server: in REST answers, the feed and offline packages (contract, section 6)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, String, inspect, select
from sqlalchemy.orm import subqueryload

from app.clock import to_wire
from app.core.host.watch import is_interrupt
from app.core.values import JsonObject
from app.models.entities import entity_of, fields_of
from app.plugin_api import Model, Row

logger = logging.getLogger(__name__)


def select_shown(model: Model, loads: Iterable[str] | None = None) -> Select[Row]:
    """Select rows of `model` with the relationships that `serialize` reads: one query each, never one for each row.

    `loads`: the names of these relationships, if they are not all that the entity names.
    """
    options = [subqueryload(getattr(model, name)) for name in (entity_of(model).loads if loads is None else loads)]
    return select(model).options(*options).execution_options(populate_existing=True)


def undeleted(model: Model) -> tuple[ColumnElement[bool], ...]:
    """The condition for rows that are not marked as deleted; empty for models whose rows are never marked."""
    return _undeleted(model)  # type: ignore[arg-type]


@cache
def _undeleted(model: Model) -> tuple[ColumnElement[bool], ...]:
    return (model.deleted_at.is_(None),) if hasattr(model, "deleted_at") else ()


def is_named(model: Model, key: object) -> ColumnElement[bool]:
    """The condition for the row that an id, or the client_id that a device made, names."""
    condition: ColumnElement[bool] = name_column(model, key) == key
    return condition


def name_column(model: Model, key: object) -> Any:
    """The column in which a key names a row: an id, or the client_id that a device made."""
    id_column = inspect(model).primary_key[0]
    is_client_id = isinstance(key, str) and not isinstance(id_column.type, String)
    return model.client_id if is_client_id else id_column


def serialize(row: Row) -> JsonObject:
    """The row as a JSON object: from its entity's `record` hook, otherwise its id, root, times and fields.

    One row that a plugin cannot serialize must not keep a device from all the rows after it: it is marked `unreadable`,
    and its content is left out.
    """
    try:
        return _record_of(row)
    except BaseException as error:  # a plugin's code may raise anything
        return _unreadable(row, error)


def encode(row: Row) -> orjson.Fragment:
    """The same as JSON, so that a value which is no JSON makes its own row unreadable, and not the whole answer."""
    try:
        return orjson.Fragment(orjson.dumps(_record_of(row)))
    except BaseException as error:  # a plugin's code may raise anything
        return orjson.Fragment(orjson.dumps(_unreadable(row, error)))


def _record_of(row: Row) -> JsonObject:
    hook = entity_of(row).record
    if hook is None:
        return {**_head(row), **fields_of(row), **_times(row)}
    record = hook(row)
    if not isinstance(record, dict):
        raise TypeError(f"`record` returned {type(record).__name__}; a dict is needed.")
    return record


def _unreadable(row: Row, error: BaseException) -> JsonObject:
    """What is sent of a row that a plugin could not serialize; call it while that error is handled."""
    if is_interrupt(error):
        raise error
    logger.exception("record failed", extra={"entity": entity_of(row).name, "id": row.id})
    return {**_head(row), **_times(row), "unreadable": True}


def _head(row: Row) -> JsonObject:
    """The row's id, and that of its inspection."""
    return {"id": row.id, **({"inspection_id": row.inspection_id} if hasattr(row, "inspection_id") else {})}


def _times(row: Row) -> JsonObject:
    return {"created_at": to_wire(row.created_at), "updated_at": to_wire(row.updated_at)}
