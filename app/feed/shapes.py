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
    listed,
    nullable,
    obj,
    told,
)

CHANGE = Named(
    "Change",
    obj(
        ("record",),
        entity=told(TEXT, "`inspection`, `form_fill`, `attachment`, or a plugin's; ignore what you do not know."),
        op=told(TEXT, "`upsert`, or `remove`: gone or no longer visible, and everything below it."),
        id=KEY,
        updated_at=nullable(TIME),
        record=told({"anyOf": [INSPECTION, FORM_FILL, ATTACHMENT, OBJECT]}, "Of an `upsert`, by its entity."),
    ),
)
CHANGES = obj(changes=listed(CHANGE), cursor=TEXT, has_more=BOOLEAN)
