"""Unexpected errors as answers: unavailability is 503 and may be tried again, anything else is 500."""

from __future__ import annotations

import errno

import pytest
from flask import Flask
from sqlalchemy import create_engine, text
from werkzeug.exceptions import NotFound, TooManyRequests

from app import create_app
from app.accounts.throttle import TooManyTriesError
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.errors import ForbiddenError, InvalidError, NotFoundError, StorageError, TryAgainError
from app.http.body import CutOffError, SlowBodyError
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "FIELDPOST_DATABASE_SECONDS": "1"}


@pytest.mark.database("postgresql")
def test_reading_a_table_that_a_migration_holds_is_503(app: Flask, world: World, sign_in: SignIn) -> None:
    device = sign_in(world.user())
    with app.app_context():
        other = create_engine(db.engine.url)
    with other.begin() as connection:
        connection.execute(text("LOCK TABLE inspections"))
        answer = device.get("/api/v1/inspections/1")
    other.dispose()
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    assert answer.headers["Retry-After"]


#: Disk full, out of memory, too many connections, a disk that fails; and a server that has become a replica. Only units
#: write, so that the last error outside a unit is a bug.
@pytest.mark.database("postgresql")
@pytest.mark.parametrize(
    ("state", "status"), [("53100", 503), ("53200", 503), ("53300", 503), ("58030", 503), ("25006", 500)]
)
def test_a_database_without_room_is_503(app: Flask, state: str, status: int) -> None:
    statement = text(f"DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '{state}'; END $$")
    app.view_functions["health.healthz"] = lambda: db.session.execute(statement)  # type: ignore[assignment]
    assert app.test_client().get("/healthz").status_code == status
    with app.app_context(), pytest.raises(TryAgainError):
        unit_of_work(lambda _: db.session.execute(statement))


@pytest.mark.database("postgresql")
def test_a_database_that_is_not_there_is_503(environment: dict[str, str]) -> None:
    app = create_app({**environment, "DATABASE_URL": "postgresql://joe:sesame@127.0.0.1:1/none"})
    body = {"email": "ada@example.com", "password": "long enough"}
    answer = app.test_client().post("/api/v1/auth/login", json=body)
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")


@pytest.mark.database("sqlite")
@cases(
    ("error", "status", "retryable"),
    [
        (TryAgainError(), 503, True),
        (StorageError("full"), 503, True),
        (OSError(errno.ENOSPC, "No space left on device"), 503, True),
        (OSError(errno.ENOENT, "No such file or directory"), 500, True),
        (RuntimeError("a bug"), 500, True),
        (SlowBodyError(), 408, True),
        (CutOffError(), 400, True),
        (TooManyTriesError(), 429, True),
        (TooManyRequests(), 429, True),
        (NotFoundError(), 404, None),
        (NotFound(), 404, None),
        (InvalidError(), 400, None),
        (ForbiddenError(), 403, None),
    ],
)
def test_an_error_says_where_waiting_can_help(
    app: Flask, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, retryable: bool | None
) -> None:
    def view() -> None:
        raise error

    monkeypatch.setitem(app.view_functions, "health.healthz", view)
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, json_of(answer).get("retryable")) == (status, retryable)
