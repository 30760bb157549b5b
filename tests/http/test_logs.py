"""The log: JSON lines that can be searched by request, without secrets."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import INCLUDE, Schema
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import create_app, policies
from app.config import load_settings
from app.core.database.engine import db
from app.core.host.registry import Registered
from app.core.ledger.unit import unit_of_work
from app.errors import StorageError
from app.http.logs import HANDLER_NAME, configure_logging
from app.models import FormFill, Inspection, LedgerOperation, User
from app.plugin_api import Context, Operation, Outcome, SyncHandler, by_id
from app.testing import push
from tests.conftest import PASSWORD, SettableClock, SignIn, World
from tests.support.answers import json_of
from tests.support.servers import ROOT

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
    """The handler's output. pytest's own capture changes streams between a test's phases."""

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


def test_an_exception_is_a_field_of_its_line_without_what_it_says(log: Log) -> None:
    try:
        try:
            int("a word of a form")
        except ValueError as error:
            raise LookupError("another word") from error
    except LookupError:
        logging.getLogger("app").exception("failed")
    (line,) = log.take()
    assert line["message"] == "failed"
    first, second = line["exception"].removeprefix("Traceback").split("\nTraceback")
    assert first.endswith("\nValueError")
    assert second.endswith("\nLookupError")
    assert 'int("a word of a form")' in first, "lines of code are no data"


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (
            StorageError("00/key could not be stored: No space left."),
            "StorageError: 00/key could not be stored: No space left.",
        ),
        (OSError(28, "No space left on device", "Ada.jpg"), "OSError: No space left on device"),
        (OSError("Ada"), "OSError"),
        (psycopg.OperationalError("connection refused"), "psycopg.OperationalError: connection refused"),
        (psycopg.errors.UniqueViolation("Key (email)=(Ada) exists"), "psycopg.errors.UniqueViolation: 23505"),
    ],
)
def test_an_exception_says_what_quotes_nobody(log: Log, error: Exception, end: str) -> None:
    logging.getLogger("app").error("failed", exc_info=error)
    (line,) = log.take()
    assert line["exception"].endswith(end)


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
    assert line["request_id"] == answer.headers["X-Request-ID"] == json_of(answer)["request_id"]
    assert line["user_id"] is None


def test_other_lines_of_a_request_carry_its_id_too(log: Log, app: Flask) -> None:
    app.view_functions["health.healthz"] = lambda: 1 / 0  # type: ignore[assignment]
    answer = app.test_client().get("/healthz")
    first, second = log.take()
    assert first["message"] == "unexpected error"
    assert "ZeroDivisionError" in first["exception"]
    assert first["request_id"] == second["request_id"] == json_of(answer)["request_id"]


def test_no_secret_reaches_the_log(log: Log, app: Flask, world: World) -> None:
    user = world.user()
    logging.getLogger().setLevel("DEBUG")
    client = app.test_client()
    body = {"email": user.email, "password": PASSWORD}
    tokens = json_of(client.post("/api/v1/auth/login?access=sesame", json=body))
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    client.post("/api/v1/sync?token=sesame", json={"sync_items": [{"notes": "confidential"}]}, headers=bearer)
    client.post("/api/v1/auth/refresh", headers={"Authorization": f"Bearer {tokens['refresh_token']}"})
    client.post("/api/v1/auth/login", data=f'{{"password": "{PASSWORD}', content_type="application/json")
    written = log.stream.getvalue()
    assert "/api/v1/sync" in written
    for secret in (PASSWORD, tokens["access_token"], tokens["refresh_token"], "sesame", "confidential"):
        assert secret not in written


# Attacks

#: The filter in the documents, as fail2ban reads it.
FILTER = re.search(r"^failregex = (.+)$", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)

ATTACKER = {"REMOTE_ADDR": "2001:db8::bad"}


def security_lines(log: Log) -> list[dict[str, Any]]:
    return [line for line in log.take() if line["logger"] == "fieldpost.security"]


