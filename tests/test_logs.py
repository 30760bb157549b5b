"""The log: JSON lines that can be searched by request, without secrets."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.config import load_settings
from app.logs import HANDLER_NAME, configure_logging
from tests.conftest import PASSWORD, SignIn, World

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "FIELDPOST_LOG_LEVEL": "INFO"}


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """The root logger belongs to the whole process."""
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    handlers, level, alembic_level = list(root.handlers), root.level, alembic.level
    yield
    root.handlers, root.level = handlers, level
    alembic.setLevel(alembic_level)


class Log:
    """What the handler writes. Not pytest's own capture, which changes streams between a test's phases."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def configure(self, environment: Mapping[str, str]) -> None:
        """Let the log be written here."""
        with redirect_stderr(self.stream):
            configure_logging(load_settings(environment))

    def take(self) -> list[dict[str, Any]]:
        """The lines since the last time."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        self.stream.seek(0)
        self.stream.truncate()
        return lines


@pytest.fixture
def log(app: Flask, environment: dict[str, str]) -> Log:
    """The log of the application."""
    log = Log()
    log.configure(environment)
    return log


def test_a_line_is_one_json_object_with_the_time_in_utc(log: Log) -> None:
    logging.getLogger("some.library").warning("the %s is full\nreally", "disk", extra={"bytes_left": 12, "when": {1}})
    (line,) = log.take()
    assert line["message"] == "the disk is full\nreally"
    assert (line["level"], line["logger"], line["bytes_left"]) == ("warning", "some.library", 12)
    assert TIME.fullmatch(line["time"])


def test_an_exception_is_a_field_of_its_line(log: Log) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("app").exception("failed")
    (line,) = log.take()
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: broken")


def test_what_is_below_the_level_is_not_written(environment: dict[str, str], log: Log) -> None:
    log.configure({**environment, "FIELDPOST_LOG_LEVEL": "ERROR"})
    logging.getLogger("app").warning("not written")
    logging.getLogger("app").error("written")
    assert [line["message"] for line in log.take()] == ["written"]


def test_a_second_application_does_not_write_every_line_twice(environment: dict[str, str], log: Log) -> None:
    create_app(environment)
    names = [each.get_name() for each in logging.getLogger().handlers]
    assert names.count(HANDLER_NAME) == 1


def test_each_request_is_one_line(log: Log, world: World, sign_in: SignIn) -> None:
    user = world.user()
    client = sign_in(user)
    log.take()
    client.get("/api/v1/sync/status", headers={"X-Request-ID": "trip-7"})
    (line,) = log.take()
    assert (line["message"], line["method"], line["path"]) == ("request", "GET", "/api/v1/sync/status")
    assert (line["status"], line["user_id"], line["request_id"]) == (200, user.id, "trip-7")
    assert 0 < line["duration_ms"] < 60_000


def test_the_line_of_an_answer_carries_the_id_that_was_answered(log: Log, app: Flask) -> None:
    answer = app.test_client().get("/api/v1/nothing")
    (line,) = log.take()
    assert line["status"] == answer.status_code == 404
    assert line["request_id"] == answer.headers["X-Request-ID"] == answer.json["request_id"]
    assert line["user_id"] is None


def test_other_lines_of_a_request_carry_its_id_too(log: Log, app: Flask) -> None:
    app.view_functions["health.healthz"] = lambda: 1 / 0  # type: ignore[assignment]
    answer = app.test_client().get("/healthz")
    first, second = log.take()
    assert first["message"] == "unexpected error"
    assert "ZeroDivisionError" in first["exception"]
    assert first["request_id"] == second["request_id"] == answer.json["request_id"]


def test_no_secret_reaches_the_log(log: Log, app: Flask, world: World) -> None:
    user = world.user()
    logging.getLogger().setLevel("DEBUG")
    client = app.test_client()
    tokens = client.post("/api/v1/auth/login?access=sesame", json={"email": user.email, "password": PASSWORD}).json
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    client.post("/api/v1/sync?token=sesame", json={"sync_items": [{"notes": "confidential"}]}, headers=bearer)
    client.post("/api/v1/auth/refresh", headers={"Authorization": f"Bearer {tokens['refresh_token']}"})
    client.post("/api/v1/auth/login", data=f'{{"password": "{PASSWORD}', content_type="application/json")
    written = log.stream.getvalue()
    assert "/api/v1/sync" in written
    for secret in (PASSWORD, tokens["access_token"], tokens["refresh_token"], "sesame", "confidential"):
        assert secret not in written
