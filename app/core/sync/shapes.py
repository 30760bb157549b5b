"""The requests and answers of sync as JSON Schemas, over all installed types (contract, section 3)."""

from __future__ import annotations

from typing import Any

from app.core.host.registry import current_registry
from app.core.sync.answers import ADVICE
from app.core.sync.type_schemas import item_schema
from app.models.entities import entity_of
from app.openapi.shapes import (
    BOOLEAN,
    COUNT,
    FALSE,
    ID,
    OBJECT,
    ROW_ID,
    TEXT,
    TIME,
    TRUE,
    JsonSchema,
    Named,
    array_of,
    nullable,
    obj,
    reference_to,
    with_description,
)

#: The echo of a value that was sent, unless that was an object or an array.
ECHO = nullable(Named("SentValue", {"oneOf": [TEXT, {"type": "number"}, BOOLEAN]}))

PLACE = {"index": with_description(COUNT, "Position in `sync_items`."), "local_id": ECHO, "type": ECHO}

SUCCESS = Named(
    "SyncSuccess",
    obj(
        ("updated_at", "data", "also", "result", "replayed", "first_applied_at"),
        **PLACE,
        server_id=ROW_ID,
        message=TEXT,
        updated_at=with_description(
            TIME, "The row's version. Comes alone only where the client knew the version before."
        ),
        data=with_description(OBJECT, "The row's present content; take it and `updated_at`, or neither."),
        also=with_description(
            array_of(obj(entity=TEXT, id=ROW_ID, updated_at=TIME)), "Further rows that the operation changed."
        ),
        result=with_description(OBJECT, "What a plugin adds."),
        replayed=with_description(BOOLEAN, "Applied earlier; this is the answer to a retry."),
        first_applied_at=TIME,
    ),
)

ERROR_ENTRY = Named(
    "SyncError",
    obj(
        ("details",),
        **PLACE,
        code=with_description(
            TEXT, "; ".join(f"`{code}`" for code in ADVICE) + "; or a plugin's own. Unknown: see `retryable`."
        ),
        error=TEXT,
        message=TEXT,
        retryable=with_description(BOOLEAN, "Whether the item stays queued."),
        details=with_description(OBJECT, "Of `invalid`: field → messages."),
    ),
)

CONFLICT_DATA = Named(
    "ConflictData",
    obj(
        ("unknown_version", "server_form_structure"),
        server_version=TIME,
        local_version=with_description(nullable(TEXT), "As sent."),
        server_data=OBJECT,
        local_data=OBJECT,
        base_data=with_description(nullable(OBJECT), "Null where the server does not know that version."),
        conflicting_fields=array_of(TEXT),
        unknown_version=with_description(TRUE, "The row never had the version that was sent."),
        server_form_structure=with_description(array_of(OBJECT), "Of a form fill."),
    ),
)

CONFLICT = Named(
    "SyncConflict",
    obj(**PLACE, success=FALSE, conflict=TRUE, server_id=ROW_ID, message=TEXT, conflict_data=CONFLICT_DATA),
)

DEVICE_DETAILS = with_description(OBJECT, "What is wrong with the report, and was left out: field → messages.")

#: The answer to a report by itself.
REPORTED = obj(("device_details",), success=TRUE, message=TEXT, device_details=DEVICE_DETAILS)

ANSWER = Named(
    "SyncAnswer",
    obj(
        ("device_details",),
        success=TRUE,
        device_details=DEVICE_DETAILS,
        results=obj(success=array_of(SUCCESS), errors=array_of(ERROR_ENTRY), conflicts=array_of(CONFLICT)),
        synced_at=TIME,
        generation=with_description(TEXT, "Changes when the server was restored from a backup."),
        message=TEXT,
    ),
)

#: A whole exchange, as the README shows it.
ANSWER_EXAMPLES = {
    "one of each": {
        "success": True,
        "results": {
            "success": [
                {
                    "index": 0,
                    "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0001",
                    "type": "form_fill",
                    "server_id": 1,
                    "message": "FormFill updated successfully",
                    "updated_at": "2024-03-15T10:35:22.000Z",
                }
            ],
            "errors": [
                {
                    "index": 1,
                    "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0002",
                    "type": "unheard_of",
                    "code": "invalid_type",
                    "error": "Invalid sync type",
                    "message": "Keep the item: the plugin that knows its type may be missing here, or removed.",
                    "retryable": False,
                }
            ],
            "conflicts": [
                {
                    "index": 2,
                    "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0003",
                    "type": "inspection",
                    "success": False,
                    "conflict": True,
                    "server_id": 1,
                    "message": "Version conflict detected",
                    "conflict_data": {
                        "server_version": "2024-03-15T10:31:00.000Z",
                        "local_version": "2024-03-15T10:30:00.000Z",
                        "server_data": {"status": "in_progress", "notes": None},
                        "local_data": {"status": "completed"},
                        "base_data": {"status": "pending", "notes": None},
                        "conflicting_fields": ["status"],
                    },
                }
            ],
        },
        "synced_at": "2024-03-15T10:35:22.000Z",
        "generation": "5f0c7a3e",
        "message": "Sync completed: 1 successful, 1 errors, 1 conflicts",
    }
}

TYPES = obj(
    types=array_of(
        Named(
            "SyncType",
            obj(
                type=TEXT,
                aliases=array_of(TEXT),
                plugin=TEXT,
                distribution=TEXT,
                version=TEXT,
                entity=TEXT,
                schema=with_description(OBJECT, "JSON Schema of an item's `data`."),
            ),
        )
    )
)


def status_answer() -> JsonSchema:
    """The answer of `GET /sync/status`, with the counts of all installed entities."""
    entities = [entity_of(model) for model in current_registry().models.values()]
    counts = dict.fromkeys(sorted(each.counted for each in entities if each.counted is not None), COUNT)
    data = obj(
        user_id=ID,
        pending_inspections=COUNT,
        completed_inspections=COUNT,
        **counts,
        last_sync=nullable(TIME),
        server_time=TIME,
    )
    return obj(success=TRUE, data=data, message=TEXT)


def batch() -> JsonSchema:
    """The body of `POST /sync`: one schema for each installed type, chosen by `type`, which may be an alias."""
    items: list[Named] = []
    mapping: dict[str, str] = {}
    for _, registered in sorted(current_registry().handlers.items()):
        item = item_schema(registered)
        items.append(item)
        names = (registered.handler.type, *registered.handler.aliases)
        mapping |= dict.fromkeys(names, reference_to(item.name))
    return obj(
        ("device",),
        sync_items=array_of({"oneOf": items, "discriminator": {"propertyName": "type", "mapping": mapping}}),
        device={"$ref": reference_to("DeviceReport")},
    )


def batch_examples() -> dict[str, Any]:
    """The examples of all types, each as a batch of its own, and the first one of each together."""
    registry = current_registry()
    handlers = [registry.handlers[name].handler for name in sorted(registry.handlers)]
    firsts = [each.examples[0] for each in handlers if each.examples]
    found = {"a batch": {"sync_items": firsts}} if firsts else {}
    for handler in handlers:
        for number, example in enumerate(handler.examples, 1):
            found[f"{handler.type} {number}"] = {"sync_items": [example]}
    return found
