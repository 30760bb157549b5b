"""`GET /healthz` and `GET /readyz` (contract, section 9)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import text

from app.attachments.storage import StoredObject
from app.core.database.engine import db
from app.core.database.transactions import writing


def test_a_process_that_answers_is_alive(app: Flask) -> None:
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"success": True, "status": "alive"})


def test_being_alive_asks_nothing_of_the_database(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        monkeypatch.setattr(db.engine, "connect", _broken)
        monkeypatch.setattr(db.engine.pool, "connect", _broken)
    assert app.test_client().get("/healthz").status_code == 200


def test_a_server_with_everything_is_ready(app: Flask) -> None:
    answer = app.test_client().get("/readyz")
    checks = {"database": "ok", "migrations": "ok", "models": "ok", "storage": "ok"}
    assert (answer.status_code, answer.json) == (200, {"success": True, "status": "ready", "checks": checks})


def test_a_database_without_its_migrations_is_not_ready(app: Flask) -> None:
    with app.app_context():
        downgrade(revision="base")
    fault = _not_ready(app, "Not ready: migrations")
    assert fault["checks"] == {"database": "ok", "migrations": "not migrated", "models": "ok", "storage": "ok"}


def test_a_database_that_a_newer_release_has_migrated_is_ready(app: Flask) -> None:
    """Otherwise an upgrade would take out all nodes at once that still run the former release."""
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'newer'"))
    assert app.test_client().get("/readyz").status_code == 200


def test_a_database_that_does_not_answer_is_not_ready(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        monkeypatch.setattr(type(db.engine), "connect", _broken)
    fault = _not_ready(app, "Not ready: database, migrations, models")
    assert fault["checks"] == {"database": "failed", "migrations": "failed", "models": "failed", "storage": "ok"}
    assert "sesame" not in str(fault)


def test_a_storage_that_cannot_be_written_is_not_ready(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(app.extensions["fieldpost.storage"]), "check", _broken)
    fault = _not_ready(app, "Not ready: storage")
    assert fault["checks"] == {"database": "ok", "migrations": "ok", "models": "ok", "storage": "failed"}


def test_asking_leaves_nothing_in_the_storage(app: Flask) -> None:
    app.test_client().get("/readyz")
    stored: list[StoredObject] = list(app.extensions["fieldpost.storage"].list())
    assert stored == []


def _broken(*_args: Any, **_kwargs: Any) -> Any:
    raise OSError("postgresql://joe:sesame@db: no route to host")


def _not_ready(app: Flask, sentence: str) -> Any:
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    body: Any = answer.json
    assert (body["success"], body["error"], body["code"]) == (False, sentence, "try_again")
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body
