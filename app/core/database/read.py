"""Queries of which several go to the database together: `Database.read` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select

from app.core.values import Values


@dataclass(kw_only=True, slots=True)
class Read:
    """A query, and the rows that it has found."""

    statement: Select[Any]
    #: As the driver takes them; there may be more than the statement needs.
    parameters: Values
    #: Its rows, once it has been run.
    rows: Sequence[Sequence[Any]] = ()


@dataclass(kw_only=True, slots=True)
class Lock(Read):
    """A query that locks rows of a model, for `adopt`: columns first, as `row_columns` has them."""

    model: type
