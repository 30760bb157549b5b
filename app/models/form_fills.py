"""Form fills: the filled forms of an inspection."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.rows import set_in_memory
from app.core.database.types import KEEP_IDS_AND_ROOM, JSONValue
from app.core.values import JsonObject
from app.models.attachments import Attachment
from app.models.base import Syncable
from app.models.form_labels import StructureLabels
from app.models.form_templates import FormTemplate
from app.plugin_api import Entity, Label


def attachment_keys(form_fill: FormFill) -> JsonObject:
    """The server's keys (contract, section 4): a list of ids for each photo field, one id for a signature."""
    keys: JsonObject = {}
    for attachment in form_fill.attachments:
        name = f"{attachment.field_name}_{attachment.kind}_attachment_id"
        if attachment.kind == "photo":
            keys.setdefault(name, []).append(attachment.id)
        else:
            keys[name] = attachment.id
    return keys


def exposed_data(form_fill: FormFill, fields: JsonObject) -> JsonObject:
    """A form fill's data as they leave the server, attachment keys included."""
    return fields | attachment_keys(form_fill)


def title_of_form(form_fill: FormFill) -> str:
    """The name of the form template."""
    return form_fill.form_template.name


def labels_of_form(form_fill: FormFill) -> list[Label]:
    """The labels of the template's structure, and those of further values."""
    return _structure_labels(form_fill.form_template).of(exposed_data(form_fill, form_fill.data))


def _structure_labels(template: FormTemplate) -> StructureLabels:
    """The labels of the template's structure, which many form fills in memory share."""
    known: StructureLabels | None = vars(template).get("structure_labels")
    if known is None:
        known = StructureLabels(template.form_structure)
        set_in_memory(template, {"structure_labels": known})
    return known


def conflict_details(form_fill: FormFill) -> JsonObject:
    """The keys that a device needs beside the data to show a conflict (contract, section 3.1)."""
    return {"server_form_structure": form_fill.form_template.form_structure}


def form_fill_record(form_fill: FormFill) -> JsonObject:
    """A form fill as it goes to a device (contract, section 6).

    It carries the structure of its form template only if that was loaded: the feed tells of templates by themselves.
    """
    record = {
        "id": form_fill.id,
        "client_id": form_fill.client_id,
        "inspection_id": form_fill.inspection_id,
        "form_template_id": form_fill.form_template_id,
        "data": exposed_data(form_fill, form_fill.data),
        "created_at": to_wire(form_fill.created_at),
        "updated_at": to_wire(form_fill.updated_at),
    }
    template = vars(form_fill).get("form_template")
    return record if template is None else {**record, "form_structure": template.form_structure}


class FormFill(Syncable, db.Model):  # type: ignore[name-defined, misc]
    """One filled form. Its first version is `created_at`."""

    __tablename__ = "form_fills"
    __table_args__ = (
        # With the inspection: SQLite would otherwise read all forms of a template for each inspection of a list.
        Index(None, "form_template_id", "inspection_id"),
        KEEP_IDS_AND_ROOM,
    )
    __entity__ = Entity(
        name="form_fill",
        label="FormFill",
        noun="form",
        unrecorded=("form_template_id",),
        document="data",
        identity=("inspection_id", "form_template_id"),
        loads=("attachments", "form_template"),
        record=form_fill_record,
        expose=exposed_data,
        conflict=conflict_details,
        title=title_of_form,
        labels=labels_of_form,
        counted="total_form_fills",
        constraints={"uq_form_fills_client_id": "client_id is taken"},
    )

    #: Without a cascade: the core is never uninstalled, and a form fill goes through the ledger or not at all.
    inspection_id: Mapped[int] = mapped_column(ForeignKey("inspections.id"), index=True)
    #: The UUID that the device made, in lower case; None where the office made the form.
    client_id: Mapped[str | None] = mapped_column(String(36), unique=True)
    form_template_id: Mapped[int] = mapped_column(ForeignKey("form_templates.id"))
    data: Mapped[JsonObject] = mapped_column(JSONValue, default=dict)

    form_template: Mapped[FormTemplate] = relationship(lazy="raise_on_sql", viewonly=True)
    #: The live ones, in order of upload.
    attachments: Mapped[list[Attachment]] = relationship(
        primaryjoin="and_(foreign(Attachment.form_fill_id) == FormFill.id, Attachment.deleted_at.is_(None))",
        order_by="Attachment.position",
        lazy="raise_on_sql",
        viewonly=True,
    )
