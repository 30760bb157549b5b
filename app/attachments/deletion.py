"""Deleting the attachments of a field, for the operation types that do so (contract, section 3.3)."""

from __future__ import annotations

from app.errors import Rejected
from app.plugin_api import Context, Operation


def delete_attachments(operation: Operation, context: Context, kind: str) -> int:
    """Delete the attachments of `kind` in the payload's `field_name`, and return how many there were.

    With `<kind>_attachment_id` in the payload it is that one alone; if it is gone already, it is none. The operation's
    `attachments` are those of the form fill. Raises `Rejected` (`not_found`) if the id belongs to another field.
    """
    field_name, attachment_id = operation.data["field_name"], operation.data.get(f"{kind}_attachment_id")
    deleted = 0
    for attachment in operation.rows["attachments"]:
        is_here = attachment.kind == kind and attachment.field_name == field_name
        if attachment_id in (None, attachment.id) and is_here:
            context.delete(attachment)
            deleted += 1
        elif attachment_id == attachment.id:
            message = f"The id belongs to a {attachment.kind} of another field. Correct the field or the id."
            raise Rejected("not_found", "Attachment not found", message)
    return deleted
