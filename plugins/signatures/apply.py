"""Applying a `signature_delete` operation."""

from __future__ import annotations

from app.attachments import delete_attachments
from app.plugin_api import Context, Operation, Outcome


def delete_signature(operation: Operation, context: Context) -> Outcome:
    """Delete the named signature, or the field's. If there is none, the operation succeeds all the same."""
    return Outcome(message="Signature deleted", result={"deleted": delete_attachments(operation, context, "signature")})
