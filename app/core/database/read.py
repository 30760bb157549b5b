"""Queries of which several go to the database together: `Database.read` runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Select
from sqlalchemy.engine import Dialect

from app.core.database.write import Encode
from app.core.values import Values

#: Turns a value of the driver's into a column's.
Decode = Callable[[Any], Any]


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


class Reads(dict[str, Any]):
    """The parameters of a statement of SQLAlchemy's that stands for several reads, which are sent in its place.

    A statement takes SQLAlchemy ten times as long as the driver.
    """

    def __init__(self, reads: Sequence[Read]) -> None:
        super().__init__()
        self.reads = reads


class Compiled(NamedTuple):
    """A query as a driver takes it."""

    text: str
    #: The parameters in their order, and those that have a value already.
    names: Sequence[str]
    constants: Mapping[str, Any]
    #: The functions that make the driver's values; names without one stay as they are.
    encoders: Mapping[str, Encode]

    def values(self, parameters: Values) -> list[Any]:
        """The values to send. There may be more parameters than the statement has."""
        values = {**self.constants, **parameters}
        return [self.encoders[name](values[name]) if name in self.encoders else values[name] for name in self.names]


@lru_cache(maxsize=512)
def compiled(statement: Select[Any], dialect: Dialect) -> Compiled:
    """A statement with its parameters by position. `dialect`: one that numbers or counts them."""
    text = statement.compile(dialect=dialect)
    names = text.positiontup or []
    encoders = {name: encode for name in names if (encode := _encoder(text.binds[name], dialect))}
    constants = {name: text.binds[name].effective_value for name in names if not text.binds[name].required}
    return Compiled(str(text), names, constants, encoders)


def _encoder(bind: BindParameter[Any], dialect: Dialect) -> Encode | None:
    return bind.type.dialect_impl(dialect).bind_processor(dialect)


def decoded(rows: Sequence[Sequence[Any]], decoders: Sequence[Decode | None]) -> list[list[Any]]:
    """The rows with the values of their columns."""
    return [[decode(value) if decode else value for decode, value in zip(decoders, row, strict=True)] for row in rows]


@lru_cache(maxsize=512)
def decoders_of(statement: Select[Any], dialect: Dialect, codes: Sequence[int | None] = ()) -> Sequence[Decode | None]:
    """The functions that make values of the columns. `codes`: the numbers of the types that PostgreSQL has sent."""
    types = [column.type.dialect_impl(dialect) for column in statement.selected_columns]
    return [
        kind.result_processor(dialect, code) for kind, code in zip(types, codes or [None] * len(types), strict=True)
    ]
