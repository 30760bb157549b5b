"""The methods that both databases have: everything in which PostgreSQL and SQLite differ for the rest of the code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Select, SelectBase, Subquery
from sqlalchemy.orm import Session

from app.core.database.read import Read
from app.core.database.values import ColumnLike, ValueSet
from app.core.database.write import AnyWrite


class MigrationError(Exception):
    """A migration failed, or left the database as it must not be. Everything was rolled back."""


class Database(Protocol):
    """PostgreSQL or SQLite."""

    #: SQLAlchemy's name for it.
    name: str

    def __hash__(self) -> int:
        """There is one object for each, so that statements made for it can be kept."""

    def options(self, seconds: int) -> dict[str, Any]:
        """SQLAlchemy's options for an engine that waits for a lock or a connection for so many seconds."""

    def prepare(self, engine: Engine) -> None:
        """Attach the listeners that open connections and begin transactions."""

    def require_sound(self, engine: Engine) -> None:
        """Raise `StartError` if the database's file is damaged, as far as a short look can tell."""

    def check(self, connection: Connection) -> None:
        """Raise an error unless the database can serve."""

    def directory(self, engine: Engine) -> Path | None:
        """The directory of the database's file; None where the database is a server's."""

    def files(self, engine: Engine) -> Sequence[Path]:
        """All files that the database may consist of, there or not; none where it is a server's."""

    def migrating(self, connection: Connection) -> AbstractContextManager[None]:
        """A transaction that may change tables. Nobody else migrates meanwhile; no time limit counts.

        Raises `MigrationError` where the tables are not sound at its end.
        """

    def read(self, connection: Connection, reads: Sequence[Read]) -> None:
        """Run the queries one after the other and keep their rows in each `Read.rows`.

        Each query sees all that was committed before the queries ahead of it had their locks.
        """

    def write(self, connection: Connection, writes: Sequence[AnyWrite]) -> None:
        """Write rows of several tables, in a number of statements that does not depend on the number of rows."""

    def reserve(
        self, session: Session, counts: Mapping[str, int], taken: Mapping[str, int]
    ) -> Mapping[str, Sequence[int]]:
        """Ids for new rows: table -> as many unused ids as `counts` says, ascending, in one statement.

        `taken`: table -> the highest id of a row that this transaction has made and not yet written.
        """

    def among(self, column: ColumnLike, values: ValueSet) -> ColumnElement[bool]:
        """`column IN` the values."""

    def among_selected(self, column: ColumnLike, query: SelectBase) -> ColumnElement[bool]:
        """`column IN` the values that a query selects; an index answers it also beside a condition joined by OR."""

    def select_values(self, column: ColumnLike, values: ValueSet) -> Select[Any]:
        """`SELECT` of the values, as `column` has them."""

    def parameter_of(self, values: Collection[Any]) -> Any:
        """The values as the one parameter of `among`, `select_values` and `look_up`."""

    def look_up(self, statement: Select[Any], column: ColumnLike, values: ValueSet) -> Select[Any]:
        """The statement's rows whose `column` is among the values; each value is looked up in an index by itself."""

    def join_each(
        self, outer: Subquery, model: Any, query: Select[Any], columns: Sequence[ColumnElement[Any]]
    ) -> tuple[FromClause, Any]:
        """For each row of `outer`, the rows of `model` whose ids `query` selects.

        `query` refers to columns of `outer`, and selects from an alias of `model`, whose `columns` are wanted.
        Returns the joined tables, and the namespace where these columns are found in them.
        """

    def after(self, transaction: ColumnLike, key: ColumnLike, place: tuple[int, int]) -> ColumnElement[bool]:
        """The condition for ledger rows after `place`: (transaction id, id), in the columns `transaction` and `key`."""

    def byte_length(self, column: ColumnLike) -> ColumnElement[int]:
        """How many bytes a JSON value or a text has, as text in UTF-8."""

    def contains(self, column: ColumnLike, part: str) -> ColumnElement[bool]:
        """Whether `part`, in upper or lower case, is in a text of which the database keeps the form to search in:
        PostgreSQL lower case, SQLite the text as it is.
        """

    def array_length(self, column: ColumnLike) -> ColumnElement[int]:
        """How many elements a JSON array has."""

    def horizon(self, session: Session) -> int | None:
        """The transaction id below which everything is decided; None: everything that can be seen is."""

    def horizon_column(self) -> ColumnElement[int] | None:
        """The horizon as a part of a statement; None: everything that can be seen is decided."""

    def cluster_column(self) -> ColumnElement[str]:
        """The identity of the cluster as a part of a statement."""

    def snapshot_text(self, session: Session) -> str | None:
        """Which transactions the session's snapshot shows; None: all up to the newest row of the ledger."""

    def undecided_seconds(self, session: Session) -> float:
        """For how long the oldest transaction that may still write has been open; 0.0: there is none."""

    def cluster(self, session: Session) -> str:
        """The identity of the cluster whose transaction ids count; empty where there are none."""

    def last_ids(self, connection: Connection, tables: Sequence[str]) -> Mapping[str, int]:
        """The last id that each table has given, not counting tables that have given none."""

    def go_on_after(self, connection: Connection, ids: Mapping[str, int]) -> None:
        """Let each table's next id be greater than the one beside its name."""

    def read_json_text(self, document: bytes) -> Any:
        """The value of a JSON column whose text the database has written."""
