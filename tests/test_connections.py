"""Connections to PostgreSQL: those that broke are replaced, statements stay prepared, and fail as what they are."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import extensions
from app.extensions import db
from app.models import FormFill
from app.testing import push
from tests.conftest import SignIn, World

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
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "  # type: ignore[arg-type]
            f"WHERE datname = current_database() AND {which}"
        )
        return ended.rowcount


@pytest.mark.parametrize("rest", [0.0, 3600.0])
def test_a_connection_that_broke_is_replaced_however_long_it_rested(
    address: str, device: FlaskClient, monkeypatch: pytest.MonkeyPatch, rest: float
) -> None:
    monkeypatch.setattr(extensions, "REST_SECONDS", rest)
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


@pytest.mark.parametrize("table", ["inspections", "form_fills"])
def test_a_lock_that_somebody_keeps_is_told_as_such_and_nothing_is_recorded(
    world: World, sign_in: SignIn, address: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = world.user()
    form_fill, device = world.form_fill(world.inspection(user)), sign_in(user)
    with psycopg.connect(address) as holder:
        holder.execute(f"SELECT 1 FROM {table} FOR UPDATE")  # type: ignore[arg-type]
        answer = device.post("/api/v1/sync", json={"sync_items": [edit(form_fill)]})

    assert (answer.status_code, answer.json["code"]) == (503, "try_again")
    reasons = {record.reason for record in caplog.records if hasattr(record, "reason")}
    assert reasons == {"canceling statement due to lock timeout"}
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
    assert world.get(FormFill, form_fill.id).data == {"a": "1"}


def edit(form_fill: FormFill) -> dict[str, Any]:
    """An item that sets a field."""
    return {"type": "form_fill", "local_id": "e1", "data": {"id": form_fill.id, "changes": {"a": "1"}}}
