"""The parts and the answer of an upload, as JSON Schemas (contract, section 4)."""

from __future__ import annotations

from app.attachments.destination import FIELD_NAME_LENGTH, LOCAL_ID_LENGTH
from app.core.values import UUID_FORM
from app.openapi.shapes import (
    ATTACHMENT,
    BOOLEAN,
    ID,
    TEXT,
    TIME,
    TRUE,
    JsonSchema,
    Named,
    nullable,
    obj,
    with_description,
)

#: The errors of an upload besides those of every body.
UPLOAD_ERRORS = ("forbidden", "not_found", "storage_full")

STORED = Named(
    "StoredAttachment",
    {
        **ATTACHMENT,
        "properties": {**ATTACHMENT["properties"], "uploaded_by_id": ID, "created_at": TIME},
        "required": [*ATTACHMENT["required"], "uploaded_by_id", "created_at"],
    },
)


def upload_form(part: str) -> JsonSchema:
    """The parts of an upload whose image is in the part `part`."""
    number_or_client_id = {"type": "string", "minLength": 1, "pattern": f"^([0-9]{{1,16}}(\\.0)?|{UUID_FORM.pattern})$"}
    return obj(
        ("local_id",),
        form_fill_id=with_description(number_or_client_id, "The form fill's id, or the client_id that a device made."),
        field_name={"type": "string", "minLength": 1, "maxLength": FIELD_NAME_LENGTH},
        local_id={"type": "string", "maxLength": LOCAL_ID_LENGTH, "description": "Makes a retry certain."},
        **{part: {"type": "string", "format": "binary", "description": "A JPEG or PNG, judged by its content."}},
    )


def upload_answer(key: str) -> JsonSchema:
    """The answer of an upload, with the attachment's id under `key`."""
    return obj(
        ("replayed", "deleted", "warning"),
        success=TRUE,
        **{key: TEXT},
        message=TEXT,
        data=with_description(nullable(STORED), "Null where the attachment is gone, or no longer visible."),
        replayed=with_description(BOOLEAN, "This is the answer to a retry."),
        deleted=with_description(BOOLEAN, "The attachment has been deleted or replaced since."),
        warning=with_description(TEXT, "The image was stored, but something of it may be missing."),
    )
