"""Connections to PostgreSQL: those that broke are replaced, statements stay prepared, and fail as what they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, literal_column, select, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from app.core.database import database_of, messages, postgresql
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.database.transactions import SNAPSHOT, WRITES, snapshot
from app.core.host.migrations import locked_connection
from app.core.ledger.unit import is_outside_unit
from app.models import FormFill
from app.testing import push
from tests.conftest import SignIn, World
from tests.support.answers import json_of

pytestmark = pytest.mark.database("postgresql")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "FIELDPOST_DATABASE_SECONDS": "1"}


@pytest.fixture
def device(world: World, sign_in: SignIn) -> FlaskClient:
    return sign_in(world.user())


@pytest.fixture
def address(app: Flask) -> str:
    """The database's, for a connection of the test's own."""
    with app.app_context():
        return db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def break_connections(address: str, which: str = "pid <> pg_backend_pid()") -> int:
    """End connections of the application, all unless said otherwise, as a restart of the database does; how many."""
    with psycopg.connect(address, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = current_database() AND {which}"
        )
        return ended.rowcount


@pytest.mark.parametrize("rest", [0.0, 3600.0])
def test_a_connection_that_broke_is_replaced_however_long_it_rested(
    address: str, device: FlaskClient, monkeypatch: pytest.MonkeyPatch, rest: float
) -> None:
    monkeypatch.setattr(postgresql, "REST_SECONDS", rest)
    push(device)
    break_connections(address)

    answer = device.post("/api/v1/sync", json={"sync_items": []})

    assert answer.status_code == 200


def test_a_batch_leaves_its_statements_prepared(app: Flask, device: FlaskClient) -> None:
    for _ in range(8):
        push(device)

    with app.app_context(), db.engine.connect() as connection:
        prepared = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()

    assert any("user_syncs" in each for each in prepared)
    assert any("sign_ins" in each for each in prepared)


@pytest.mark.parametrize(
    "path", ["sync/changes", "inspections", "inspections/{id}/offline_data", "inspections/0/offline_data"]
)
def test_reading_leaves_them_prepared(app: Flask, world: World, sign_in: SignIn, path: str) -> None:
    """At the end of a transaction that was rolled back psycopg would forget them all."""
    tech = world.user()
    device, root = sign_in(tech), world.inspection(tech)
    for _ in range(8):
        push(device)
    device.get(f"/api/v1/{path.format(id=root.id)}")

    with app.app_context(), db.engine.connect() as connection:
        prepared = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
        states = connection.exec_driver_sql("SELECT state FROM pg_stat_activity WHERE datname = current_database()")
        assert "idle in transaction" not in states.scalars().all()

    assert any("user_syncs" in each for each in prepared)


@pytest.mark.parametrize("count", [1, 3])
def test_the_plans_of_a_batch_are_kept(app: Flask, world: World, sign_in: SignIn, count: int) -> None:
    """PostgreSQL tries five; then it goes on making new ones wherever it takes its own guess to be worse."""
    tech = world.user()
    device, root = sign_in(tech), world.inspection(tech)
    form_fills = [world.form_fill(root, data={}) for _ in range(count)]
    for number in range(30):
        push(device, *[edit(each, f"{number}-{each.id}") for each in form_fills])
    with app.app_context(), db.engine.connect() as connection:
        plans = "SELECT statement, custom_plans FROM pg_prepared_statements WHERE generic_plans + custom_plans > 20"
        found = {row.statement: row.custom_plans for row in connection.execute(text(plans))}
    assert len(found) >= 6
    assert [statement for statement, custom in found.items() if custom > 5] == []


@pytest.mark.parametrize("table", ["inspections", "form_fills"])
def test_a_lock_that_somebody_keeps_is_told_as_such_and_nothing_is_recorded(
    world: World, sign_in: SignIn, address: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = world.user()
    form_fill, device = world.form_fill(world.inspection(user)), sign_in(user)
    with psycopg.connect(address) as holder:
        holder.execute(f"SELECT 1 FROM {table} FOR UPDATE")
        answer = device.post("/api/v1/sync", json={"sync_items": [edit(form_fill)]})

    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    # Once: each further attempt would wait as long again.
    reasons = [record.reason for record in caplog.records if hasattr(record, "reason")]
    assert reasons == ["canceling statement due to lock timeout"]
    assert push(device, edit(form_fill))["success"][0].get("replayed") is None


def test_a_batch_whose_connection_breaks_while_it_waits_for_a_lock_is_applied_on_another(
    world: World, sign_in: SignIn, address: str
) -> None:
    user = world.user()
    form_fill, device = world.form_fill(world.inspection(user)), sign_in(user)
    holder = psycopg.connect(address)
    holder.execute("SELECT 1 FROM form_fills FOR UPDATE")

    def cut() -> None:
        while not break_connections(address, "wait_event_type = 'Lock'"):
            time.sleep(0.02)
        holder.close()

    thread = threading.Thread(target=cut)
    thread.start()
    results = push(device, edit(form_fill))
    thread.join()

    assert [each["local_id"] for each in results["success"]] == ["e1"]
    assert world.get(FormFill, form_fill.id).data == {"a": "e1"}


#: Ways to send the first statement of a transaction, by what SQLAlchemy or the driver make of it.
FIRST_STATEMENTS: dict[str, Callable[[Connection], Any]] = {
    "with parameters": lambda connection: connection.execute(text("INSERT INTO notes VALUES (:id)"), {"id": 1}),
    "without": lambda connection: connection.execute(text("INSERT INTO notes VALUES (1)")),
    "of the driver": lambda connection: connection.exec_driver_sql("INSERT INTO notes VALUES (%s)", (1,)),
    "several in one text": lambda connection: connection.exec_driver_sql(
        "INSERT INTO notes VALUES (1); INSERT INTO notes VALUES (2)"
    ),
    "no parameters by option": lambda connection: connection.exec_driver_sql(
        "INSERT INTO notes VALUES (1)", execution_options={"no_parameters": True}
    ),
    "for many rows": lambda connection: connection.execute(
        text("INSERT INTO notes VALUES (:id)"), [{"id": 1}, {"id": 2}]
    ),
    "a savepoint": lambda connection: _in_savepoint(connection, "INSERT INTO notes VALUES (1)"),
    "a query in pieces": lambda connection: _insert_after_pieces(connection, "INSERT INTO notes VALUES (1)"),
}


def _in_savepoint(connection: Connection, statement: str) -> None:
    with connection.begin_nested():
        connection.execute(text(statement))


def _insert_after_pieces(connection: Connection, statement: str) -> None:
    connection.execute(text("SELECT CAST(:id AS int)"), {"id": 1}, execution_options={"yield_per": 1}).all()
    connection.execute(text(statement))


@pytest.fixture
def connection(app: Flask) -> Iterator[Connection]:
    """A connection of the application's that may write, with a table of numbers beside its own."""
    with app.app_context(), db.engine.connect().execution_options(**{WRITES: True}) as found:
        found.execute(text("CREATE TABLE notes (id bigint)"))
        found.commit()
        yield found


