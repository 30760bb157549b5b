"""Lists a page at a time: `page` counts from 1, `per_page` is at most 200 (contract, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marshmallow import Schema, validate
from sqlalchemy import Select, func
from sqlalchemy.orm import Session

from app.api.fields import QueryNumber
from app.core.values import MAX_INTEGER

#: Rows on a page: usually, and at most.
USUAL, MOST = 50, 200


class PageSchema(Schema):
    """The query parameters of every list."""

    # The rows before the page are counted in 64 bits by the databases.
    page = QueryNumber(load_default=1, validate=validate.Range(1, MAX_INTEGER // MOST))
    per_page = QueryNumber(load_default=USUAL, validate=validate.Range(1, MOST))


def read_page(
    session: Session,
    statement: Select[Any],
    query: Mapping[str, Any],
    name: str,
    describe: Callable[[Sequence[Any]], list[dict[str, Any]]],
) -> dict[str, Any]:
    """`{<name>: [...], "page", "per_page", "total", "pages"}`: one page of the rows that `statement` selects in order.

    `describe` is given what was selected of the page's rows. A page beyond the last is empty.
    """
    page, per_page = query["page"], query["per_page"]
    counted = statement.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    total = session.scalar(counted) or 0
    rows = session.scalars(statement.limit(per_page).offset((page - 1) * per_page)).all()
    return {
        name: describe(rows),
        "page": page,
        "per_page": per_page,
        "total": total,
        "pages": -(-total // per_page),
    }
