"""The answer of `GET /sync/changes` as JSON Schemas (contract, section 6)."""

from __future__ import annotations

from app.openapi.shapes import (
    ATTACHMENT,
    BOOLEAN,
    FORM_FILL,
    INSPECTION,
    KEY,
    OBJECT,
    TEXT,
    TIME,
    Named,
    array_of,
    nullable,
    obj,
    with_description,
)

CHANGE = Named(
    "Change",
    obj(
        ("record",),
        entity=with_description(
            TEXT, "`inspection`, `form_fill`, `attachment`, or a plugin's; ignore what you do not know."
        ),
        op=with_description(TEXT, "`upsert`, or `remove`: gone or no longer visible, and everything below it."),
        id=KEY,
        updated_at=nullable(TIME),
        record=with_description(
            {"anyOf": [INSPECTION, FORM_FILL, ATTACHMENT, OBJECT]}, "Of an `upsert`, by its entity."
        ),
    ),
)
CHANGES = obj(changes=array_of(CHANGE), cursor=TEXT, has_more=BOOLEAN)
