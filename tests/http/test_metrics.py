"""`GET /metrics`: the numbers, bounded labels, who may read them, and that every worker answers for all."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import INCLUDE, Schema
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app import create_app, policies
from app.attachments.storage.local import LocalStorage
from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.done import note_done
from app.core.host.registry import Registered
from app.errors import StorageError
from app.models import FormFill, Inspection, SetAside, User
from app.plugin_api import Context, Operation, Outcome, SyncHandler, by_id
from app.testing import push
from tests.conftest import SettableClock, SignIn, World
from tests.support.cases import cases
from tests.support.databases import SECRET_KEY
from tests.support.servers import environment_of, free_port, running

TOKEN = "a token for whoever scrapes, long enough"

Sample = tuple[str, frozenset[tuple[str, str]]]


def numbers_of(text: str) -> dict[Sample, float]:
    """Every number of an answer, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Numbers:
    """The increase since the last look, because the numbers belong to the process and not to the application."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.before: dict[Sample, float] = {}
        self.added()

    def added(self) -> dict[Sample, float]:
        answer = self.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        now = numbers_of(answer.text)
        found = {key: value - self.before.get(key, 0) for key, value in now.items()}
        self.before = now
        return found


def key(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "FIELDPOST_METRICS_TOKEN": TOKEN}


@pytest.fixture
def numbers(app: Flask) -> Numbers:
    return Numbers(app.test_client())


@pytest.fixture
def form_fill(world: World, tech: User) -> FormFill:
    return world.form_fill(world.inspection(tech), data={"a": 0})


class AnySchema(Schema):
    class Meta:
        unknown = INCLUDE


@pytest.fixture
def careless(app: Flask) -> None:
    """A type whose handler has a bug."""

    def apply(operation: Operation, context: Context) -> Outcome:
        raise ZeroDivisionError

    handler = SyncHandler(
        type="careless", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply
    )
    registry = app.extensions["fieldpost.registry"]
    registry.handlers[handler.type] = Registered(
        handler=handler, entry_point="careless:handler", distribution="careless", version="1"
    )
    registry.routes[handler.type] = handler


def item(form_fill: FormFill, local_id: str, type_: str = "form_fill", **more: Any) -> dict[str, Any]:
    return {"type": type_, "local_id": local_id, "data": {"id": form_fill.id, "changes": {"a": local_id}, **more}}


def test_items_are_counted_by_type_and_outcome(
    numbers: Numbers, device: FlaskClient, world: World, form_fill: FormFill
) -> None:
    # An alias counts as its type.
    push(device, item(form_fill, "1"), item(form_fill, "2", "form_fill_update"), item(form_fill, "3", id=10**9))
    other = world.form_fill(world.get(Inspection, form_fill.inspection_id))
    push(device, item(form_fill, "1"), item(other, "5"))
    push(device, item(form_fill, "4"))
    added = numbers.added()
    assert added[key("fieldpost_operations_total", type="form_fill", outcome="success")] == 4
    assert added[key("fieldpost_operations_total", type="form_fill", outcome="replayed")] == 1
    assert added[key("fieldpost_operations_total", type="form_fill", outcome="errors")] == 1
    assert added[key("fieldpost_batch_seconds_count")] == 3
    assert added[key("fieldpost_handler_calls_total", type="form_fill")] == 4
    assert 0 < added[key("fieldpost_handler_seconds_total", type="form_fill")] < 10
    assert added.get(key("fieldpost_second_passes_total"), 0) == 0


def test_conflicts_are_counted(
    numbers: Numbers, device: FlaskClient, sign_in: SignIn, world: World, form_fill: FormFill
) -> None:
    version = to_wire(form_fill.updated_at)
    push(sign_in(world.user("ada@example.com", "admin")), item(form_fill, "1"))
    assert len(push(device, item(form_fill, "2", updated_at=version))["conflicts"]) == 1
    assert numbers.added()[key("fieldpost_operations_total", type="form_fill", outcome="conflicts")] == 1


@pytest.mark.usefixtures("careless")
def test_a_bug_of_a_handler_is_counted_once_with_its_type_and_the_second_pass(
    numbers: Numbers, device: FlaskClient, form_fill: FormFill
) -> None:
    results = push(device, item(form_fill, "1", "careless"), item(form_fill, "2"))
    assert [each["code"] for each in results["errors"]] == ["handler_failed"]
    added = numbers.added()
    assert added[key("fieldpost_handler_errors_total", type="careless")] == 1
    assert added[key("fieldpost_second_passes_total")] == 1
    assert added[key("fieldpost_operations_total", type="careless", outcome="errors")] == 1
    assert added[key("fieldpost_operations_total", type="form_fill", outcome="success")] == 1


def test_what_clients_make_up_becomes_no_label(app: Flask, numbers: Numbers, device: FlaskClient) -> None:
    push(device, *({"type": f"made-up-{number}", "local_id": str(number), "data": {}} for number in range(50)))
    for number in range(50):
        device.get(f"/api/v1/made-up-{number}")
        device.get(f"/api/v1/inspections/{number}")
        device.open("/healthz", method=f"MADEUP{number}")
    added = numbers.added()
    assert added[key("fieldpost_operations_total", type="unknown", outcome="errors")] == 50
    # Other applications of this process, with other routes, have counted before.
    labels = {label for (_, found), value in added.items() if value for label in found}
    assert [label for label in labels if "made" in label[1].lower()] == []
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert {value for name, value in labels if name == "route"} <= rules | {"unmatched"}
    assert added[key("fieldpost_requests_total", method="GET", route="unmatched", status="404")] == 50
    assert added[key("fieldpost_requests_total", method="unknown", route="unmatched", status="405")] == 50


def test_requests_are_timed_by_the_template_of_their_route(numbers: Numbers, device: FlaskClient) -> None:
    for number in (1, 2, 3):
        device.get(f"/api/v1/inspections/{number}")
    added = numbers.added()
    timed = [(name, dict(labels)) for (name, labels), count in added.items() if count == 3]
    assert any(
        name == "fieldpost_request_seconds_count" and "inspections/<" in labels["route"] for name, labels in timed
    ), timed


def test_connections_are_counted(app: Flask, numbers: Numbers) -> None:
    with app.app_context(), db.engine.connect():
        assert numbers.added()[key("fieldpost_connections_used")] == 1
    assert numbers.added()[key("fieldpost_connections_used")] == -1
    with app.app_context():
        open_before = numbers.before[key("fieldpost_connections_open")]
        db.engine.dispose()
    assert numbers.added()[key("fieldpost_connections_open")] < 0 < open_before


@pytest.mark.database("postgresql")
def test_a_write_that_stays_open_shows_as_the_feeds_lag(app: Flask, numbers: Numbers) -> None:
    lag = key("fieldpost_feed_lag_seconds")
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("SELECT pg_current_xact_id()"))
        time.sleep(0.2)
        numbers.added()
    assert numbers.before[lag] >= 0.2


@pytest.mark.database("postgresql")
def test_without_the_database_the_other_numbers_are_still_told(environment: dict[str, str]) -> None:
    app = create_app({**environment, "DATABASE_URL": "postgresql://joe:sesame@127.0.0.1:1/none"})
    found = Numbers(app.test_client()).before
    assert key("fieldpost_feed_lag_seconds") not in found
    assert key("fieldpost_second_passes_total") in found


def test_the_items_that_wait_for_a_decision_are_told_with_the_oldest(
    numbers: Numbers, device: FlaskClient, sign_in: SignIn, world: World, form_fill: FormFill, clock: SettableClock
) -> None:
    oldest = "fieldpost_set_aside_oldest_timestamp_seconds"

    def told() -> dict[str, float]:
        numbers.before = {}
        found = numbers.added()
        return {name: found[key("fieldpost_set_aside_open", outcome=name)] for name in ("conflict", "refused")}

    assert told() == {"conflict": 0, "refused": 0}
    assert key(oldest) not in numbers.before
    began, version = clock.time, to_wire(form_fill.updated_at)
    push(device, item(form_fill, "1", "a"), item(form_fill, "2", "z"))
    clock.forward(minutes=5)
    office = sign_in(world.user("ada@example.com", "admin"))
    push(office, item(form_fill, "3"))
    push(device, item(form_fill, "4", updated_at=version))
    assert told() == {"conflict": 1, "refused": 2}
    assert numbers.before[key(oldest)] == began.timestamp()
    refused = [row.id for row in world.all(SetAside) if row.outcome == "refused"]
    office.post("/api/v1/set_aside/decisions", json={"decision": "discard", "ids": refused})
    assert told() == {"conflict": 1, "refused": 0}
    assert numbers.before[key(oldest)] == clock.time.timestamp()


def test_the_release_the_disk_and_the_last_jobs_are_told(numbers: Numbers, tmp_path: Path) -> None:
    done = "fieldpost_last_done_timestamp_seconds"
    assert key(done, task="backup") not in numbers.added()
    note_done(tmp_path, "backup")
    numbers.before = {}
    found = numbers.added()
    assert abs(found[key(done, task="backup")] - time.time()) < 60
    assert key(done, task="maintenance") not in found
    assert found[key("fieldpost_release", version=version("fieldpost"))] == 1
    assert 0 < found[key("fieldpost_disk_free_ratio")] < 1


def test_errors_of_the_storage_are_counted(numbers: Numbers, tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("in the way of a directory")
    with pytest.raises(StorageError):
        LocalStorage(tmp_path).put("ab/cd", b"bytes")
    assert numbers.added()[key("fieldpost_storage_errors_total")] == 1


@pytest.mark.database("sqlite")
def test_without_a_token_or_port_of_its_own_there_is_no_such_page(environment: dict[str, str]) -> None:
    app = create_app({**environment, "FIELDPOST_METRICS_TOKEN": ""})
    assert app.test_client().get("/metrics").status_code == 404


@pytest.mark.database("sqlite")
@cases("sent", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN} ", "Bearer é"])
def test_only_the_token_opens_it(app: Flask, sent: str | None) -> None:
    headers = {} if sent is None else {"Authorization": sent}
    answer = app.test_client().get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "fieldpost_" not in answer.text


@pytest.mark.database("sqlite")
def test_a_users_token_does_not_open_it(device: FlaskClient) -> None:
    assert device.get("/metrics").status_code == 401


def fetch(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def own_port(tmp_path: Path, database: str) -> Iterator[tuple[str, str]]:
    """A server whose metrics have a port of their own; the addresses of both ports."""
    port = free_port()
    settings = {"FIELDPOST_METRICS_PORT": str(port), "WEB_CONCURRENCY": "2"}
    environment = environment_of(tmp_path, DATABASE_URL=database, FIELDPOST_SECRET_KEY=SECRET_KEY, **settings)
    with running(environment) as address:
        yield address, f"http://127.0.0.1:{port}"


def test_a_port_of_its_own_answers_for_all_workers_and_nothing_else(own_port: tuple[str, str]) -> None:
    api, metrics = own_port
    assert fetch(f"{api}/metrics")[0] == 404
    assert fetch(f"{api}/metrics", **{"X-Forwarded-Host": metrics.removeprefix("http://")})[0] == 404
    assert fetch(f"{metrics}/healthz")[0] == 404
    assert fetch(f"{metrics}/api/v1/openapi.json")[0] == 404
    for _ in range(40):
        assert fetch(f"{api}/healthz")[0] == 200
    counts = []
    for _ in range(20):
        status, text = fetch(f"{metrics}/metrics")
        assert status == 200
        numbers = numbers_of(text)
        counts.append(numbers[key("fieldpost_requests_total", method="GET", route="/healthz", status="200")])
    # One worker alone would have answered some of them, and two looks would differ. The test's own start asked too.
    assert min(counts) >= 40
    assert len(set(counts)) == 1


@pytest.mark.database("sqlite")
def test_the_directory_of_the_numbers_goes_with_the_server(tmp_path: Path, database: str) -> None:
    environment = environment_of(tmp_path, TMPDIR=str(tmp_path), FIELDPOST_METRICS_TOKEN=TOKEN)
    with running(environment) as address:
        assert len(list(tmp_path.glob("fieldpost-metrics-*"))) == 1
        shown = fetch(f"{address}/metrics", Authorization=f"Bearer {TOKEN}")[1]
        assert re.search(r"^fieldpost_connections_open \d", shown, re.MULTILINE), shown
    assert list(tmp_path.glob("fieldpost-metrics-*")) == []
