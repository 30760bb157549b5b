"""Photos and signatures for pages: the cookie never opens the API, so they have an address of their own here."""

from __future__ import annotations

from flask import Response, request
from sqlalchemy import select

from app import policies
from app.attachments import send_attachment
from app.errors import NotFoundError
from app.models import Attachment, Inspection, db
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint


@blueprint.get("/pictures/<attachment_id>")
def picture(attachment_id: str) -> Response:
    """A photo or a signature as it was sent, or with `small` in the address as a thumbnail."""
    statement = select(Attachment).join(Inspection, Inspection.id == Attachment.inspection_id)
    conditions = (Attachment.id == attachment_id[:36], Attachment.deleted_at.is_(None))
    attachment = db.session.scalar(statement.where(*conditions, policies.visible(signed_in_user())))
    if attachment is None:
        raise NotFoundError("There is no such picture that you may see")
    variant = "thumbnail" if "small" in request.args else None
    response = send_attachment(request, attachment, variant, from_here=True)
    # The browser asks each time whether somebody is still signed in, and is then told that it has the bytes.
    response.headers["Cache-Control"] = "private, no-cache"
    return response
