"""Applying an `inspection` operation."""

from __future__ import annotations

from typing import Any

from app.models import FormFill
from app.plugin_api import Context, Operation, Outcome, Rejected, Row, edit


def make_or_edit(operation: Operation, context: Context) -> Outcome:
    """Change the inspection, or make one with a form fill for each form template."""
    templates = operation.rows["form_templates"]
    # A create has a date; it comes again as an update, and its form fills are there already.
    is_create = "date" in operation.data
    if is_create and not templates:
        raise _invalid("form_template_ids", "Missing data for required field.")
    if templates and not is_create:
        raise _invalid("form_template_ids", "Only a new inspection takes these; add a form fill by itself.")
    return edit(operation, context) if operation.target is not None else _make(operation, context, templates)


def _make(operation: Operation, context: Context, templates: list[Row]) -> Outcome:
    client_ids = operation.data.get("form_fill_client_ids") or [None] * len(templates)
    if len(client_ids) != len(templates):
        raise _invalid("form_fill_client_ids", "Send one for each form template.")
    values: dict[str, Any] = {**operation.changes, "form_template_id": templates[0].id}
    inspection = context.create(operation.model, None, values)
    for template, client_id in zip(templates, client_ids, strict=True):
        context.create(FormFill, inspection, {"form_template_id": template.id, "client_id": client_id, "data": {}})
    return Outcome(row=inspection)


def _invalid(name: str, message: str) -> Rejected:
    return Rejected("invalid", "Invalid payload", message, details={name: [message]})
