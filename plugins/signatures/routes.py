"""`POST /sync/upload_signature` (contract, section 4)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from app.attachments import UPLOAD_ERRORS, store_upload, upload_answer, upload_form
from app.web import described

blueprint = Blueprint("signatures", __name__)


@blueprint.post("/sync/upload_signature")
@described(form=upload_form("signature"), answer=upload_answer("signature_attachment_id"), errors=UPLOAD_ERRORS)
def upload_signature() -> Response:
    """Store a signature, which replaces the field's old one: multipart `form_fill_id`, `field_name`, `signature`."""
    stored = store_upload(request, part="signature", kind="signature")
    return jsonify(stored.body("signature_attachment_id", "Signature uploaded successfully"))
