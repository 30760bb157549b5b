"""JSON values that refuse to be edited in place: such an edit would be stored with the next change, unrecorded."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

from sqlalchemy import JSON, inspect
from sqlalchemy.orm import Mapper

from app.core.database.rows import set_in_memory
from app.plugin_api import Row

#: The types of JSON values that can be edited in place.
EDITABLE = frozenset({dict, list})


def _refuse(*_args: object, **_kwargs: object) -> NoReturn:
    raise TypeError(
        "A row's JSON cannot be edited in place. Make a copy, and state the change: context.change(row, …)."
    )


class ReadOnlyDict(dict[str, Any]):
    """A JSON object as stored; copies of it (`dict(…)`, `{**…}`, `copy`) can be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class ReadOnlyList(list[Any]):
    """A JSON array as stored; copies of it can be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def protect(row: Row) -> None:
    """Make the row's JSON columns read-only, at any depth."""
    for name in _json_columns(row.__class__):
        value = row.__dict__.get(name)
        if type(value) in EDITABLE:
            set_in_memory(row, {name: read_only(value)})


def read_only(value: Any) -> Any:
    """A JSON value that cannot be edited; values other than objects and arrays are returned as they are."""
    if type(value) is dict:
        # Most objects are flat, which this test finds out without a call for each value.
        if EDITABLE.isdisjoint(map(type, value.values())):
            return ReadOnlyDict(value)
        return ReadOnlyDict({key: read_only(part) for key, part in value.items()})
    if type(value) is list:
        return ReadOnlyList(map(read_only, value))
    return value


@lru_cache(maxsize=512)
def _json_columns(model: type) -> tuple[str, ...]:
    mapper: Mapper[Any] = inspect(model)
    return tuple(column.key for column in mapper.column_attrs if isinstance(column.columns[0].type, JSON))
