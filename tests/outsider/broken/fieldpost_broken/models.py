"""Models that do not fit."""

from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models import KEEP_IDS, Inspection, JSONValue, Syncable, db
from app.plugin_api import Entity


def entity(name: str, **more: Any) -> Entity:
    return Entity(name=name, label="Thing", noun="thing", **more)


class Stray(Syncable, db.Model):
    __tablename__ = "stray"
    __table_args__ = (KEEP_IDS,)
    __entity__ = entity("stray")


class Unmigrated(Syncable, db.Model):
    __tablename__ = "broken_unmigrated"
    __table_args__ = (KEEP_IDS,)
    __entity__ = entity("broken_unmigrated")


class Forgetful(Syncable, db.Model):
    __tablename__ = "healthy_forgetful"
    __entity__ = entity("broken_forgetful")


class Blocking(Syncable, db.Model):
    __tablename__ = "healthy_blocking"
    __table_args__ = (KEEP_IDS,)
    __entity__ = entity("broken_blocking")

    inspection_id: Mapped[int] = mapped_column(ForeignKey(Inspection.id))


class LongIds(Syncable, db.Model):
    __tablename__ = "healthy_long_ids"
    __entity__ = entity("broken_long_ids")

    id: Mapped[str] = mapped_column(String(64), primary_key=True)


class Muddled(Syncable, db.Model):
    __tablename__ = "healthy_muddled"
    __table_args__ = (KEEP_IDS,)
    __entity__ = entity(
        "Muddled Name",
        unrecorded=("colour",),
        document="name",
        loads=("friends",),
        record=lambda: {},
        title="Muddled",
        labels=lambda: (),
        panel="muddled.txt",
        personal={"price": {"name": None}, "nobody": {"id": 0}},
        constraints={"uq_nothing": "Taken"},
    )

    name: Mapped[str]
    price: Mapped[Decimal]


class Imposter(Syncable, db.Model):
    __tablename__ = "healthy_imposter"
    __table_args__ = (KEEP_IDS,)
    __entity__ = entity("form_fill", counted="last_sync", personal=("name",))


class Careless(db.Model):
    __tablename__ = "healthy_careless"
    __table_args__ = (KEEP_IDS,)
    __entity__ = entity("broken_careless")

    id: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[dict] = mapped_column(JSONValue)


class Plain(db.Model):
    __tablename__ = "healthy_plain"
    __table_args__ = (KEEP_IDS,)

    id: Mapped[int] = mapped_column(primary_key=True)
