"""Lists, a page at a time: `page` counts from 1, `per_page` is at most 200 (contract, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from marshmallow import Schema, validate
from sqlalchemy import Select, func
from sqlalchemy.orm import Session

from app.administration.fields import QueryNumber
from app.core.values import MAX_INTEGER, JsonObject, Values

T = TypeVar("T")

#: Rows on a page: the default and the maximum.
DEFAULT, MAX = 50, 200


class PageSchema(Schema):
    """The query parameters of every list."""

    # The databases count the skipped rows in 64 bits.
    page = QueryNumber(load_default=1, validate=validate.Range(1, MAX_INTEGER // MAX))
    per_page = QueryNumber(load_default=DEFAULT, validate=validate.Range(1, MAX))


def read_page(
    session: Session,
    statement: Select[Any],
    query: Values,
    name: str,
    serialize: Callable[[Sequence[T]], list[JsonObject]],
) -> JsonObject:
    """`{<name>: [...], "page", "per_page", "total", "pages"}`: one page of the rows that `statement` selects in order.

    `serialize` gets the rows of the page; a row of a single column, or entity, is this itself. A page beyond the last
    is empty.
    """
    page, per_page = query["page"], query["per_page"]
    counted = statement.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    total = session.scalar(counted) or 0
    rows: Sequence[Any] = session.execute(statement.limit(per_page).offset((page - 1) * per_page)).all()
    return {
        name: serialize([row[0] if len(row) == 1 else row for row in rows]),
        "page": page,
        "per_page": per_page,
        "total": total,
        "pages": -(-total // per_page),
    }
