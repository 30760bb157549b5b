"""SQLite: one file, one writer, and the database in the process, so that a statement costs no message."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import orjson
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    LargeBinary,
    Select,
    SelectBase,
    Subquery,
    Table,
    and_,
    event,
    func,
    inspect,
    literal,
    select,
    text,
)
from sqlalchemy import cast as cast_column
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.orm import Session

from app.core.database.protocol import MigrationError
from app.core.database.read import Read, Reads, compiled, decoded, decoders_of
from app.core.database.session import is_restricted, refuse_statement
from app.core.database.sqlite_file import FILE, SQLiteFile, require_sound
from app.core.database.transactions import WRITES, OutsideUnitError
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
from app.core.private_files import create_before_sqlite

#: Pause in seconds before a writer asks again whether it is its turn. SQLite's own waiting doubles its pauses up to
#: 0.1 s, in which nobody may be writing, and those who waited longest ask least.
TURN_SECONDS = 0.001
#: The same for a writer that has just come: those that have waited for some time ask more often, and mostly come first.
NEWCOMER_SECONDS = 0.003

#: The beginning of a statement that writes nothing. SQLite itself is asked about all others, `WITH` among them.
HARMLESS = re.compile(r"\s*(SELECT|VALUES|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|EXPLAIN)\b", re.IGNORECASE)

LAST_IDS = text("SELECT name, seq FROM sqlite_sequence")

COUNTED_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"


class SQLite:
    """SQLite, as the methods of `app.core.database.protocol.Database`."""

    name = "sqlite"

    def options(self, seconds: int) -> dict[str, Any]:
        """The driver gets a time to wait, and nothing else."""
        return {"connect_args": {"timeout": seconds}}

    def prepare(self, engine: Engine) -> None:
        """Durable, with foreign keys; transactions begin as `app.core.database.transactions` says."""
        file = SQLiteFile(engine)
        event.listen(engine, "do_connect", _create)
        event.listen(engine, "connect", _open)
        event.listen(engine, "connect", file.note_opened)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "before_cursor_execute", _refuse_writing)
        event.listen(engine, "do_execute", send_reads)

    def require_sound(self, engine: Engine) -> None:
        """A short look at the file's pages."""
        require_sound(engine)

    def check(self, connection: Connection) -> None:
        """The file is still the one that was opened, and no statement has met damage in it."""
        file = _file_of(connection)
        file.check()
        file.check_damage(_driver_of(connection))

    def directory(self, engine: Engine) -> Path | None:
        """The file's directory."""
        return Path(engine.url.database or "").parent

    def files(self, engine: Engine) -> Sequence[Path]:
        """The database, its log, the log's index, and the journal of another journal mode."""
        return [Path(f"{engine.url.database}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        """References are off while tables are built anew; they are checked at the end."""
        with _without_references(connection), connection.execution_options(**{WRITES: True}).begin():
            with _keeping_ids(connection):
                yield
            _check_references(connection)

    def read(self, connection: Connection, reads: Sequence[Read]) -> None:
        """As one statement of SQLAlchemy's, which translates their errors."""
        connection.exec_driver_sql(compiled(reads[-1].statement, connection.dialect).text, Reads(reads))

    def write(self, connection: Connection, writes: Sequence[AnyWrite]) -> None:
        """One prepared statement a table, which runs for each row."""
        for write in writes:
            if isinstance(write, RuledPut):
                ruled = _ruled_statement(write.table, *write.columns.names(), write.rule)
                connection.exec_driver_sql(ruled, _ruled(write))
                continue
            statement = _statement(write.kind, write.table, write.names, tuple(write.shared))
            connection.exec_driver_sql(statement, _tuples(write, connection.dialect))

    def reserve(
        self, session: Session, counts: Mapping[str, int], taken: Mapping[str, int]
    ) -> Mapping[str, Sequence[int]]:
        """Inside BEGIN IMMEDIATE nobody else can take the ids, and inserting them moves the sequence on."""
        last: dict[str, int] = dict(session.execute(LAST_IDS).all())
        firsts = {table: max(last.get(table, 0), taken.get(table, 0)) + 1 for table in counts}
        return {table: range(first, first + counts[table]) for table, first in firsts.items()}

    def among(self, column: ColumnLike, values: ValueSet) -> ColumnElement[bool]:
        """The values of several as a JSON array."""
        if values.is_single:
            return column == values.parameter(column.type)
        return column.in_(self.select_values(column, values))

    def among_selected(self, column: ColumnLike, query: SelectBase) -> ColumnElement[bool]:
        """SQLite searches its index for each of the conditions that OR joins."""
        return column.in_(query)

    def select_values(self, column: ColumnLike, values: ValueSet) -> Select[Any]:
        """The values of several as a JSON array."""
        if values.is_single:
            return select(values.parameter(column.type))
        return select(func.json_each(values.parameter()).table_valued("value").c.value)

    def parameter_of(self, values: Collection[Any]) -> Any:
        """A single value, or a JSON array."""
        return next(iter(values)) if len(values) == 1 else orjson.dumps(list(values)).decode()

    def look_up(self, statement: Select[Any], column: ColumnLike, values: ValueSet) -> Select[Any]:
        """SQLite uses the index by itself."""
        return statement.where(self.among(column, values))

    def join_each(
        self, outer: Subquery, model: Any, query: Select[Any], columns: Sequence[ColumnElement[Any]]
    ) -> tuple[FromClause, Any]:
        """SQLite has no LATERAL: the rows are looked up once more by the ids that the query selects."""
        return outer.join(model, model.id.in_(query.correlate(outer))), model

    def after(self, transaction: ColumnLike, key: ColumnLike, place: tuple[int, int]) -> ColumnElement[bool]:
        """There is one writer: every transaction id is 0, and ids are the order."""
        return and_(transaction == 0, key > place[1])

    def byte_length(self, column: ColumnLike) -> ColumnElement[int]:
        """The length of a text is that of its characters, and that of a BLOB its bytes."""
        return func.length(cast_column(column, LargeBinary))

    def contains(self, column: ColumnLike, part: str) -> ColumnElement[bool]:
        """LIKE ignores the case of A to Z."""
        return column.contains(part, autoescape=True)

    def array_length(self, column: ColumnLike) -> ColumnElement[int]:
        """JSON is text here, which SQLite reads for it."""
        return func.json_array_length(column)

    def horizon(self, session: Session) -> int | None:
        """There is one writer: everything that can be seen is decided."""
        return None

    def horizon_column(self) -> ColumnElement[int] | None:
        """As `horizon`."""
        return None

    def cluster_column(self) -> ColumnElement[str]:
        """As `cluster`."""
        return literal("")

    def snapshot_text(self, session: Session) -> str | None:
        """There is one writer: a snapshot shows all up to the newest row."""
        return None

    def undecided_seconds(self, session: Session) -> float:
        """Nothing holds the feed back."""
        return 0.0

    def cluster(self, session: Session) -> str:
        """There are no transaction ids."""
        return ""

    def last_ids(self, connection: Connection, tables: Sequence[str]) -> Mapping[str, int]:
        """SQLite keeps them in a table of its own."""
        last = {row.name: row.seq for row in connection.execute(LAST_IDS)}
        return {name: last[name] for name in tables if name in last}

    def go_on_after(self, connection: Connection, ids: Mapping[str, int]) -> None:
        """A table that has given no id yet has no row there."""
        for name, last in ids.items():
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
            statement = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
            connection.execute(statement, {"name": name, "last": last})

    def read_json_text(self, document: bytes) -> Any:
        """The text is what we have written."""
        return orjson.loads(document)


def _create(_dialect: Dialect, _record: object, arguments: Sequence[str], _parameters: object) -> None:
    create_before_sqlite(Path(arguments[0]))


def _open(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would open a transaction only before the first write, so that two read-modify-writes
    # lose one of them without an error (trap 1). We send BEGIN ourselves.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that began with a read cannot be upgraded once another has committed (trap 25).
    if WRITES not in connection.get_execution_options():
        connection.exec_driver_sql("BEGIN")
        return
    raw, file = _driver_of(connection), _file_of(connection)
    file.check()
    file.require_undamaged(raw)
    (patience,) = raw.execute("PRAGMA busy_timeout").fetchone()
    try:
        file.bound_log(raw)
        raw.execute("PRAGMA busy_timeout = 0")
        _wait_for_turn(raw, patience / 1000)
        if not raw.in_transaction:
            # An obstacle is raised as SQLAlchemy's own error.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}")


def send_reads(cursor: sqlite3.Cursor, _statement: str, parameters: object, context: ExecutionContext) -> bool:
    """For the engine: run reads one after the other, if the statement stands for some."""
    if not isinstance(parameters, Reads):
        return False
    for query in parameters.reads:
        statement = compiled(query.statement, context.dialect)
        rows = cursor.connection.execute(statement.text, statement.values(query.parameters)).fetchall()
        query.rows = decoded(rows, decoders_of(query.statement, context.dialect))
    return True


def _refuse_writing(
    connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, is_many: bool
) -> None:
    """Refuse to write outside a unit of work, and while a plugin's code has the session.

    `PRAGMA query_only` would do it, too, but whoever sets it lets SQLite compile all its statements anew.
    """
    is_unit = WRITES in connection.get_execution_options()
    if (is_unit and not is_restricted()) or HARMLESS.match(statement):
        return
    if not _writes(_driver_of(connection), statement, parameters[0] if is_many else parameters):
        return
    if is_restricted():
        refuse_statement(statement)
    raise OutsideUnitError("A session was to write outside a unit of work, where it only reads.")


def _writes(raw: sqlite3.Connection, statement: str, parameters: Any) -> bool:
    """Whether the program that SQLite makes of a statement begins a transaction that writes, or attaches a file."""
    try:
        program = raw.execute(f"EXPLAIN {statement}", parameters).fetchall()
    except sqlite3.Error as error:
        return not _is_faulty(statement, error)
    return any(
        (operation == "Transaction" and writes) or str(operand).startswith("sqlite_attach")
        for _, operation, _, writes, _, operand, *_ in program
    )


def _is_faulty(statement: str, error: sqlite3.Error) -> bool:
    """Whether SQLite refuses the statement, too, and not only the question about it."""
    # A semicolon may stand before the statement, and "busy" may no longer be true when it is sent.
    return ";" not in statement and getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR


def _wait_for_turn(raw: sqlite3.Connection, seconds: float) -> None:
    """Become the one writer, or give up after some seconds, or when something else is in the way."""
    start = time.monotonic()
    while True:
        try:
            raw.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - start
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or waited > seconds:
                return
        time.sleep(max(TURN_SECONDS, NEWCOMER_SECONDS - waited / 10))


def _driver_of(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def _file_of(connection: Connection) -> SQLiteFile:
    return cast("SQLiteFile", connection.info[FILE])


@contextmanager
def _without_references(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by dropping it for a new one, which would delete all rows that refer to it."""
    raw = _driver_of(connection)
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _keeping_ids(connection: Connection) -> Iterator[None]:
    """A table that SQLite has built anew must go on where the old one stopped giving ids (trap 26)."""
    counted = set(connection.exec_driver_sql(COUNTED_TABLES).scalars())
    last = connection.exec_driver_sql("SELECT seq, name FROM sqlite_sequence").all() if counted else []
    yield
    present = set(connection.exec_driver_sql(COUNTED_TABLES).scalars())
    lost = counted & set(inspect(connection).get_table_names()) - present
    if lost:
        raise MigrationError(
            f"After the migrations, ids of {', '.join(sorted(lost))} would be given twice. Say "
            'table_kwargs={"sqlite_autoincrement": True} to batch_alter_table.'
        )
    for row in last:
        connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", tuple(row))


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({str(row[0]) for row in broken}))
        raise MigrationError(f"After the migrations, {len(broken)} rows point to nothing, in {tables}.")


@lru_cache(maxsize=512)
def _statement(kind: str, table: Table, names: tuple[str, ...], shared: tuple[str, ...]) -> str:
    target, key = quoted(table.name), quoted(primary_key(table))
    if kind in {"insert", "put", "add"}:
        columns = (*names, *shared)
        values = f"VALUES ({', '.join('?' * len(columns))})"
        return f"INSERT INTO {target} ({', '.join(map(quoted, columns))}) {values}{on_conflict(kind, table, names)}"
    if kind == "update":
        return f"UPDATE {target} SET {', '.join(f'{quoted(name)} = ?' for name in names)} WHERE {key} = ?"
    return f"DELETE FROM {target} WHERE {key} = ?"


@lru_cache(maxsize=512)
def _ruled_statement(table: Table, shared: tuple[str, ...], names: tuple[str, ...], rule: Rule) -> str:
    """One statement for all rows, which travel as a JSON array of arrays, so that the row beside them is looked up
    once. Names would be searched for in each row.
    """
    parts = [
        *(f"? AS {quoted(name)}" for name in shared),
        *(f"json_extract(value, '$[{place}]') AS {quoted(name)}" for place, name in enumerate(names)),
    ]
    # Without LIMIT, SQLite would write out the text of the whole row anew for each column.
    source = f"(SELECT {', '.join(parts)} FROM (SELECT value FROM json_each(?) LIMIT -1)) AS source"
    begin, end = rule.insert(table, (*shared, *names)), rule.on_conflict(table)
    return f"{begin} FROM {source}, {rule.beside} WHERE true{end}"


def _ruled(put: RuledPut) -> tuple[Any, ...]:
    """The parameters of `_ruled_statement`."""
    # SQLite passes texts on, and would read and write the JSON within them twice.
    rows = orjson.dumps(put.columns.rows(), default=bytes.decode).decode()
    return *put.columns.once(), rows, *put.parameters


def _tuples(write: Write, dialect: Dialect) -> list[tuple[Any, ...]]:
    """The rows as the statement takes them."""
    names = columns_with_rows(write.kind, write.table, write.names)
    columns, shared = _encoders(write.table, names, dialect), _shared(write, dialect)
    return [(*[encode(row[name]) if encode else row[name] for name, encode in columns], *shared) for row in write.rows]


def _shared(write: Write, dialect: Dialect) -> list[Any]:
    """The values that all rows have in common."""
    encoders = _encoders(write.table, tuple(write.shared), dialect)
    return [encode(write.shared[name]) if encode else write.shared[name] for name, encode in encoders]


@lru_cache(maxsize=512)
def _encoders(table: Table, names: tuple[str, ...], dialect: Dialect) -> Sequence[tuple[str, Encode | None]]:
    return [(name, _encoder(table.c[name], dialect)) for name in names]


def _encoder(column: Column[Any], dialect: Dialect) -> Encode | None:
    is_json = isinstance(column.type.dialect_impl(dialect), JSON)
    return _document_text if is_json else encoder(column, dialect)


def _document_text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
