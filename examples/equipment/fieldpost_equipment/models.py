"""The plugin's tables."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import to_wire
from app.models import KEEP_IDS, JSONValue, Syncable, db
from app.plugin_api import Entity, Label


class Room(Syncable, db.Model):
    """A room, which knows how many things are in it."""

    __tablename__ = "equipment_rooms"
    __table_args__ = (KEEP_IDS,)
    __entity__ = Entity(name="equipment_room", label="Room", noun="room")

    name: Mapped[str] = mapped_column(String(64))
    item_count: Mapped[int] = mapped_column(default=0)


def title_of_item(item: Any) -> str:
    """How people call a piece of equipment."""
    return f"Equipment {item.tag}"


def labels_of_item(item: Any) -> list[Label]:
    """The tag, a private value, and below a heading the details in the order in which they were noted."""
    details = [Label(name=name, label=name.title(), section="Details") for name in item.details]
    phone = Label(name="keeper_phone", label="Keeper's phone", private=True)
    return [Label(name="tag", label="Tag"), phone, *details]


class Item(Syncable, db.Model):
    """A piece of equipment; what it is made of is merged key by key."""

    __tablename__ = "equipment_items"
    __table_args__ = (UniqueConstraint("inspection_id", "tag"), KEEP_IDS)
    __entity__ = Entity(
        name="equipment",
        label="Equipment",
        noun="piece of equipment",
        document="details",
        counted="total_equipment",
        title=title_of_item,
        labels=labels_of_item,
        panel="equipment/item.html",
        personal={"keeper_id": {"keeper_phone": None}},
        constraints={
            "uq_equipment_items_inspection_id_tag": "This tag is on another piece of equipment",
            "uq_equipment_items_client_id": "client_id is taken",
        },
    )

    client_id: Mapped[str | None] = mapped_column(String(36), unique=True)
    tag: Mapped[str] = mapped_column(String(64))
    room_id: Mapped[int | None] = mapped_column(ForeignKey("equipment_rooms.id"))
    keeper_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    keeper_phone: Mapped[str | None] = mapped_column(String(32))
    details: Mapped[dict[str, Any]] = mapped_column(JSONValue, default=dict)


def record_of_check(check: Any) -> dict[str, Any]:
    """As devices get it: with the tag, so that a list of checks can be shown by itself."""
    return {
        "id": check.id,
        "client_id": check.client_id,
        "inspection_id": check.inspection_id,
        "item_id": check.item_id,
        "tag": check.item.tag,
        "score": check.score,
        "updated_at": to_wire(check.updated_at),
    }


def with_tag(check: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """In answers the same."""
    return fields | {"tag": check.item.tag}


def checked_item(check: Any) -> dict[str, Any]:
    """What a device needs to show a conflict."""
    return {"server_item": {"id": check.item.id, "tag": check.item.tag}}


class Check(Syncable, db.Model):
    """How good somebody found a piece of equipment to be."""

    __tablename__ = "equipment_checks"
    __table_args__ = (CheckConstraint("score BETWEEN 0 AND 10", name="score"), KEEP_IDS)
    __entity__ = Entity(
        name="equipment_check",
        label="Check",
        noun="check",
        # It never changes, and devices get it with the record.
        unrecorded=("item_id",),
        identity=("inspection_id", "item_id"),
        loads=("item",),
        record=record_of_check,
        expose=with_tag,
        conflict=checked_item,
        constraints={
            "ck_equipment_checks_score": "A score goes from 0 to 10",
            "uq_equipment_checks_client_id": "client_id is taken",
        },
    )

    client_id: Mapped[str | None] = mapped_column(String(36), unique=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("equipment_items.id", ondelete="CASCADE"))
    score: Mapped[int]

    item: Mapped[Item] = relationship(lazy="raise_on_sql", viewonly=True)
