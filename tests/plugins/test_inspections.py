"""`inspection`: the contract of every handler, then this handler's own behaviour (contract, section 3.3)."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import STATUSES, Inspection, User
from app.plugin_api import Row, SyncHandler
from app.testing import HandlerContract, push
from plugins.inspections import handler
from tests.conftest import World
from tests.support.cases import cases


class TestInspection(HandlerContract):
    handler: ClassVar[SyncHandler] = handler

    def target(self, world: World, inspection: Inspection) -> Row:
        return inspection

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        return {"id": target.id, "status": "in_progress", "notes": f"Note {number}"}

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        return {"client_id": str(UUID(int=number)), "date": "2024-03-15", "form_template_ids": [1]}

    @pytest.fixture(autouse=True)
    def _template(self, world: World) -> None:
        """The template that `creation` names: the first of a fresh database."""
        world.template()


def item(inspection: Inspection, **payload: Any) -> dict[str, Any]:
    return {"type": "inspection", "local_id": str(payload), "data": {"id": inspection.id, **payload}}


def stored(world: World, inspection: Inspection) -> tuple[str, str | None]:
    row = world.get(Inspection, inspection.id)
    return row.status, row.notes


@cases("status", STATUSES)
def test_each_status_is_taken(world: World, device: FlaskClient, inspection: Inspection, status: str) -> None:
    (entry,) = push(device, item(inspection, status=status))["success"]
    assert entry["message"] == "Inspection updated successfully"
    assert entry["data"] == {"status": status, "notes": None}
    assert stored(world, inspection) == (status, None)


@cases("status", ["Completed", "done", "cancelled", "", None, 1, ["pending"]])
def test_any_other_status_is_invalid_and_named(
    world: World, device: FlaskClient, inspection: Inspection, status: Any
) -> None:
    (entry,) = push(device, item(inspection, status=status, notes="kept out"))["errors"]
    assert entry["code"] == "invalid"
    assert list(entry["details"]) == ["status"]
    assert stored(world, inspection) == ("pending", None)


def test_neither_status_nor_notes_is_invalid(device: FlaskClient, inspection: Inspection) -> None:
    for payload in ({}, {"updated_at": to_wire(inspection.updated_at)}, {"resolve_strategy": "merge"}):
        (entry,) = push(device, item(inspection, **payload))["errors"]
        assert (entry["code"], entry["error"]) == ("invalid", "Invalid payload")


def test_absent_keys_stay_as_they_are(world: World, device: FlaskClient, inspection: Inspection) -> None:
    push(device, item(inspection, status="in_progress", notes="Pump is loud"))
    push(device, item(inspection, status="completed"))
    assert stored(world, inspection) == ("completed", "Pump is loud")
    push(device, item(inspection, notes="Pump is mended"))
    assert stored(world, inspection) == ("completed", "Pump is mended")


def test_notes_can_be_emptied(world: World, device: FlaskClient, inspection: Inspection) -> None:
    push(device, item(inspection, notes="Pump is loud"))
    (entry,) = push(device, item(inspection, notes=None))["success"]
    assert entry["data"]["notes"] is None
    assert stored(world, inspection) == ("pending", None)


def test_a_device_changes_nothing_but_status_and_notes(
    world: World, device: FlaskClient, inspection: Inspection, tech: User
) -> None:
    forbidden: dict[str, Any] = {
        "owner_id": tech.id, "assignee_id": None, "date": "2030-01-01", "job": "x", "property": {}, "customer": {},
        "created_at": "2024-01-01T00:00:00.000Z", "form_template_id": 1, "inspection_id": 1,
    }  # fmt: skip
    for name, value in forbidden.items():
        (entry,) = push(device, item(inspection, status="completed", **{name: value}))["errors"]
        assert list(entry["details"]) == [name]
    row = world.get(Inspection, inspection.id)
    assert (row.owner_id, row.assignee_id, row.status) == (inspection.owner_id, tech.id, "pending")


def test_a_conflict_shows_status_and_notes_of_both_sides(
    device: FlaskClient, other: FlaskClient, inspection: Inspection
) -> None:
    version = to_wire(inspection.updated_at)
    (theirs,) = push(other, item(inspection, status="canceled", notes="Not needed"))["success"]
    (entry,) = push(device, item(inspection, status="completed", updated_at=version))["conflicts"]
    assert entry == {
        "index": 0,
        "local_id": entry["local_id"],
        "type": "inspection",
        "success": False,
        "conflict": True,
        "server_id": inspection.id,
        "message": "Version conflict detected",
        "conflict_data": {
            "server_version": theirs["updated_at"],
            "local_version": version,
            "server_data": {"status": "canceled", "notes": "Not needed"},
            "local_data": {"status": "completed"},
            "base_data": {"status": "pending", "notes": None},
            "conflicting_fields": ["status"],
        },
    }


def test_status_and_notes_of_two_people_merge(
    world: World, device: FlaskClient, other: FlaskClient, inspection: Inspection
) -> None:
    push(other, item(inspection, notes="Take the side door"))
    sent = {"status": "in_progress", "updated_at": to_wire(inspection.updated_at), "resolve_strategy": "merge"}
    (entry,) = push(device, item(inspection, **sent))["success"]
    assert entry["message"] == "Conflict merged"
    assert entry["data"] == {"status": "in_progress", "notes": "Take the side door"}
    assert stored(world, inspection) == ("in_progress", "Take the side door")


def test_what_is_not_there_is_named_by_its_label(device: FlaskClient) -> None:
    sent = {"type": "inspection", "local_id": "1", "data": {"id": 4711, "status": "completed"}}
    (entry,) = push(device, sent)["errors"]
    assert (entry["code"], entry["error"], entry["retryable"]) == ("not_found", "Inspection not found", False)


def test_a_refusal_names_the_inspection(world: World, device: FlaskClient, owner: User) -> None:
    (entry,) = push(device, item(world.inspection(owner), status="completed"))["errors"]
    assert (entry["code"], entry["error"]) == ("forbidden", "Not authorized to update this inspection")
