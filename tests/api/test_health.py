"""`GET /healthz` and `GET /readyz` (contract, section 9)."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import text

from app import create_app
from app.api import health
from app.attachments.storage import StoredObject
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.done import note_done
from tests.conftest import PASSWORD, World
from tests.support.answers import json_of


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
    ages = {"backup": None, "maintenance": None}
    ready = {"success": True, "status": "ready", "checks": checks, "seconds_since": ages}
    assert (answer.status_code, answer.json) == (200, ready)


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


def test_the_ages_of_the_last_backup_and_maintenance_are_told_and_stop_nothing(app: Flask) -> None:
    data_dir = app.extensions["fieldpost.settings"].data_dir
    note_done(data_dir, "backup")
    hours_ago = time.time() - 7200
    os.utime(data_dir / "last_backup", (hours_ago, hours_ago))
    answer = app.test_client().get("/readyz")
    ages = json_of(answer)["seconds_since"]
    assert (answer.status_code, ages["maintenance"]) == (200, None)
    assert 7200 <= ages["backup"] < 7200 + 3600


def test_checks_that_write_are_kept_and_soon_made_again_after_a_failure(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, calls, is_broken = 0.0, [], False

    def check(*_: object) -> None:
        calls.append(seconds)
        if is_broken:
            _broken()

    monkeypatch.setattr(type(app.extensions["fieldpost.storage"]), "check", check)
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: seconds + 1000))
    statuses = []
    for seconds, is_broken in ((0.0, False), (9.0, True), (10.0, True), (10.5, False), (11.0, False)):  # noqa: B007
        statuses.append(app.test_client().get("/readyz").status_code)
    assert statuses == [200, 200, 503, 503, 200]
    assert calls == [0.0, 10.0, 11.0]


@pytest.mark.parametrize(
    ("address", "sees"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("2001:db8::1", False), ("", False)],
)
def test_only_the_machine_itself_sees_which_part_has_failed(
    app: Flask, monkeypatch: pytest.MonkeyPatch, address: str, sees: bool
) -> None:
    asked = app.test_client().get("/readyz", environ_base={"REMOTE_ADDR": address})
    assert (asked.status_code, "checks" in json_of(asked)) == (200, sees)
    monkeypatch.setattr(type(app.extensions["fieldpost.storage"]), "check", _broken)
    app.extensions["fieldpost.kept_checks"].clear()
    asked = app.test_client().get("/readyz", environ_base={"REMOTE_ADDR": address})
    assert (asked.status_code, "checks" in json_of(asked)) == (503, sees)
    assert ("storage" in asked.text) is sees


@pytest.mark.database("sqlite")
def test_the_token_of_the_metrics_shows_which_part_has_failed(environment: dict[str, str]) -> None:
    app = create_app({**environment, "FIELDPOST_METRICS_TOKEN": "t" * 32})
    for token, sees in (("t" * 32, True), ("wrong", False)):
        headers = {"Authorization": f"Bearer {token}"}
        answer = app.test_client().get("/readyz", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})
        assert ("checks" in json_of(answer)) is sees


@pytest.mark.database("sqlite")
def test_without_redis_nobody_signs_in_and_the_server_stays_ready(environment: dict[str, str], world: World) -> None:
    user = world.user()
    app = create_app({**environment, "FIELDPOST_RATE_LIMIT_STORAGE": "redis://127.0.0.1:1"})
    body = {"email": user.email, "password": PASSWORD}
    answer = app.test_client().post("/api/v1/auth/login", json=body)
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, json_of(answer)["checks"]["sign_in"]) == (200, "failed")


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
