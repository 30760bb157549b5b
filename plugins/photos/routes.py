"""`POST /sync/upload_photo` (contract, section 4)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from app.attachments import UPLOAD_ERRORS, store_upload, upload_answer, upload_form
from app.web import described

blueprint = Blueprint("photos", __name__)


@blueprint.post("/sync/upload_photo")
@described(form=upload_form("photo"), answer=upload_answer("photo_attachment_id"), errors=UPLOAD_ERRORS)
def upload_photo() -> Response:
    """Store a photo: multipart `form_fill_id`, `field_name`, `photo`, and `local_id`, which makes a retry safe."""
    stored = store_upload(request, part="photo", kind="photo")
    return jsonify(stored.body("photo_attachment_id", "Photo uploaded successfully"))
