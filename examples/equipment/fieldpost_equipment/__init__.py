"""Rooms and the equipment in them: what this distribution brings to Fieldpost."""

from typing import Any

from app import policies
from app.models import Attachment, Inspection
from app.plugin_api import ActingUser, MenuEntry, Pages, Plugin, SyncHandler, by_id, children, edit, via
from fieldpost_equipment.apply import check, move, record_item, retire
from fieldpost_equipment.commands import collect, commands
from fieldpost_equipment.models import Check, Item, Room
from fieldpost_equipment.pages import blueprint as pages
from fieldpost_equipment.routes import blueprint
from fieldpost_equipment.schema import CheckSchema, ItemSchema, NoKeysSchema, NoteSchema, RoomSchema, fields_to_set

plugin = Plugin(
    name="equipment",
    api_version=1,
    migrations="fieldpost_equipment.migrations",
    blueprint=blueprint,
    pages=Pages(blueprint=pages, menu=(MenuEntry(label="Equipment", endpoint="equipment_pages.items"),)),
    settings={"most_details": 3, "journal": ""},
    cli=commands,
    collect=collect,
)


def may_retire(user: ActingUser, row: Any) -> bool:
    """The owner of the inspection and administrators, not whoever is sent there."""
    return policies.is_admin(user) or (policies.change(user, row) and row.inspection.owner_id == user.id)


below_inspection = by_id(Inspection, "inspection_id")

room_handler = SyncHandler(
    type="equipment_room",
    schema=RoomSchema,
    target=by_id(Room, parent=below_inspection),
    policy=policies.change,
    apply=edit,
    examples=(
        {
            "type": "equipment_room",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0109",
            "data": {"inspection_id": 1, "name": "Boiler room"},
        },
    ),
)

item_handler = SyncHandler(
    type="equipment",
    aliases=("equipment_item",),
    schema=ItemSchema,
    target=by_id(Item, parent=below_inspection),
    rows={"room": by_id(Room, "room_id", optional=True)},
    policy=policies.change,
    changes=fields_to_set,
    apply=record_item,
    label="Equipment recorded",
    examples=(
        {
            "type": "equipment",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d010a",
            "data": {"inspection_id": 1, "tag": "A-1", "details": {"kW": 12}},
        },
        {
            "type": "equipment",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d010b",
            "data": {"id": 1, "details": {"kW": 13}},
        },
    ),
)

move_handler = SyncHandler(
    type="equipment_move",
    schema=NoKeysSchema,
    target=by_id(Item, "equipment_id"),
    rows={"old": via(Room, column="room_id"), "new": by_id(Room, "to_room_id")},
    policy=policies.change,
    changes=lambda _data: {},
    apply=move,
    examples=(
        {
            "type": "equipment_move",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d010c",
            "data": {"equipment_id": 1, "to_room_id": 2},
        },
    ),
)

retire_handler = SyncHandler(
    type="equipment_retire",
    schema=NoKeysSchema,
    target=by_id(Room, "room_id"),
    rows={"items": children(Item, column="room_id")},
    policy=may_retire,
    apply=retire,
    versioned=False,
    examples=(
        {
            "type": "equipment_retire",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d010d",
            "data": {"room_id": 1},
        },
    ),
)

check_handler = SyncHandler(
    type="equipment_check",
    schema=CheckSchema,
    data_keys=("data", "payload"),
    target=by_id(Check, parent=below_inspection),
    reads={"item": by_id(Item, "item_id", optional=True)},
    policy=policies.change,
    apply=check,
    examples=(
        {
            "type": "equipment_check",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d010e",
            "data": {"inspection_id": 1, "item_id": 1, "score": 7},
        },
    ),
)

annotate_handler = SyncHandler(
    type="photo_annotate",
    schema=NoteSchema,
    target=by_id(Attachment, "photo_attachment_id"),
    policy=policies.change,
    changes=lambda data: {f"annotate.{key}": value for key, value in data.items()},
    apply=edit,
    examples=(
        {
            "type": "photo_annotate",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d010f",
            "data": {"photo_attachment_id": "…", "caption": "A crack"},
        },
    ),
)
