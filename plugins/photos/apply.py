"""Applying a `photo_delete` operation."""

from __future__ import annotations

from app.attachments import delete_attachments
from app.plugin_api import Context, Operation, Outcome


def delete_photo(operation: Operation, context: Context) -> Outcome:
    """Delete the named photo, or all photos of the field. If there is none, the operation succeeds all the same."""
    return Outcome(message="Photo deleted", result={"deleted": delete_attachments(operation, context, "photo")})
