"""PostgreSQL: a server to which a message there and back costs more than the work that it asks for.

Rows travel as JSON (`json_to_recordset`), many values as one array (`= ANY`), the tables of a write as parts of one
`WITH`, and reads that need no answer from the ones before them in one message with these. A statement has one text
however many values or rows there are, and one plan, which PostgreSQL keeps.

Connections are in AUTOCOMMIT and read only. A transaction begins where `app.core.database.transactions` says so, by a
BEGIN of our own that travels with the first statement. Reads by themselves begin none: psycopg forgets at a ROLLBACK
all statements that it has prepared, and then each statement of each request would be planned anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import psycopg
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    SelectBase,
    Subquery,
    Table,
    Text,
    any_,
    collate,
    event,
    func,
    literal,
    literal_column,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from app.core.database.messages import NUMBERED, SENDERS, Numbered
from app.core.database.protocol import MigrationError
from app.core.database.read import Read, Reads, compiled
from app.core.database.types import read_jsonb
from app.core.database.values import ColumnLike, ValueSet
from app.core.database.write import (
    AnyWrite,
    Encode,
    Rule,
    RuledPut,
    Write,
    columns_with_rows,
    encoder,
    on_conflict,
    primary_key,
    quoted,
)
from app.core.values import Values

#: Seconds for which a connection that was just used is taken to be alive.
REST_SECONDS = 1.0

#: Any number that nobody else locks by.
MIGRATIONS_LOCK = 0x46_69_65_6C_64

#: Ids for new rows of several tables.
NEXT_IDS = text(
    "SELECT wanted.name, nextval(pg_get_serial_sequence(wanted.name, 'id')) "
    "FROM unnest(CAST(:names AS text[]), CAST(:counts AS int[])) AS wanted (name, count), "
    "generate_series(1, wanted.count)"
)
#: The same for one table.
NEXT_IDS_OF_ONE = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")

LAST_ID = text(
    "SELECT last_value FROM pg_sequences "
    "WHERE format('%I.%I', schemaname, sequencename)::regclass = pg_get_serial_sequence(:table, 'id')::regclass"
)

HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

CLUSTER = "SELECT system_identifier::text FROM pg_control_system()"

#: A transaction may still commit if it has a transaction id, prepared transactions included.
UNDECIDED_SECONDS = text("""
    SELECT extract(epoch FROM clock_timestamp() - min(begun)) FROM (
        SELECT xact_start AS begun FROM pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION ALL SELECT prepared FROM pg_prepared_xacts
    ) AS undecided
