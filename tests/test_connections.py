"""Connections to PostgreSQL: those that broke while nobody used them are replaced, and statements stay prepared."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import extensions
from app.extensions import db
from app.testing import push
from tests.conftest import SignIn, World

pytestmark = pytest.mark.database("postgresql")


@pytest.fixture
def device(world: World, sign_in: SignIn) -> FlaskClient:
    return sign_in(world.user())


def break_connections(app: Flask) -> None:
    """End all connections of the application, as a restart of the database does."""
    with app.app_context():
        address = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize("rest", [0.0, 3600.0])
def test_a_connection_that_broke_is_replaced_however_long_it_rested(
    app: Flask, device: FlaskClient, monkeypatch: pytest.MonkeyPatch, rest: float
) -> None:
    monkeypatch.setattr(extensions, "REST_SECONDS", rest)
    push(device)
    break_connections(app)

    answer = device.post("/api/v1/sync", json={"sync_items": []})

    assert answer.status_code == 200


def test_a_batch_leaves_its_statements_prepared(app: Flask, device: FlaskClient) -> None:
    for _ in range(8):
        push(device)

    with app.app_context(), db.engine.connect() as connection:
        prepared = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()

    assert any("user_syncs" in each for each in prepared)
    assert any("sign_ins" in each for each in prepared)
