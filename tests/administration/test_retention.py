"""Finished inspections are removed after some days, devices are told, and nothing that they still send is lost."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.administration import retention
from app.administration.retention import remove_expired
from app.clock import now
from app.models import Attachment, FormFill, Inspection, SetAside, User
from app.testing import push
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.support.answers import json_of
from tests.support.databases import settle

DAYS = 30


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "FIELDPOST_FINISHED_INSPECTION_DAYS": str(DAYS)}


@pytest.fixture
def finished(world: World, owner: User, tech: User) -> Inspection:
    """A completed inspection with a form fill and a photo."""
    inspection = world.inspection(owner, tech, status="completed")
    world.attachment(world.form_fill(inspection, data={"a": 0}))
    return inspection


def run(app: Flask, *arguments: str) -> str:
    settle(app)
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def changes_after(device: FlaskClient, cursor: str) -> set[tuple[str, str]]:
    changes = json_of(device.get(f"/api/v1/sync/changes?cursor={cursor}"))["data"]["changes"]
    return {(change["entity"], change["op"]) for change in changes}


def test_what_was_finished_long_ago_goes_with_everything_below_and_devices_are_told(
    app: Flask, world: World, finished: Inspection, tech: User, sign_in: SignIn, clock: SettableClock
) -> None:
    pending = world.inspection(tech)
    clock.forward(days=DAYS, seconds=1)
    device = sign_in(tech)
    cursor = json_of(device.get("/api/v1/sync/changes"))["data"]["cursor"]
    assert "finished inspections: removed 1" in run(app, "maintenance")
    assert [row.id for row in world.all(Inspection)] == [pending.id]
    assert world.all(FormFill) == []
    assert [row.deleted_at is None for row in world.all(Attachment)] == [False]
    removals = {("inspection", "remove"), ("form_fill", "remove"), ("attachment", "remove")}
    assert removals <= changes_after(device, cursor)


def test_an_edit_that_comes_later_is_refused_and_set_aside_for_the_office(
    app: Flask, world: World, finished: Inspection, device: FlaskClient, office: FlaskClient, clock: SettableClock
) -> None:
    assert finished.status == "completed"
    (form_fill,) = world.all(FormFill)
    clock.forward(minutes=1)
    assert remove_now(app) == 1
    (error,) = push(device, edit(form_fill, a=1))["errors"]
    assert error["code"] == "not_found"
    run(app, "maintenance")
    (row,) = json_of(office.get("/api/v1/set_aside"))["data"]["set_aside"]
    assert row["local_id"] == error["local_id"]


def remove_now(app: Flask) -> int:
    with app.app_context():
        return remove_expired(now())


@pytest.mark.parametrize("kept_by", ["status", "a form", "a photo", "waiting work"])
def test_what_somebody_still_works_on_stays(
    app: Flask, world: World, finished: Inspection, device: FlaskClient, clock: SettableClock, kept_by: str
) -> None:
    (form_fill,) = world.all(FormFill)
    if kept_by == "status":
        push(device, {"type": "inspection", "local_id": "1", "data": {"id": finished.id, "status": "in_progress"}})
    if kept_by == "waiting work":
        push(device, edit(form_fill, version="2024-03-15T10:29:00.000Z", a=1))
        assert len(world.all(SetAside)) == 1
    clock.forward(minutes=1)
    if kept_by == "a form":
        push(device, edit(form_fill, a=2))
    if kept_by == "a photo":
        world.attachment(form_fill)
    assert remove_now(app) == 0
    assert world.get(Inspection, finished.id) is not None


def test_one_that_is_opened_again_meanwhile_stays(
    app: Flask,
    world: World,
    finished: Inspection,
    device: FlaskClient,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.forward(minutes=1)
    pages = retention._pages

    def reopened(before: Any) -> Any:
        for page in pages(before):
            push(device, {"type": "inspection", "local_id": "1", "data": {"id": finished.id, "status": "pending"}})
            yield page

    monkeypatch.setattr(retention, "_pages", reopened)
    assert remove_now(app) == 0
    assert world.get(Inspection, finished.id).status == "pending"


def test_what_would_go_is_told_and_stays(
    app: Flask, world: World, finished: Inspection, owner: User, clock: SettableClock
) -> None:
    for _ in range(2):
        world.inspection(owner, status="canceled")
    assert run(app, "retention").startswith("0 inspections from before ")
    clock.forward(days=2)
    *lines, total = run(app, "retention", "--days", "1").splitlines()
    assert [line.split(":")[0] for line in lines] == [f"inspection {row.id}" for row in world.all(Inspection)]
    assert total.startswith("3 inspections from before 2024-03-16T10:30:00.000Z, with 1 of FormFill, 1 of Attachment")
    assert len(world.all(Inspection)) == 3


def test_it_goes_over_all_pages(
    app: Flask, world: World, owner: User, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PIECE", 2)
    for status in ("canceled", "completed", "pending", "completed", "canceled", "completed"):
        world.inspection(owner, status=status)
    clock.forward(minutes=1)
    assert remove_now(app) == 5
    assert [row.status for row in world.all(Inspection)] == ["pending"]
