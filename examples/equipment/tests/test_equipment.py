"""The contract of each type, and what only these do."""

from typing import Any
from uuid import uuid4

import pytest
from fieldpost_equipment import (
    annotate_handler,
    check_handler,
    item_handler,
    move_handler,
    retire_handler,
    room_handler,
)
from fieldpost_equipment.models import Check, Item, Room
from flask import Flask

from app.clock import to_wire
from app.models import Attachment, Inspection, LedgerEntry
from app.testing import HandlerContract, Scene, World, push


class TestRoom(HandlerContract):
    handler = room_handler

    def target(self, world: World, inspection: Inspection) -> Any:
        return world.make(Room, inspection.id, name="Attic")

    def payload(self, target: Any, number: int) -> dict[str, Any]:
        return {"id": target.id, "name": f"Room {number}"}

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        return {"inspection_id": inspection.id, "name": f"Room {number}"}


class TestItem(HandlerContract):
    handler = item_handler

    def target(self, world: World, inspection: Inspection) -> Any:
        return world.make(Item, inspection.id, tag=f"T-{len(world.all(Item))}", details={})

    def payload(self, target: Any, number: int) -> dict[str, Any]:
        return {"id": target.id, "details": {"kW": number}}

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        return {"inspection_id": inspection.id, "tag": f"A-{number}"}


class TestMove(HandlerContract):
    handler = move_handler

    def target(self, world: World, inspection: Inspection) -> Any:
        room = world.make(Room, inspection.id, name="Old", item_count=1)
        for number in range(5):
            world.make(Room, inspection.id, name=f"New {number}", item_count=0)
        return world.make(Item, inspection.id, tag=f"T-{room.id}", room_id=room.id, details={})

    def payload(self, target: Any, number: int) -> dict[str, Any]:
        return {"equipment_id": target.id, "to_room_id": target.room_id + 1 + number}


class TestRetire(HandlerContract):
    handler = retire_handler
    allowed = ("admin", "owner")

    def target(self, world: World, inspection: Inspection) -> Any:
        return world.make(Room, inspection.id, name="Old", item_count=0)

    def payload(self, target: Any, number: int) -> dict[str, Any]:
        return {"room_id": target.id}


class TestCheck(HandlerContract):
    handler = check_handler

    def target(self, world: World, inspection: Inspection) -> Any:
        item = world.make(Item, inspection.id, tag=f"T-{len(world.all(Item))}", details={})
        return world.make(Check, inspection.id, item_id=item.id, score=5)

    def payload(self, target: Any, number: int) -> dict[str, Any]:
        return {"id": target.id, "score": number % 10}

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        item = self.world.make(Item, inspection.id, tag=f"C-{number}", details={})
        return {"inspection_id": inspection.id, "item_id": item.id, "score": number % 10}


class TestAnnotate(HandlerContract):
    handler = annotate_handler

    def target(self, world: World, inspection: Inspection) -> Any:
        return world.attachment(world.form_fill(inspection))

    def payload(self, target: Any, number: int) -> dict[str, Any]:
        return {"photo_attachment_id": target.id, "caption": f"Crack {number}"}


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


def test_moving_changes_three_rows_and_answers_all_of_them(scene: Scene) -> None:
    rooms = [scene.world.make(Room, scene.inspection.id, name=name, item_count=1) for name in ("Old", "New")]
    item = scene.world.make(Item, scene.inspection.id, tag="T", room_id=rooms[0].id, details={})
    data = {"equipment_id": item.id, "to_room_id": rooms[1].id}
    move = {"type": "equipment_move", "local_id": str(uuid4()), "data": data}
    (entry,) = push(scene.client("technician"), move)["success"]
    assert (entry["message"], entry["result"]) == ("Equipment moved", {"from": "Old", "to": "New"})
    assert {(each["entity"], each["id"]) for each in entry["also"]} == {("equipment_room", each.id) for each in rooms}
    assert [room.item_count for room in scene.world.all(Room)] == [0, 2]


def test_a_note_on_a_photo_is_merged_key_by_key(scene: Scene) -> None:
    photo = scene.world.attachment(scene.world.form_fill(scene.inspection))
    for data in ({"caption": "A crack"}, {"marks": [{"x": 1}]}):
        sent = {"photo_attachment_id": photo.id, **data}
        item = {"type": "photo_annotate", "local_id": str(uuid4()), "data": sent}
        assert push(scene.client("technician"), item)["success"]
    expected = {"annotate.caption": "A crack", "annotate.marks": [{"x": 1}]}
    assert scene.world.get(Attachment, photo.id).data == expected