def banned(line: dict[str, Any]) -> str | None:
    """The address that fail2ban takes from a line."""
    assert FILTER is not None
    found = re.search(FILTER[1].replace("<HOST>", r"(?P<host>[0-9a-f:.]+)"), json.dumps(line, separators=(",", ":")))
    return found and found["host"]


@pytest.mark.parametrize("email", ["tech@example.com", "nobody@example.com", 'x","address":"192.0.2.9"'])
def test_a_failed_sign_in_says_from_where_and_fail2ban_reads_it(log: Log, app: Flask, world: World, email: str) -> None:
    user = world.user()
    client = app.test_client()
    headers = {"X-Request-ID": '","address":"192.0.2.9","message":"sign-in'}
    for _ in range(11):
        client.post(
            "/api/v1/auth/login", json={"email": email, "password": "wrong"}, environ_base=ATTACKER, headers=headers
        )
    lines = security_lines(log)
    assert [line["message"] for line in lines] == ["sign-in failed"] * 10 + ["sign-in throttled"]
    assert {line["address"] for line in lines} == {"2001:db8::bad"}
    assert lines[0]["account_id"] == (user.id if email == user.email else None)
    assert lines[-1]["limit"] == "login"
    assert email not in str(lines)
    assert {banned(line) for line in lines} == {"2001:db8::bad"}


def test_a_sign_in_is_told(log: Log, app: Flask, world: World) -> None:
    user = world.user()
    body = {"email": user.email, "password": PASSWORD}
    app.test_client().post("/api/v1/auth/login", json=body, environ_base=ATTACKER)
    (line,) = security_lines(log)
    assert (line["message"], line["level"], line["account_id"]) == ("signed in", "info", user.id)
    assert line["address"] == "2001:db8::bad"
    assert banned(line) is None


def test_a_reused_refresh_token_is_told(log: Log, app: Flask, world: World, clock: SettableClock) -> None:
    user = world.user()
    client = app.test_client()
    tokens = json_of(client.post("/api/v1/auth/login", json={"email": user.email, "password": PASSWORD}))
    copied = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    token = copied
    for _ in range(2):
        answer = json_of(client.post("/api/v1/auth/refresh", headers=token))
        token = {"Authorization": f"Bearer {answer['refresh_token']}"}
    clock.forward(minutes=5)
    assert [line["message"] for line in security_lines(log)] == ["signed in"]
    assert client.post("/api/v1/auth/refresh", headers=copied, environ_base=ATTACKER).status_code == 401
    (line,) = security_lines(log)
    assert (line["message"], line["account_id"]) == ("refresh token reused", user.id)
    assert line["address"] == "2001:db8::bad"
    assert banned(line) is None


def test_what_is_forbidden_is_told_with_who_asked(log: Log, world: World, sign_in: SignIn) -> None:
    user = world.user()
    client = sign_in(user)
    log.take()
    client.get("/api/v1/users", environ_overrides=ATTACKER)
    (line,) = security_lines(log)
    assert (line["message"], line["method"], line["path"]) == ("forbidden", "GET", "/api/v1/users")
    assert (line["user_id"], line["address"]) == (user.id, "2001:db8::bad")


def test_a_batch_with_forbidden_items_has_one_line(log: Log, world: World, sign_in: SignIn) -> None:
    user = world.user()
    own, others = (
        world.form_fill(world.inspection(user)),
        world.form_fill(world.inspection(world.user("other@example.com"))),
    )
    client = sign_in(user)
    log.take()
    for forms, expected in (([own], []), ([others, own, others], [2])):
        items = [
            {"type": "form_fill", "local_id": str(number), "data": {"id": form.id, "changes": {"a": number}}}
            for number, form in enumerate(forms)
        ]
        client.post("/api/v1/sync", json={"sync_items": items}, environ_overrides=ATTACKER)
        lines = [line for line in security_lines(log) if line["message"] == "items forbidden"]
        assert [line["items"] for line in lines] == expected
        assert {(line["user_id"], line["address"]) for line in lines} <= {(user.id, "2001:db8::bad")}


