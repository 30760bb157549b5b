"""Applying a `photo_delete` operation."""

from __future__ import annotations

from app.plugin_api import Context, Operation, Outcome


def delete_photo(operation: Operation, context: Context) -> Outcome:
    """Delete the named photo, or all photos of the field. If there is none, the operation succeeds all the same."""
    field_name, photo_id = operation.data["field_name"], operation.data.get("photo_attachment_id")
    for attachment in operation.rows["attachments"]:
        if attachment.kind == "photo" and attachment.field_name == field_name and photo_id in (None, attachment.id):
            context.delete(attachment)
    return Outcome(message="Photo deleted")
