"""What the office decides goes through the pipeline of devices, and is no batch of a device (contract, section 12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect

from app.administration import apply_in_office
from app.core.host.registry import current_registry
from app.core.ledger.record import Origin
from app.core.sync.attempt import Batch
from app.core.sync.batch import process_batch
from app.core.sync.items import read_items
from app.models import Device, FormFill, SetAside, SyncHour, User, UserSync
from app.testing import push
from tests.administration.conftest import DEVICE_ID
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit, stored
from tests.support.answers import json_of

#: The database has no part in what is written at all.
pytestmark = pytest.mark.database("sqlite")

REPORT = {"name": "Theo's phone", "waiting_items": 3, "last_error": "no network"}

#: A decision that is made, one that the pipeline refuses, and one that changes no row.
DECISIONS: dict[str, dict[str, Any]] = {
    "applied": {"decision": "apply"},
    "refused": {"decision": "change", "changes": {"changes": 5}},
    "discarded": {"decision": "discard"},
}


@pytest.fixture
def lost(world: World, owner: User) -> FormFill:
    """A form fill that is not the technician's any more."""
    return world.form_fill(world.inspection(owner), data={"a": 0})


@pytest.fixture
def item(phone: FlaskClient, lost: FormFill) -> dict[str, Any]:
    """An item that was refused. The phone has said how it is doing."""
    item = edit(lost, a="phone")
    answer = phone.post("/api/v1/sync", json={"sync_items": [item], "device": REPORT})
    assert json_of(answer)["results"]["errors"][0]["code"] == "forbidden"
    return item


@pytest.fixture(params=sorted(DECISIONS))
def decide(
    request: pytest.FixtureRequest, office: FlaskClient, item: dict[str, Any], clock: SettableClock
) -> Callable[[], None]:
    """The office decides about the item, later than a row of it rests."""

    def decide() -> None:
        clock.forward(minutes=5)
        (row,) = json_of(office.get("/api/v1/set_aside"))["data"]["set_aside"]
        answer = office.post(f"/api/v1/set_aside/{row['id']}/decision", json=DECISIONS[request.param])
        assert answer.status_code == (409 if request.param == "refused" else 200), answer.text

    return decide


def rows_of(world: World, model: Any, *but: str) -> list[dict[str, Any]]:
    """All rows of a model with all columns, except these."""
    names = [column.key for column in inspect(model).column_attrs if column.key not in but]
    rows = [{name: getattr(row, name) for name in names} for row in world.all(model)]
    return sorted(rows, key=str)


def test_a_decision_keeps_no_row_of_its_own_and_writes_nothing_of_what_was_sent(
    world: World, decide: Callable[[], None]
) -> None:
    by_office = ("decision", "decided_by_id", "reason", "settled_at")
    before = rows_of(world, SetAside, *by_office)
    assert len(before) == 1
    decide()
    assert rows_of(world, SetAside, *by_office) == before


def test_a_decision_is_no_last_sync_of_anybody(world: World, decide: Callable[[], None]) -> None:
    before = rows_of(world, UserSync)
    assert len(before) == 1
    decide()
    assert rows_of(world, UserSync) == before


def test_a_decision_is_no_report_of_the_device_and_no_batch_of_the_hour(
    world: World, decide: Callable[[], None]
) -> None:
    before, hours = rows_of(world, Device), rows_of(world, SyncHour)
    assert [row["waiting_items"] for row in before if row["device_id"] == DEVICE_ID] == [3]
    decide()
    assert rows_of(world, Device) == before
    assert rows_of(world, SyncHour) == hours


def test_a_decision_reports_nothing_of_a_device_that_has_never_done_so(
    world: World, office: FlaskClient, phone: FlaskClient, lost: FormFill
) -> None:
    push(phone, edit(lost, a="phone"))
    before = rows_of(world, Device)
    (row,) = json_of(office.get("/api/v1/set_aside"))["data"]["set_aside"]
    assert office.post(f"/api/v1/set_aside/{row['id']}/decision", json={"decision": "apply"}).status_code == 200
    assert rows_of(world, Device) == before


def test_not_even_a_report_that_somebody_puts_into_the_batch_counts(
    app: Flask, world: World, admin: User, tech: User, item: dict[str, Any], form_fill: FormFill, clock: SettableClock
) -> None:
    tables = (Device, UserSync, SyncHour, SetAside)
    before = [rows_of(world, table) for table in tables]
    clock.forward(hours=2)
    good, bad = edit(form_fill, a="office"), {"type": "unheard_of", "local_id": "1", "data": {}}
    with app.app_context():
        registry = current_registry()
        origin = Origin(door="office", user_id=tech.id, device_id=DEVICE_ID, decided_by_id=admin.id)
        items = read_items({"sync_items": [good, bad]}, registry)
        report = {**REPORT, "waiting_items": 0}
        process_batch(Batch(items=items, elements=[good, bad], origin=origin, registry=registry, report=report))
    assert stored(world, form_fill)["a"] == "office"
    assert [rows_of(world, table) for table in tables] == before


@pytest.mark.parametrize("changes", [{"a": "office"}, 5], ids=["applied", "refused"])
def test_a_correction_is_no_batch_of_a_device_either(
    app: Flask, world: World, owner: User, form_fill: FormFill, changes: object
) -> None:
    tables = (Device, UserSync, SyncHour, SetAside)
    before = [rows_of(world, table) for table in tables]
    with app.app_context():
        apply_in_office(owner, "form_fill", {"id": form_fill.id, "changes": changes})
    assert (stored(world, form_fill)["a"] == "office") == isinstance(changes, dict)
    assert [rows_of(world, table) for table in tables] == before
