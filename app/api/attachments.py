"""`GET /attachments/:id`: the bytes of a photo or signature (contract, section 4)."""

from __future__ import annotations

from flask import Blueprint, Response, request
from sqlalchemy import select

from app import policies
from app.attachments import send_attachment
from app.errors import InvalidError, NotFoundError
from app.extensions import db
from app.models import Attachment, Inspection
from app.web import signed_in_user

blueprint = Blueprint("attachments", __name__)

#: What `?variant=` may be; without it the stored bytes are sent.
VARIANTS = (None, "thumbnail")


@blueprint.get("/attachments/<attachment_id>")
def get_attachment(attachment_id: str) -> Response:
    """The stored bytes, or with `?variant=thumbnail` a small JPEG; ranges and ETags as in RFC 9110."""
    variant = request.args.get("variant")
    if variant not in VARIANTS:
        raise InvalidError(extra={"details": {"variant": ["Must be thumbnail, or not sent."]}})
    attachment = _visible(attachment_id)
    # No connection is held while the bytes are sent.
    db.session.remove()
    return send_attachment(request, attachment, variant)


def _visible(attachment_id: str) -> Attachment:
    """The attachment, unless it is deleted or below an inspection that the user may not see."""
    statement = (
        select(Attachment)
        .join(Inspection, Inspection.id == Attachment.inspection_id)
        .where(Attachment.id == attachment_id, Attachment.deleted_at.is_(None), policies.visible(signed_in_user()))
    )
    found: Attachment | None = None if "\0" in attachment_id else db.session.scalar(statement)
    if found is None:
        raise NotFoundError("Attachment not found")
    return found