@pytest.mark.parametrize("first", FIRST_STATEMENTS)
@pytest.mark.parametrize("times", [1, 8])
def test_whatever_comes_first_in_a_transaction_is_taken_back_with_it(
    connection: Connection, first: str, times: int
) -> None:
    for _ in range(times):  # the driver prepares what it has sent some times
        FIRST_STATEMENTS[first](connection)
        assert connection.execute(text("SELECT count(*) FROM notes")).scalar_one()
        connection.rollback()
        assert connection.execute(text("SELECT count(*) FROM notes WHERE id > :id"), {"id": 0}).scalar_one() == 0
        connection.commit()


@pytest.mark.parametrize("first", FIRST_STATEMENTS)
@pytest.mark.parametrize("options", [{}, {SNAPSHOT: True}], ids=["no transaction", "a snapshot"])
def test_a_connection_that_was_not_opened_for_writing_writes_nothing(
    app: Flask, connection: Connection, first: str, options: dict[str, bool]
) -> None:
    connection.commit()
    with app.app_context(), db.engine.connect().execution_options(**options) as reader:
        with pytest.raises(DBAPIError) as error:
            FIRST_STATEMENTS[first](reader)
        reader.rollback()
        assert is_outside_unit(error.value)
        assert reader.execute(text("SELECT count(*) FROM notes")).scalar_one() == 0


