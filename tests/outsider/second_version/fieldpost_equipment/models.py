"""The plugin's tables."""

from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models import KEEP_IDS, JSONValue, Syncable, db
from app.plugin_api import Entity


class Room(Syncable, db.Model):
    """A room, which knows how many things are in it."""

    __tablename__ = "equipment_rooms"
    __table_args__ = (KEEP_IDS,)
    __entity__ = Entity(name="equipment_room", label="Room", noun="room", fields=("name", "item_count"))

    name: Mapped[str] = mapped_column(String(64))
    item_count: Mapped[int] = mapped_column(default=0)


class Item(Syncable, db.Model):
    """A piece of equipment; what it is made of is merged key by key."""

    __tablename__ = "equipment_items"
    __table_args__ = (UniqueConstraint("inspection_id", "tag"), KEEP_IDS)
    __entity__ = Entity(
        name="equipment",
        label="Equipment",
        noun="piece of equipment",
        fields=("tag", "serial", "room_id"),
        document="details",
        counted="total_equipment",
        constraints={
            "uq_equipment_items_inspection_id_tag": "This tag is on another piece of equipment",
            "uq_equipment_items_client_id": "client_id is taken",
        },
    )

    client_id: Mapped[str | None] = mapped_column(String(36), unique=True)
    tag: Mapped[str] = mapped_column(String(64))
    serial: Mapped[str | None] = mapped_column(String(64))
    room_id: Mapped[int | None] = mapped_column(ForeignKey("equipment_rooms.id"))
    details: Mapped[dict[str, Any]] = mapped_column(JSONValue, default=dict)
