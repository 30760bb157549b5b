"""Units of work whose COMMIT breaks: the ledger is asked whether it came through, as often as it takes."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text, update
from sqlalchemy.exc import InternalError, OperationalError

from app.core.database.engine import db
from app.core.database.transactions import OutsideUnitError, snapshot, writing
from app.core.ledger.unit import unit_of_work
from app.models import Inspection, User
from tests.conftest import World
from tests.exactly_once.faults import Fuse, at_each_statement, break_connection, commit
from tests.support.answers import json_of
from tests.support.cases import cases


def test_a_session_writes_nothing_outside_a_unit(app: Flask, world: World) -> None:
    user = world.user()
    with app.app_context():
        db.session.get_one(User, user.id).name = "Theodora"
        with pytest.raises(OutsideUnitError, match="write User outside a unit of work"):
            db.session.commit()
        db.session.remove()
    assert world.get(User, user.id).name == user.name


@pytest.mark.parametrize("beginning", ["", "WITH nobody AS (SELECT 1) "])
def test_the_database_itself_refuses_statements_that_write_outside_a_unit(
    app: Flask, world: World, beginning: str
) -> None:
    user = world.user()
    with app.app_context():
        # The connection has been used for writing.
        unit_of_work(lambda _unit_id: None)
        for reading in (nullcontext(), snapshot(db.session())):
            with reading, pytest.raises((InternalError, OutsideUnitError), match=r"read-only transaction|only reads"):
                db.session.execute(text(f"{beginning}UPDATE users SET name = 'Theodora'"))
            db.session.remove()
    assert world.get(User, user.id).name == user.name


#: Statements that SQLite alone has, or takes in such a form.
WRITING = [
    "; UPDATE users SET name = 'Theodora'",
    "/* a query; no */ ; UPDATE users SET name = 'Theodora'",
    "WITH it AS (SELECT 1) REPLACE INTO users SELECT * FROM users",
    "PRAGMA user_version = 5",
    "PRAGMA user_version(5)",
    "ATTACH ':memory:' AS another",
    "CREATE TEMP TABLE another (id)",
    "REINDEX",
]


@pytest.mark.database("sqlite")
@cases("statement", WRITING)
def test_sqlite_takes_nothing_that_writes_outside_a_unit_in_whichever_form(app: Flask, statement: str) -> None:
    with app.app_context(), pytest.raises(OutsideUnitError):
        db.session.execute(text(statement))


@pytest.mark.database("sqlite")
@cases("statement", ["UPDAT users", "WITH x AS SELECT 1", "UPDATE nothing SET a = 1"])
def test_a_statement_that_sqlite_cannot_read_is_refused_by_sqlite(app: Flask, statement: str) -> None:
    with app.app_context(), pytest.raises(OperationalError):
        db.session.execute(text(statement))


@cases("statement", ["WITH x AS (SELECT 1) SELECT * FROM x", "/* why */ SELECT 1"])
def test_a_query_outside_a_unit_may_begin_with_anything(app: Flask, statement: str) -> None:
    with app.app_context():
        assert db.session.scalar(text(statement)) == 1


def test_a_unit_decides_on_rows_as_they_are_and_not_as_the_request_has_read_them(app: Flask, world: World) -> None:
    user = world.user()
    with app.app_context():
        read = db.session.get_one(User, user.id)
        with writing(db.engine) as connection:
            connection.execute(update(User).values(name="Theodora"))
        assert read.name == user.name
        assert unit_of_work(lambda _unit_id: db.session.get_one(User, user.id).name) == "Theodora"


@pytest.mark.parametrize(("came_through", "breaks_after"), [(True, 0), (True, 1), (True, 2), (False, 0), (False, 1)])
def test_an_inspection_is_created_once_though_its_commit_breaks_and_the_next_questions_too(
    app: Flask,
    world: World,
    office: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    came_through: bool,
    breaks_after: int,
) -> None:
    template = world.template()
    commits, questions = Fuse(), breaks_after

    def act(connection: object) -> None:
        nonlocal questions
        if commits.has_blown and questions:
            questions -= 1
            break_connection(connection)

    with ExitStack() as stack:
        stack.enter_context(commit(break_connection, comes_through=came_through)(app, commits, monkeypatch))
        stack.enter_context(at_each_statement(app, act))
        commits.set(1, for_good=False)
        commits.is_armed = True
        body = {"date": "2024-03-15", "form_template_ids": [template.id]}
        answer = office.post("/api/v1/inspections", json=body)
        commits.is_armed = False
    assert answer.status_code == 201, answer.json
    (inspection,) = world.all(Inspection)
    assert inspection.id == json_of(answer)["data"]["inspection"]["id"]


def test_a_commit_that_breaks_each_time_is_given_up_and_nothing_is_there(
    app: Flask, world: World, office: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tech = world.user()
    fuse = Fuse()
    with commit(break_connection)(app, fuse, monkeypatch):
        fuse.set(1, for_good=True)
        fuse.is_armed = True
        answer = office.patch(f"/api/v1/users/{tech.id}", json={"name": "Theodora"})
        fuse.is_armed = False
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    assert world.get(User, tech.id).name != "Theodora"