def test_a_check_names_equipment_by_the_id_that_the_device_gave_it(scene: Scene) -> None:
    root, item_id, check_id = scene.inspection.id, "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0001", str(uuid4())
    item = {"inspection_id": root, "client_id": item_id, "tag": "A"}
    made = {"inspection_id": root, "client_id": check_id, "item_id": item_id, "score": 3}
    batch = [("equipment", item), ("equipment_check", made), ("equipment_check", {**made, "score": 4})]
    items = [{"type": kind, "local_id": str(uuid4()), "data": data} for kind, data in batch]
    first, second = push(scene.client("technician"), *items)["success"][1:]
    assert first["server_id"] == second["server_id"], "the same check, corrected"
    assert second["data"] == {"score": 4, "tag": "A"}
    data = {"inspection_id": root, "item_id": item_id, "score": 11}
    (entry,) = push(scene.client("technician"), {"type": "equipment_check", "local_id": str(uuid4()), "data": data})[
        "errors"
    ]
    assert (entry["code"], entry["error"]) == ("invalid", "A score goes from 0 to 10")


def test_a_conflict_shows_the_equipment_that_was_checked(scene: Scene) -> None:
    item = scene.world.make(Item, scene.inspection.id, tag="A", details={})
    check = scene.world.make(Check, scene.inspection.id, item_id=item.id, score=5)
    data = {"id": check.id, "score": 6, "updated_at": "2020-01-01T00:00:00.000Z"}
    sent = {"type": "equipment_check", "local_id": str(uuid4()), "payload": data}
    (entry,) = push(scene.client("technician"), sent)["conflicts"]
    assert entry["conflict_data"]["server_data"] == {"score": 5, "tag": "A"}
    assert entry["conflict_data"]["server_item"] == {"id": item.id, "tag": "A"}


def test_the_phone_of_an_erased_keeper_is_gone_and_the_equipment_stays(scene: Scene, app: Flask) -> None:
    root, technician, phone = scene.inspection.id, scene.user("technician"), "+49 30 123456"
    for tag in ("A", "B"):
        data = {"inspection_id": root, "tag": tag, "keeper_phone": phone, "details": {"kW": 12}}
        push(scene.client("technician"), {"type": "equipment", "local_id": str(uuid4()), "data": data})
    kept, passed_on = scene.world.all(Item)
    item = {"type": "equipment", "local_id": "1", "data": {"id": passed_on.id, "keeper_phone": "+34 91 654321"}}
    push(scene.client("owner"), item)
    erased = app.test_cli_runner().invoke(args=["privacy", "erase", technician.email, "--yes"])
    assert erased.exit_code == 0, erased.output
    assert "equipment: emptied the personal fields of 2 rows\n" in erased.output
    items = [(item.keeper_phone, item.details) for item in scene.world.all(Item)]
    assert items == [(None, {"kW": 12}), ("+34 91 654321", {"kW": 12})]
    assert scene.world.get(Item, kept.id).updated_at > kept.updated_at, "devices are told"
    changes = [entry.changes for entry in scene.world.all(LedgerEntry) if entry.entity == "equipment"]
    assert phone not in str(changes)
    assert [change.get("tag") for change in changes if "keeper_phone" in change] == [
        {"new": "A"},
        {"new": "B"},
        None,
        None,
    ]


def test_a_change_on_a_version_before_the_erasure_does_not_bring_the_phone_back(scene: Scene, app: Flask) -> None:
    owner, phone = scene.client("owner"), "+49 30 123456"
    item = scene.world.make(
        Item, scene.inspection.id, tag="A", details={}, keeper_id=scene.user("technician").id, keeper_phone=phone
    )
    app.test_cli_runner().invoke(args=["privacy", "erase", "technician@example.com", "--yes"])
    data = {"id": item.id, "updated_at": to_wire(item.updated_at), "resolve_strategy": "merge"}
    for changes, outcome in (({"tag": "B"}, "success"), ({"keeper_phone": phone + "0"}, "conflicts")):
        sent = {"type": "equipment", "local_id": str(uuid4()), "data": {**data, **changes}}
        assert len(push(owner, sent)[outcome]) == 1, changes
