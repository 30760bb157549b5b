"""Applying a `signature_delete` operation."""

from __future__ import annotations

from app.plugin_api import Context, Operation, Outcome


def delete_signature(operation: Operation, context: Context) -> Outcome:
    """Delete the field's signature. If there is none, the operation succeeds all the same."""
    for attachment in operation.rows["attachments"]:
        if attachment.kind == "signature" and attachment.field_name == operation.data["field_name"]:
            context.delete(attachment)
    return Outcome(message="Signature deleted")