def test_a_guessed_current_password_is_told(log: Log, world: World, sign_in: SignIn) -> None:
    client = sign_in(world.user())
    log.take()
    body = {"current_password": "guessed", "new_password": "three words, not together"}
    client.post("/api/v1/auth/password", json=body)
    (line,) = security_lines(log)
    assert (line["message"], line["address"]) == ("wrong current password", "127.0.0.1")


# Canaries

#: Stands for anything that must not appear in a log: a word of a form, a name, a password.
CANARY = "canary-7c1f"


def raise_(error: BaseException) -> Any:
    raise error


def insert_nonsense() -> None:
    """The database refuses it, with the values in its own text or in the statement's parameters."""
    values = {"email": CANARY, "name": CANARY, "role": CANARY, "hash": CANARY}
    statement = "INSERT INTO users (email, name, role, password_hash) VALUES (:email, :name, :role, :hash)"
    db.session.execute(text(statement), values)


def cast_nonsense() -> None:
    """PostgreSQL quotes the value in its sentence; SQLite makes a number of it, and so gets another statement."""
    db.session.execute(text("SELECT CAST(:value AS integer) FROM users WHERE nonsense = :value"), {"value": CANARY})


DEEDS: list[Callable[[], Any]] = [
    lambda: raise_(ValueError(f"{CANARY} is no number")),
    lambda: dict[str, Any]()[CANARY],
    lambda: raise_(OSError(CANARY)),
    insert_nonsense,
    cast_nonsense,
]


class AnySchema(Schema):
    class Meta:
        unknown = INCLUDE


@pytest.fixture
def loud(environment: dict[str, str], log: Log) -> Log:
    """The log with all that anybody has to say."""
    log.configure({**environment, "FIELDPOST_LOG_LEVEL": "DEBUG"})
    return log


@pytest.fixture
def device(sign_in: SignIn, world: World) -> FlaskClient:
    return sign_in(world.user("ada@example.com", "admin"), "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0009")


def careless(app: Flask, deed: Callable[[], Any]) -> str:
    """A type whose handler does the deed, and its name."""

    def apply(operation: Operation, context: Context) -> Outcome:
        context.after_commit(deed)
        if operation.data.get("when") == "now":
            deed()
        return Outcome()

    handler = SyncHandler(type="careless", schema=AnySchema, target=by_id(FormFill), policy=policies.read, apply=apply)
    registry = app.extensions["fieldpost.registry"]
    registry.handlers[handler.type] = Registered(
        handler=handler, entry_point="careless:handler", distribution="careless", version="1"
    )
    registry.routes[handler.type] = handler
    return handler.type


def body_of(rule: Any) -> dict[str, Any]:
    """Something that many an endpoint takes, its texts canaries."""
    names = ("email", "name", "notes", "password", "job", "field_name", "system_category", "token", "device_id")
    form = {"form_structure": [{"name": CANARY, "type": "text"}], "changes": {"Location_row_1": CANARY}}
    items = [{"type": CANARY, "local_id": "1", "data": {"id": 1}}, {"type": "form_fill", "local_id": "2", "data": form}]
    return {**dict.fromkeys(names, CANARY), **form, "data": {CANARY: CANARY}, "sync_items": items}


def test_nothing_that_is_sent_to_any_endpoint_reaches_the_log(loud: Log, app: Flask, device: FlaskClient) -> None:
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    loud.take()
    asked = 0
    # The call that ends the sign-in comes last.
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: ("logout" in each.rule, each.rule)):
        values = {name: 1 if hasattr(each, "num_convert") else "1" for name, each in rule._converters.items()}
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            url = adapter.build(rule.endpoint, values, method=method)
            for sent in (
                {"json": body_of(rule)},
                {"data": f'{{"password": "{CANARY}', "content_type": "application/json"},
                {"data": {"photo": (io.BytesIO(CANARY.encode()), f"{CANARY}.jpg"), "field_name": CANARY}},
                {"headers": {"Authorization": f"Bearer {CANARY}"}},
            ):
                device.open(url, method=method, query_string={"cursor": CANARY, "token": CANARY}, **sent)
                asked += 1
    lines = loud.take()
    assert len([line for line in lines if line["message"] == "request"]) == asked > 100
    assert [line for line in lines if CANARY in json.dumps(line)] == []
    refused = [line["path"] for line in lines if line.get("status") == 401]
    assert len(refused) < asked / 3, "most of them were to come further than the door"


