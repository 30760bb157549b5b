"""Inspections: the roots of everything that a device syncs. They decide who may see it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Date, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship, synonym

from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.types import KEEP_IDS_AND_ROOM, BigId, JSONValue
from app.core.values import JsonObject
from app.models.base import Versioned, choice_constraint
from app.models.form_templates import FormTemplate
from app.plugin_api import Entity, Label

#: The values of `status` (contract, section 3.3), and those that count as pending in section 5.
STATUSES = ("pending", "in_progress", "completed", "canceled")
PENDING_STATUSES = ("pending", "in_progress")

#: Those after which nothing is left to do.
FINISHED_STATUSES = ("completed", "canceled")

#: The columns that hold objects, and the objects' keys (contract, section 8).
OBJECTS = {
    "property": ("property_name", "address", "city", "zip_code"),
    "customer": ("name", "email", "phone_1", "phone_2"),
}

#: The character between two texts of `InspectionTexts`, as migration 0019 has it: the separator of units.
BETWEEN_TEXTS = "\x1f"

#: The fields that a device may change, and that a conflict shows.
SYNCED_FIELDS = ("status", "notes")

#: Those of an inspection that a device has made: its create may come again with other content.
MADE_FIELDS = (*SYNCED_FIELDS, "date", "system_category", "interval_category", "job", *OBJECTS)


def inspection_record(inspection: Inspection) -> JsonObject:
    """An inspection as it goes to a device (contract, section 6)."""
    template = inspection.form_template
    return {
        "id": inspection.id,
        "client_id": inspection.client_id,
        "date": inspection.date.isoformat(),
        "notes": inspection.notes,
        "status": inspection.status,
        "system_category": inspection.system_category,
        "interval_category": inspection.interval_category,
        "job": inspection.job,
        "owner_id": inspection.owner_id,
        "assignee_id": inspection.assignee_id,
        "created_at": to_wire(inspection.created_at),
        "updated_at": to_wire(inspection.updated_at),
        "property": inspection.property,
        "customer": inspection.customer,
        "form_template": template and {"id": template.id, "name": template.name},
    }


def exposed_fields(inspection: Inspection, fields: JsonObject) -> JsonObject:
    """The fields of an inspection that answers to a batch show (contract, section 3.3)."""
    return {name: fields[name] for name in (SYNCED_FIELDS if inspection.client_id is None else MADE_FIELDS)}


def title_of_inspection(inspection: Inspection) -> str:
    """The name of the property, otherwise its address, otherwise the day of the inspection."""
    place = inspection.property or {}
    return place.get("property_name") or place.get("address") or f"Inspection of {inspection.date.isoformat()}"


def labels_of_inspection(_inspection: Inspection) -> list[Label]:
    """The columns that people see of an inspection, beside its owner and assignee."""
    statuses = [(status, status.replace("_", " ")) for status in STATUSES]
    return [
        Label(name="status", label="Status", kind="choice", options=statuses),
        Label(name="date", label="Date", kind="date"),
        Label(name="interval_category", label="Interval"),
        Label(name="system_category", label="System"),
        Label(name="job", label="Job"),
        Label(name="property", label="Property"),
        Label(name="customer", label="Customer", private=True),
        Label(name="notes", label="Notes"),
    ]


class Inspection(Versioned, db.Model):  # type: ignore[name-defined, misc]
    """One visit to a property. Its owner and its assigned technician may read and change it (section 2)."""

    __tablename__ = "inspections"
    __table_args__ = (
        choice_constraint("status", STATUSES),
        Index("uq_inspections_client_id", "client_id", unique=True),
        # For lists by date, and of inspections that are due.
        Index(None, "date", "id"),
        Index(None, "status", "date", "id"),
        # For lists of those with one status.
        Index(None, "status", "id"),
        KEEP_IDS_AND_ROOM,
    )
    __entity__ = Entity(
        name="inspection",
        label="Inspection",
        noun="inspection",
        identity=(),
        loads=("form_template",),
        record=inspection_record,
        expose=exposed_fields,
        title=title_of_inspection,
        labels=labels_of_inspection,
        counted="total_inspections",
        constraints={"uq_inspections_client_id": "client_id is taken"},
    )

    # These two stand before the columns, since a column named `property` hides the decorator from then on.
    @property
    def inspection(self) -> Inspection:
        """An inspection is its own root."""
        return self

    @property
    def viewer_ids(self) -> set[int]:
        """The users, beside administrators, who have sight of it. The ledger records who gains and loses it."""
        return {user_id for user_id in (self.owner_id, self.assignee_id) if user_id is not None}

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    #: The UUID that the device made, in lower case; None where the office made the inspection.
    client_id: Mapped[str | None] = mapped_column(String(36))
    date: Mapped[dt.date] = mapped_column(Date)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    notes: Mapped[str | None] = mapped_column(Text)
    system_category: Mapped[str | None] = mapped_column(String(255))
    interval_category: Mapped[str | None] = mapped_column(String(255))
    job: Mapped[str | None] = mapped_column(String(255))
    property: Mapped[JsonObject | None] = mapped_column(JSONValue)
    customer: Mapped[JsonObject | None] = mapped_column(JSONValue)
    #: The first of the templates that it was created with; its name heads the offline package.
    form_template_id: Mapped[int | None] = mapped_column(ForeignKey("form_templates.id"))
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)

    form_template: Mapped[FormTemplate | None] = relationship(lazy="raise_on_sql", viewonly=True)

    #: An inspection is its own root, so that policies and the ledger treat all rows alike.
    inspection_id: Mapped[int] = synonym("id")


class InspectionTexts(db.Model):  # type: ignore[name-defined, misc]
    """The texts of an inspection in which lists search, apart from its other columns, so that to read all takes little.

    Triggers of the database keep them (migration 0019), whoever writes the inspection. No code writes them.
    """

    __tablename__ = "inspection_texts"

    inspection_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    #: The customer's name; on PostgreSQL in lower case, as all texts.
    customer: Mapped[str] = mapped_column(Text)
    #: The customer's name, the notes, the job, the property's name and its address, with `BETWEEN_TEXTS` between them.
    texts: Mapped[str] = mapped_column(Text)
