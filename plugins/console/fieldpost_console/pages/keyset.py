"""Pages of a list by key: each begins behind a row, so that it costs the same anywhere and never shows a row twice.

The address has `after` or `before` with the key of a row: its values in the list's order, with `~` between them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flask import request
from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.clock import to_wire
from app.errors import NotFoundError
from app.models import UTCDateTime
from fieldpost_console.pages.addresses import this_page

#: Rows on a page.
PER_PAGE = 50


class Keys(NamedTuple):
    """The order of a list: columns that are never null and are unique together, and whether it goes down."""

    columns: Sequence[InstrumentedAttribute[Any]]
    is_descending: bool = False


class KeyPage(NamedTuple):
    """Some rows of a list, and the addresses of the pages before and after them, if there are any."""

    rows: list[Any]
    before: str | None
    after: str | None
    #: How many rows the list has; None: nobody has counted them.
    total: int | None = None


def read_key_page(
    session: Session, statement: Select[Any], keys: Keys, per_page: int = PER_PAGE, *, count_to: int | None = None
) -> KeyPage:
    """The page of `statement`, an unordered query, that the request's address names.

    The key's columns must be among those that `statement` selects, under their names. An address that names no place
    raises `NotFoundError`. `count_to`: the rows of the first page are counted on the way, and one above it stands for
    more. One statement.
    """
    is_backwards = "before" in request.args
    text = request.args.get("before" if is_backwards else "after")
    goes_down = keys.is_descending != is_backwards
    if text is not None:
        statement = statement.where(_behind(keys.columns, _parsed(keys.columns, text), goes_down))
    statement = _in_order(statement, keys.columns, goes_down)
    is_first = text is None
    if is_first and count_to is not None:
        statement = _in_order(_counted(statement, count_to), keys.columns, goes_down)
    rows = list(session.execute(statement.limit(per_page + 1)))
    total = _total(rows) if is_first and count_to is not None else None
    has_more, rows = len(rows) > per_page, rows[:per_page]
    if is_backwards:
        rows.reverse()
    has_before, has_after = (has_more, True) if is_backwards else (text is not None, has_more)
    names = [column.key for column in keys.columns]
    before = _address("before", rows[0], names) if rows and has_before else None
    after = _address("after", rows[-1], names) if rows and has_after else None
    return KeyPage(rows, before, after, total)


def _in_order(statement: Select[Any], columns: Sequence[InstrumentedAttribute[Any]], goes_down: bool) -> Select[Any]:
    """The statement in the order of these columns, under the names by which it selects them."""
    selected = statement.selected_columns
    by = [selected[column.key] for column in columns]
    return statement.order_by(*(column.desc() if goes_down else column.asc() for column in by))


def _total(rows: Sequence[Any]) -> int:
    return rows[0].total if rows else 0


def _counted(statement: Select[Any], count_to: int) -> Select[Any]:
    """The rows of an ordered statement, each with the `total` of them, up to one more than `count_to`."""
    few = statement.limit(count_to + 1).subquery()
    return select(*few.c, func.count().over().label("total"))


def _behind(columns: Sequence[Any], values: Sequence[Any], goes_down: bool) -> ColumnElement[bool]:
    here, place = tuple_(*columns), tuple_(*values, types=[column.type for column in columns])
    return here < place if goes_down else here > place


def _address(direction: str, row: Any, names: Sequence[str]) -> str:
    """The present address, with another place in the list."""
    key = "~".join(_text(getattr(row, name)) for name in names)
    return this_page(**{"before": None, "after": None, direction: key})


def _text(value: object) -> str:
    return to_wire(value) if isinstance(value, dt.datetime) else str(value)


def _number(text: str) -> int:
    """A number of a column of 64 bits. Raises `ValueError`."""
    number = int(text)
    if abs(number) >= 2**63:
        raise ValueError("It fits no column.")
    return number


def _moment(text: str) -> dt.datetime:
    """A moment as `to_wire` writes it. Raises `ValueError`."""
    moment = dt.datetime.fromisoformat(text)
    # Near the ends of the calendar, a zone carries a moment beyond them.
    if moment.tzinfo is None or not 2000 <= moment.year < 2100:
        raise ValueError("It is no moment of ours.")
    return moment


def _name(text: str) -> str:
    """A text that a column can have. Raises `ValueError`."""
    if "\0" in text:
        raise ValueError("PostgreSQL takes no NUL in a text.")
    return text


def _reader(column: InstrumentedAttribute[Any]) -> Callable[[str], object]:
    if isinstance(column.type, UTCDateTime):
        return _moment
    return _READERS[column.type.python_type]


#: The type of a column -> the function that reads its values.
_READERS: Mapping[type, Callable[[str], object]] = {
    int: _number,
    str: _name,
    dt.date: dt.date.fromisoformat,
}


def _parsed(columns: Sequence[InstrumentedAttribute[Any]], text: str) -> list[object]:
    try:
        texts = text.split("~", len(columns) - 1)
        return [_reader(column)(part) for column, part in zip(columns, texts, strict=True)]
    except ValueError:
        raise NotFoundError("There is no such page of this list") from None
