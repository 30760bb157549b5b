"""Form templates: added once, never changed (contract, section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.accounts.administrators import require_still_admin
from app.clock import to_wire
from app.core.ledger.record import Origin, Recorder, record
from app.models import FormTemplate


def describe_template(template: FormTemplate) -> dict[str, Any]:
    """A form template with its structure."""
    return {
        "id": template.id,
        "name": template.name,
        "form_structure": template.form_structure,
        "created_at": to_wire(template.created_at),
        "updated_at": to_wire(template.updated_at),
    }


def add_template(origin: Origin, values: Mapping[str, Any]) -> FormTemplate:
    """A new form template from `name` and `form_structure`."""

    def work(recorder: Recorder) -> FormTemplate:
        require_still_admin(recorder)
        created: FormTemplate = recorder.create(FormTemplate, values)
        return created

    return record("form_template_create", origin, work)
