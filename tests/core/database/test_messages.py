"""What travels to PostgreSQL in one message: it leaves in one piece, whatever its size, and fails as a whole."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg.waiting import Wait
from sqlalchemy import Text, bindparam, func, literal, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.database.rows import table_of
from app.core.database.transactions import writing
from app.core.database.write import Write
from app.models import User
from app.testing import PASSWORD
from tests.conftest import World
from tests.support.answers import json_of

TEXT = select(func.concat(bindparam("text", type_=Text), literal("!")))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """For what psycopg has waited: that something can be received, or that something can be sent."""
    found: list[Any] = []

    def watched(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        answer = None
        while True:
            try:
                wanted = steps.send(answer)
            except StopIteration as end:
                return end.value
            found.append(wanted)
            answer = yield wanted

    original = psycopg.Connection.wait
    monkeypatch.setattr(psycopg.Connection, "wait", lambda self, steps, *rest: original(self, watched(steps), *rest))
    return found


@pytest.mark.database("postgresql")
def test_statements_of_one_message_leave_without_a_wait_in_between(app: Flask, waits: list[Any]) -> None:
    reads = [Read(statement=TEXT, parameters={"text": str(number)}) for number in range(5)]
    with app.app_context():
        for _ in range(8):
            waits.clear()
            with writing(db.engine) as connection:
                database_of(connection).read(connection, reads)
                assert waits
                assert not any(wanted & Wait.W for wanted in waits)
    assert [read.rows[0][0] for read in reads] == ["0!", "1!", "2!", "3!", "4!"]


@pytest.mark.database("postgresql")
def test_a_message_may_be_larger_than_what_the_kernel_takes_at_once(app: Flask) -> None:
    reads = [Read(statement=TEXT, parameters={"text": letter * 4_000_000}) for letter in "abc"]
    with app.app_context(), db.engine.connect() as connection:
        database_of(connection).read(connection, reads)
    assert [len(read.rows[0][0]) for read in reads] == [4_000_001] * 3


@pytest.mark.database("postgresql")
def test_after_a_message_that_has_failed_the_connection_serves_the_next_one(app: Flask) -> None:
    wrong = Read(statement=select(1 / (literal(1) - bindparam("one"))), parameters={"one": 1})
    right = [Read(statement=TEXT, parameters={"text": "a"}) for _ in range(2)]
    with app.app_context():
        for _ in range(8):
            with pytest.raises(DBAPIError, match="division by zero"), writing(db.engine) as connection:
                database_of(connection).read(connection, [right[0], wrong, right[1]])
            with writing(db.engine) as connection:
                database_of(connection).read(connection, right)
            assert right[1].rows[0][0] == "a!"


def put(*rows: dict[str, Any]) -> Write:
    return Write(kind="update", table=table_of(User), names=("name", "email"), rows=list(rows))


def test_what_is_written_with_its_commit_is_there_or_nothing_of_it(app: Flask, world: World) -> None:
    one, other = world.user("one@example.com"), world.user("other@example.com")
    first = put({"id": one.id, "name": "First", "email": "one@example.com"})
    with app.app_context():
        with writing(db.engine) as connection:
            database_of(connection).write_and_commit(connection, [first])
        assert db.session.scalar(select(User.name).where(User.id == one.id)) == "First"
        db.session.remove()
        twice = put(
            {"id": one.id, "name": "Second", "email": "one@example.com"},
            {"id": other.id, "name": "Second", "email": "one@example.com"},
        )
        with pytest.raises(IntegrityError), writing(db.engine) as connection:
            database_of(connection).write_and_commit(connection, [twice])
        assert db.session.scalar(select(User.name).where(User.id == one.id)) == "First"


@pytest.mark.database("postgresql")
def test_the_commit_of_a_refresh_has_no_message_of_its_own(
    client: FlaskClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.user()
    token = json_of(client.post("/api/v1/auth/login", json={"email": user.email, "password": PASSWORD}))
    monkeypatch.setattr(psycopg.Connection, "_exec_command", None)
    answer = client.post("/api/v1/auth/refresh", headers={"Authorization": f"Bearer {token['refresh_token']}"})
    assert answer.status_code == 200
    monkeypatch.undo()
    me = client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {json_of(answer)['access_token']}"})
    assert me.status_code == 200
