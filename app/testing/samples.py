"""Values and payloads that the contract for handlers sends, and the parts of answers and rows that it looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import String, inspect

from app.core.values import MAX_INTEGER, JsonObject
from app.plugin_api import ById, Row

#: The keys that an entry of `errors` may have. None of them shows anything of a row.
ERROR_KEYS = {"index", "local_id", "type", "code", "error", "message", "retryable", "details"}

#: Texts that not every database and JSON reader can keep.
UNCLEAN = ("a\0b", "a\ud800b")

#: Values that a mistaken or hostile device may send in place of any other.
ODD_VALUES: Sequence[Any] = (
    None, True, 0, -1, MAX_INTEGER, 1.5, 1e300, "", " ", "é" * 5000, "1", "2024-13-45", [], {}, [[]], {"a": {"b": []}},
)  # fmt: skip


def missing_id(target: ById) -> int | str:
    """An id that no row of the target's model has."""
    is_text = isinstance(inspect(target.model).primary_key[0].type, String)
    return str(uuid4()) if is_text else MAX_INTEGER


def replaced(payload: JsonObject, values: Sequence[Any]) -> Iterator[JsonObject]:
    """The payload with each of its values replaced by each of `values`."""
    for name in payload:
        for value in values:
            yield {**payload, name: value}


def columns_of(row: Row) -> JsonObject:
    """The values of all columns of a row."""
    return {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
