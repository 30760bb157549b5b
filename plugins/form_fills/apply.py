"""Applying a `form_fill` operation."""

from __future__ import annotations

from app.plugin_api import Context, Operation, Outcome, Rejected, edit


def edit_form_fill(operation: Operation, context: Context) -> Outcome:
    """Change the form fill, or create one below the inspection from a form template."""
    if operation.target is not None:
        return edit(operation, context)
    form_template = operation.rows["form_template"]
    if form_template is None:
        missing = {"form_template_id": ["Missing data for required field."]}
        raise Rejected("invalid", "Invalid payload", "Name the form template to create from.", details=missing)
    values = {"form_template_id": form_template.id, "data": dict(operation.changes)}
    return Outcome(row=context.create(operation.model, operation.parent, values))
