"""Form templates: which fields a form has. They never change; a new version is a new template."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.types import KEEP_IDS, BigId, JSONValue
from app.core.values import JsonObject
from app.models.base import Versioned
from app.plugin_api import Entity


def form_template_record(template: FormTemplate) -> JsonObject:
    """A form template with its structure."""
    return {
        "id": template.id,
        "name": template.name,
        "form_structure": template.form_structure,
        "created_at": to_wire(template.created_at),
        "updated_at": to_wire(template.updated_at),
    }


class FormTemplate(Versioned, db.Model):  # type: ignore[name-defined, misc]
    """A named list of fields, `[{"name", "type", …}]`; `app/administration/schemas.py` has their other keys."""

    __tablename__ = "form_templates"
    __table_args__ = (KEEP_IDS,)
    __entity__ = Entity(
        name="form_template",
        label="FormTemplate",
        noun="form template",
        identity=(),
        record=form_template_record,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    form_structure: Mapped[list[JsonObject]] = mapped_column(JSONValue)