@pytest.mark.parametrize("deed", DEEDS)
def test_what_fails_says_where_but_not_with_what(
    loud: Log, app: Flask, world: World, device: FlaskClient, deed: Callable[[], Any]
) -> None:
    app.view_functions["health.healthz"] = deed
    app.test_client().get("/healthz")
    form_fill = world.form_fill(world.inspection(world.user()), data={})
    kind = careless(app, deed)
    for when in ("now", "later"):
        data = {"id": form_fill.id, "when": when, "secret": CANARY}
        item = {"type": kind, "local_id": when, "data": data}
        device.post("/api/v1/sync", json={"sync_items": [item]}, headers={"X-Request-ID": "trip-7"})
    written = loud.stream.getvalue()
    lines = loud.take()
    messages = [line["message"] for line in lines if "exception" in line]
    assert {"unexpected error", "handler failed", "after_commit failed"} <= set(messages), messages
    assert CANARY not in written, written


@pytest.mark.database("sqlite")
def test_the_text_of_a_database_error_has_no_parameters(app: Flask) -> None:
    with app.app_context(), pytest.raises(DBAPIError) as caught:
        unit_of_work(lambda _unit_id: insert_nonsense())
    assert CANARY not in str(caught.value)


def test_what_is_written_over_rest_is_not_logged(loud: Log, world: World, device: FlaskClient) -> None:
    user = {"email": f"{CANARY}@example.com", "name": CANARY, "role": "technician", "password": f"{CANARY} long enough"}
    assert device.post("/api/v1/users", json=user).status_code == 201
    assert device.post("/api/v1/users", json=user).status_code == 400
    template = {"name": CANARY, "form_structure": [{"name": CANARY, "type": "text", "label_name": CANARY}]}
    assert device.post("/api/v1/form_templates", json=template).status_code == 201
    assert CANARY not in loud.stream.getvalue()


def test_the_lines_of_a_batch_carry_request_user_device_and_batch(
    loud: Log, app: Flask, world: World, device: FlaskClient
) -> None:
    form_fill = world.form_fill(world.inspection(world.user()), data={})
    good = {"type": "form_fill", "local_id": "good", "data": {"id": form_fill.id, "changes": {"a": 1}}}
    bad = {"type": careless(app, lambda: 1 / 0), "local_id": "bad", "data": {"id": form_fill.id, "when": "now"}}
    loud.take()
    device.post("/api/v1/sync", json={"sync_items": [good, bad]}, headers={"X-Request-ID": "trip-7"})
    device.get("/api/v1/auth/me")
    *lines, last = loud.take()
    (operation,) = [each for each in world.all(LedgerOperation) if each.local_id == "good"]
    failed = [line for line in lines if line["message"] in ("handler failed", "request")]
    assert len(failed) == 2
    user = world.all(User)[0]
    for line in failed:
        assert (line["request_id"], line["user_id"]) == ("trip-7", user.id)
        assert line["device_id"] == "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0009"
        assert line["batch"] == operation.unit_id
    assert "batch" not in last


class FullDisk(io.StringIO):
    """A stream on which there is no room for anything."""

    tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_at_the_log_alone_holds_up_no_work(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    device: FlaskClient,
    world: World,
    inspection: Inspection,
) -> None:
    form_fill, full = world.form_fill(inspection, data={"a": 0}), FullDisk()
    monkeypatch.setattr("sys.stderr", full)
    configure_logging(load_settings(environment))
    item = {"type": "form_fill", "local_id": "1", "data": {"id": form_fill.id, "changes": {"a": 1}}}
    assert push(device, item)["success"]
    assert push(device, {**item, "data": {}})["errors"]
    assert full.tries >= 3, "there were lines to write"
    assert world.get(FormFill, form_fill.id).data == {"a": 1}