def test_queries_of_a_snapshot_all_see_the_same_state(app: Flask, connection: Connection) -> None:
    with app.app_context():
        with snapshot(db.session()):
            assert db.session.scalar(text("SELECT count(*) FROM notes WHERE id > :id"), {"id": 0}) == 0
            connection.execute(text("INSERT INTO notes VALUES (1)"))
            connection.commit()
            assert db.session.scalar(text("SELECT count(*) FROM notes WHERE id > :id"), {"id": 0}) == 0
        assert db.session.scalar(text("SELECT count(*) FROM notes WHERE id > :id"), {"id": 0}) == 1


def test_a_connection_on_which_somebody_migrated_only_reads_again(app: Flask) -> None:
    with app.app_context():
        with locked_connection() as connection:
            number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            connection.execute(text("CREATE TABLE notes (id bigint)"))
        with pytest.raises(DBAPIError) as error:
            db.session.execute(text("INSERT INTO notes VALUES (1)"))
        assert is_outside_unit(error.value)
        db.session.rollback()
        assert db.session.scalar(text("SELECT pg_backend_pid()")) == number


def _break_in_a_snapshot(address: str) -> None:
    with snapshot(db.session()):
        db.session.scalar(text("SELECT 1"))
        break_connections(address)
        db.session.scalar(text("SELECT 1"))


def test_a_snapshot_whose_connection_breaks_tells_that_and_the_session_goes_on(app: Flask, address: str) -> None:
    with app.app_context():
        with pytest.raises(OperationalError):
            _break_in_a_snapshot(address)
        db.session.remove()
        assert db.session.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize("slow", [1, 2, None])
def test_of_statements_sent_together_the_first_ones_error_is_told(
    app: Flask, monkeypatch: pytest.MonkeyPatch, slow: int | None
) -> None:
    reads = [Read(statement=select(literal_column(each)), parameters={}) for each in ("1 / 0", "1", "7")]
    send = messages.send_read

    def send_late(*arguments: Any) -> Any:
        # PostgreSQL has told the error by then.
        if slow is not None and arguments[-1] is reads[slow]:
            time.sleep(0.1)
        return send(*arguments)

    monkeypatch.setattr(messages, "send_read", send_late)
    with app.app_context():
        for _ in range(20 if slow is None else 1):
            with pytest.raises(DataError, match="division by zero"):
                database_of(db.session()).read(db.session.connection(), reads)
            db.session.rollback()
        assert db.session.scalar(select(literal_column("1"))) == 1


@pytest.mark.parametrize("uses", range(4, 6))
def test_a_statement_behind_one_that_failed_is_not_taken_for_prepared(app: Flask, uses: int) -> None:
    """The driver prepares a statement at its sixth use, and would count one that the server has skipped."""
    text = f"8 + {uses}"
    reads = [Read(statement=select(literal_column(each)), parameters={}) for each in ("1 / 0", text)]
    with app.app_context():
        for _ in range(uses):
            assert db.session.scalar(select(literal_column(text))) == 8 + uses
        for _ in range(2):
            with pytest.raises(DataError, match="division by zero"):
                database_of(db.session()).read(db.session.connection(), reads)
        assert db.session.scalar(select(literal_column(text))) == 8 + uses


def edit(form_fill: FormFill, local_id: str = "e1") -> dict[str, Any]:
    """An item that sets a field."""
    return {"type": "form_fill", "local_id": local_id, "data": {"id": form_fill.id, "changes": {"a": local_id}}}
