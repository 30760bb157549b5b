"""`POST /sync/upload_photo` (contract, section 4)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from app.attachments import store_upload

blueprint = Blueprint("photos", __name__)


@blueprint.post("/sync/upload_photo")
def upload_photo() -> Response:
    """Store a photo: multipart `form_fill_id`, `field_name`, `photo`, and `local_id` if a retry is to be certain."""
    stored = store_upload(request, part="photo", kind="photo")
    return jsonify(stored.body("photo_attachment_id", "Photo uploaded successfully"))
