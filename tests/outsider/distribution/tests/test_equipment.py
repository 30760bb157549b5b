"""The contract of each type, and what only these do."""

import pytest
from fieldpost_equipment import annotate_handler, item_handler, move_handler, retire_handler, room_handler
from fieldpost_equipment.models import Item, Room

from app.models import Attachment
from app.testing import HandlerContract, Scene, push


class TestRoom(HandlerContract):
    handler = room_handler

    def target(self, world, inspection):
        return world.make(Room, inspection.id, name="Attic")

    def payload(self, target, number):
        return {"id": target.id, "name": f"Room {number}"}

    def creation(self, inspection, number):
        return {"inspection_id": inspection.id, "name": f"Room {number}"}


class TestItem(HandlerContract):
    handler = item_handler

    def target(self, world, inspection):
        return world.make(Item, inspection.id, tag=f"T-{len(world.all(Item))}", details={})

    def payload(self, target, number):
        return {"id": target.id, "details": {"kW": number}}

    def creation(self, inspection, number):
        return {"inspection_id": inspection.id, "tag": f"A-{number}"}


class TestMove(HandlerContract):
    handler = move_handler

    def target(self, world, inspection):
        room = world.make(Room, inspection.id, name="Old", item_count=1)
        for number in range(25):
            world.make(Room, inspection.id, name=f"New {number}", item_count=0)
        return world.make(Item, inspection.id, tag=f"T-{room.id}", room_id=room.id, details={})

    def payload(self, target, number):
        return {"equipment_id": target.id, "to_room_id": target.room_id + 1 + number}


class TestRetire(HandlerContract):
    handler = retire_handler

    def target(self, world, inspection):
        return world.make(Room, inspection.id, name="Old", item_count=0)

    def payload(self, target, number):
        return {"room_id": target.id}


class TestAnnotate(HandlerContract):
    handler = annotate_handler

    def target(self, world, inspection):
        return world.attachment(world.form_fill(inspection))

    def payload(self, target, number):
        return {"photo_attachment_id": target.id, "caption": f"Crack {number}"}


@pytest.fixture
def scene(app):
    return Scene(app)


def test_moving_changes_three_rows_and_answers_all_of_them(scene):
    rooms = [scene.world.make(Room, scene.inspection.id, name=name, item_count=1) for name in ("Old", "New")]
    item = scene.world.make(Item, scene.inspection.id, tag="T", room_id=rooms[0].id, details={})
    data = {"equipment_id": item.id, "to_room_id": rooms[1].id}
    move = {"type": "equipment_move", "local_id": "1", "data": data}
    (entry,) = push(scene.client("technician"), move)["success"]
    assert (entry["message"], entry["result"]) == ("Equipment moved", {"from": "Old", "to": "New"})
    assert {(each["entity"], each["id"]) for each in entry["also"]} == {("equipment_room", each.id) for each in rooms}
    assert [room.item_count for room in scene.world.all(Room)] == [0, 2]


def test_a_note_on_a_photo_is_merged_key_by_key(scene):
    photo = scene.world.attachment(scene.world.form_fill(scene.inspection))
    for local_id, data in (("1", {"caption": "A crack"}), ("2", {"marks": [{"x": 1}]})):
        item = {"type": "photo_annotate", "local_id": local_id, "data": {"photo_attachment_id": photo.id, **data}}
        assert push(scene.client("technician"), item)["success"]
    expected = {"annotate.caption": "A crack", "annotate.marks": [{"x": 1}]}
    assert scene.world.get(Attachment, photo.id).data == expected