""")

POSTGRESQL = postgresql_dialect()  # type: ignore[no-untyped-call]


class PostgreSQL:
    """PostgreSQL, as the methods of `app.core.database.protocol.Database`."""

    name = "postgresql"

    def options(self, seconds: int) -> dict[str, Any]:
        """AUTOCOMMIT, read only, no wait without an end, and numbers as they were sent."""
        milliseconds = seconds * 1000
        parameters = {
            "default_transaction_read_only": "on",
            "statement_timeout": milliseconds * 6,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds * 6,
        }
        return {
            "json_deserializer": read_jsonb,
            # Otherwise the driver would send BEGIN by itself, in a message of its own.
            "isolation_level": "AUTOCOMMIT",
            "pool_timeout": seconds,
            "connect_args": {
                # Otherwise the driver would not decode the texts of a database without an encoding.
                "client_encoding": "UTF8",
                "connect_timeout": seconds,
                "options": " ".join(f"-c {name}={value}" for name, value in parameters.items()),
            },
        }

    def prepare(self, engine: Engine) -> None:
        """Send statements ourselves, and ask connections that have rested whether they are still there."""
        for name, send in SENDERS.items():
            event.listen(engine, name, send)
        event.listen(engine, "checkin", _note_return)
        event.listen(engine, "checkout", _ping_after_rest)

    def require_sound(self, engine: Engine) -> None:
        """PostgreSQL looks after its files itself."""

    def check(self, connection: Connection) -> None:
        """The statement is answered."""
        connection.execute(text("SELECT 1"))

    def directory(self, engine: Engine) -> Path | None:
        """The server's disk is its operator's."""
        return None

    def files(self, engine: Engine) -> Sequence[Path]:
        """The files are the server's."""
        return ()

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        """The driver begins and ends the transaction itself, as Alembic expects it.

        Raises `MigrationError` if the database is not in UTF-8: others lack letters, or do not know them as such.
        """
        options = {"isolation_level": "READ COMMITTED", "postgresql_readonly": False}
        with connection.execution_options(**options).begin():
            _require_utf8(connection)
            # Migrations may take longer than any request may, and wait for one another.
            for setting in ("lock_timeout", "statement_timeout"):
                connection.execute(text(f"SET LOCAL {setting} = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATIONS_LOCK})
            yield

    def read(self, connection: Connection, reads: Sequence[Read]) -> None:
        """All of them travel in one message, as one statement of SQLAlchemy's, which translates its errors."""
        connection.exec_driver_sql(compiled(reads[-1].statement, NUMBERED).text, Reads(reads))

    def write(self, connection: Connection, writes: Sequence[AnyWrite]) -> None:
        """One statement, whose parts see the state before it."""
        if writes:
            shapes = tuple(_shape(write) for write in writes)
            parameters = [value for write in writes for value in _parameters(write, connection.dialect)]
            connection.exec_driver_sql(_statement(shapes), Numbered(parameters))

    def reserve(
        self, session: Session, counts: Mapping[str, int], taken: Mapping[str, int]
    ) -> Mapping[str, Sequence[int]]:
        """A sequence never gives an id twice."""
        if len(counts) == 1:
            ((name, count),) = counts.items()
            return {name: session.scalars(NEXT_IDS_OF_ONE, {"name": name, "count": count}).all()}
        ids: dict[str, list[int]] = {}
        for name, key in session.execute(NEXT_IDS, {"names": list(counts), "counts": list(counts.values())}):
            ids.setdefault(name, []).append(key)
        return {name: sorted(keys) for name, keys in ids.items()}

    def among(self, column: ColumnLike, values: ValueSet) -> ColumnElement[bool]:
        """Not in a subquery: beside another condition, joined by OR, PostgreSQL would then read the whole table."""
        if values.is_single:
            return column == values.parameter(column.type)
        return column == any_(_array_of(column.type, values))

    def among_selected(self, column: ColumnLike, query: SelectBase) -> ColumnElement[bool]:
        """The values as an array: beside another condition, PostgreSQL looks nothing up for `IN`."""
        return column == any_(func.array(query.scalar_subquery(), type_=ARRAY(column.type)))

    def select_values(self, column: ColumnLike, values: ValueSet) -> Select[Any]:
        """The values of several as an array."""
        if values.is_single:
            return select(values.parameter(column.type))
        return select(func.unnest(_array_of(column.type, values)))

    def parameter_of(self, values: Collection[Any]) -> Any:
        """A single value, or a list, which is an array for the driver."""
        return next(iter(values)) if len(values) == 1 else list(values)

    def look_up(self, statement: Select[Any], column: ColumnLike, values: ValueSet) -> Select[Any]:
        """PostgreSQL would at times rather read all rows that the other conditions leave.

        OFFSET keeps it from seeing through the subquery, so that each value is looked up in the index.
        """
        if values.is_single:
            return statement.where(self.among(column, values))
        unnested = func.unnest(_array_of(column.type, values))
        wanted = unnested.table_valued("value", name="wanted").render_derived()
        rows = statement.where(column == wanted.c.value).offset(literal_column("0")).lateral()
        return select(rows).select_from(wanted.join(rows, true()))

    def join_each(
        self, outer: Subquery, model: Any, query: Select[Any], columns: Sequence[ColumnElement[Any]]
    ) -> tuple[FromClause, Any]:
        """The query is run for each row, as LATERAL."""
        rows = query.with_only_columns(*columns).lateral()
        return outer.join(rows, true()), rows.c

    def after(self, transaction: ColumnLike, key: ColumnLike, place: tuple[int, int]) -> ColumnElement[bool]:
        """A transaction that began earlier may commit later: ids alone are no order."""
        return tuple_(transaction, key) > tuple_(*place)

    def byte_length(self, column: ColumnLike) -> ColumnElement[int]:
        """JSONB is written out as text."""
        return func.octet_length(sql_cast(column, Text))

    def contains(self, column: ColumnLike, part: str) -> ColumnElement[bool]:
        """`part` becomes lower case as the text did: A to Z first, the letters of all languages after them.

        In a subquery, so that this happens once, and not for each row as soon as PostgreSQL keeps the plan.
        """
        letters = func.lower(collate(literal(part, Text), "C"))
        return func.strpos(column, select(func.lower(collate(letters, "default"))).scalar_subquery()) > 0

    def array_length(self, column: ColumnLike) -> ColumnElement[int]:
        """JSON is JSONB here."""
        return func.jsonb_array_length(column)

    def horizon(self, session: Session) -> int | None:
        """The id of the oldest transaction still running."""
        return int(session.scalar(text(HORIZON)) or 0)

    def horizon_column(self) -> ColumnElement[int] | None:
        """A subquery: it is run once, before the indexes are searched."""
        return literal_column(f"({HORIZON})", BigInteger)

    def cluster_column(self) -> ColumnElement[str]:
        """A subquery, for the same reason."""
        return literal_column(f"({CLUSTER})", Text)

    def snapshot_text(self, session: Session) -> str | None:
        """The snapshot as PostgreSQL writes it."""
        return str(session.scalar(text("SELECT pg_current_snapshot()::text")))

    def undecided_seconds(self, session: Session) -> float:
        """Transactions of other database roles show only to a role that may read their statistics."""
        return max(0.0, float(session.scalar(UNDECIDED_SECONDS) or 0.0))

    def cluster(self, session: Session) -> str:
        """In another cluster transaction ids start anew."""
        return str(session.scalar(text(CLUSTER)))

    def last_ids(self, connection: Connection, tables: Sequence[str]) -> Mapping[str, int]:
        """A sequence that was never used has no value."""
        last = {name: connection.execute(LAST_ID, {"table": name}).scalar() for name in tables}
        return {name: value for name, value in last.items() if value is not None}

    def go_on_after(self, connection: Connection, ids: Mapping[str, int]) -> None:
        """The sequences are set, as if they had given these ids."""
        statement = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)")
        for name, last in ids.items():
            connection.execute(statement, {"name": name, "last": last})

    def read_json_text(self, document: bytes) -> Any:
        """PostgreSQL writes some floats as integers."""
        return read_jsonb(document)


def _require_utf8(connection: Connection) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise MigrationError(
            f"The database's encoding is {encoding}, and Fieldpost needs UTF8. Create a database with "
            "`CREATE DATABASE fieldpost ENCODING 'UTF8' TEMPLATE template0`, and name it in DATABASE_URL."
        )


def _array_of(kind: TypeEngine[Any], values: ValueSet) -> ColumnElement[Any]:
    """The values as an array, which PostgreSQL sees only when it runs the statement.

    Otherwise it would make a plan for each array anew, because it assumes ten elements for an unknown one and takes a
    plan for fewer to be so much better.
    """
    return sql_cast(select(values.parameter(ARRAY(kind))).scalar_subquery(), ARRAY(kind))


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _ping_after_rest(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _proxy: object) -> None:
    """Pre-ping of a connection that has not been used for a moment.

    SQLAlchemy's own asks before every use: twice a request. A connection that breaks within the moment is noticed by
    the statement, and the unit of work repeated.
    """
    if time.monotonic() - record.info.get("returned", math.inf) < REST_SECONDS:
        return
    try:
        connection.execute("")
    except psycopg.Error as error:
        # The pool makes another one.
        raise DisconnectionError() from error


# How rows are written.

#: The shape of a part of a write: kind, table, columns that travel with each row, shared columns, document, and whether
#: one row is looked for, and the rule of a `put`.
_Shape = tuple[str, Table, tuple[str, ...], tuple[str, ...], str | None, bool, Rule | None]


def _shape(write: AnyWrite) -> _Shape:
    if isinstance(write, RuledPut):
        shared, names = write.columns.names()
        return "put", write.table, names, shared, None, False, write.rule
    is_single = write.kind in {"update", "delete"} and len(write.rows) == 1
    return write.kind, write.table, write.names, tuple(write.shared), write.document, is_single, None


def _parameters(write: AnyWrite, dialect: Dialect) -> Iterator[Any]:
    """The parameters of one part of the statement: the values that the rows share, and the rows as a JSON array."""
    if isinstance(write, RuledPut):
        yield from write.columns.once()
        rows = [dict(zip(write.columns.own, row, strict=True)) for row in write.columns.rows()]
        yield orjson.dumps(rows, default=orjson.Fragment).decode()
        yield from write.parameters
        return
    shared = _encoders(write.table, tuple(write.shared), dialect)
    yield from (shared[name](value) if name in shared else value for name, value in write.shared.items())
    yield orjson.dumps(_rows(write, dialect), default=str).decode()


def _rows(write: Write, dialect: Dialect) -> Sequence[Values]:
    names = columns_with_rows(write.kind, write.table, write.names)
    encoders = _encoders(write.table, names, dialect)
    rows = [{**row, **{name: encode(row[name]) for name, encode in encoders.items()}} for row in write.rows]
    if write.document is not None:
        for row, added in zip(rows, write.additions, strict=True):
            row[write.document] = added
    return rows


@lru_cache(maxsize=512)
def _encoders(table: Table, names: tuple[str, ...], dialect: Dialect) -> Mapping[str, Encode]:
    """The functions that make the driver's values; columns without one stay as they are."""
    return {name: encode for name in names if (encode := _encoder(table.c[name], dialect))}


def _encoder(column: Column[Any], dialect: Dialect) -> Encode | None:
    # A document is part of the JSON text of its row.
    return None if isinstance(column.type.dialect_impl(dialect), JSON) else encoder(column, dialect)


@lru_cache(maxsize=512)
def _statement(shapes: tuple[_Shape, ...]) -> str:
    *others, last = [_part(shape) for shape in shapes]
    steps = ", ".join(f"step_{index} AS ({part})" for index, part in enumerate(others))
    first, *following = (f"WITH {steps} {last}" if steps else last).split("?")
    return first + "".join(f"${number}{text}" for number, text in enumerate(following, start=1))


def _part(shape: _Shape) -> str:
    """A part of the statement. A question mark is a parameter."""
    kind, table, names, shared, document, is_single, rule = shape
    target, key = quoted(table.name), quoted(primary_key(table))
    if rule is not None:
        return _ruled_part(table, names, shared, rule)
    types = [f"{quoted(name)} {_type(table, name)}" for name in columns_with_rows(kind, table, names)]
    source = f"json_to_recordset(?::json) AS source({', '.join(types)})"
    if is_single:
        # PostgreSQL assumes a hundred rows, and would rather read all of a small table than look one up.
        source = f"(SELECT * FROM {source} LIMIT 1) AS source"
    if kind in {"insert", "put", "add"}:
        columns = ", ".join(map(quoted, (*shared, *names)))
        values = ", ".join([*(f"?::{_type(table, name)}" for name in shared), *map(quoted, names)])
        return f"INSERT INTO {target} ({columns}) SELECT {values} FROM {source}{on_conflict(kind, table, names)}"
    if kind == "update":
        assignments = ", ".join(f"{quoted(name)} = {_new_value(target, name, document)}" for name in names)
        return f"UPDATE {target} SET {assignments} FROM {source} WHERE {target}.{key} = source.{key}"
    return f"DELETE FROM {target} USING {source} WHERE {target}.{key} = source.{key}"


def _ruled_part(table: Table, names: tuple[str, ...], shared: tuple[str, ...], rule: Rule) -> str:
    extra = dict(rule.extra)
    types = {name: extra.get(name) or _type(table, name) for name in (*shared, *names)}
    columns = [*(f"?::{types[name]} AS {quoted(name)}" for name in shared), *map(quoted, names)]
    rows = f"json_to_recordset(?::json) AS row({', '.join(f'{quoted(name)} {types[name]}' for name in names)})"
    source = f"(SELECT {', '.join(columns)} FROM {rows}) AS source"
    return f"{rule.insert(table, (*shared, *names))} FROM {source}, {rule.beside}{rule.on_conflict(table)}"


def _type(table: Table, name: str) -> str:
    type_: str = table.c[name].type.compile(POSTGRESQL)
    return type_


def _new_value(target: str, name: str, document: str | None) -> str:
    value = f"source.{quoted(name)}"
    return f"{target}.{quoted(name)} || {value}" if name == document else value
