"""JSON Schemas of answers, named once and used by every route that answers with them.

Objects are open, because keys may be added within v1 (contract, section 10): none has `additionalProperties: false`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.core.values import UUID_FORM

#: A JSON Schema (2020-12, as OpenAPI 3.1 has it).
JsonSchema = dict[str, Any]


class Named(JsonSchema):
    """A schema that stands once among the document's components; its users refer to it.

    `companions`: further components that it refers to, by name, because a schema that contains itself cannot be nested.
    """

    def __init__(self, name: str, schema: JsonSchema, companions: Mapping[str, JsonSchema] | None = None) -> None:
        super().__init__(schema)
        self.name = name
        self.companions = dict(companions or {})


def reference_to(name: str) -> str:
    """The place of a component in the document."""
    return f"#/components/schemas/{name}"


def obj(optional: Iterable[str] = (), /, **properties: JsonSchema) -> JsonSchema:
    """An object with these properties; all but the `optional` ones are required."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required}


def array_of(items: JsonSchema) -> JsonSchema:
    """An array of `items`."""
    return {"type": "array", "items": items}


def nullable(schema: JsonSchema) -> JsonSchema:
    """`schema`, or null."""
    if "type" not in schema or "enum" in schema or "const" in schema or isinstance(schema, Named):
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def constant(value: str) -> JsonSchema:
    """This text and no other."""
    return {"type": "string", "const": value}


def one_of(*values: str) -> JsonSchema:
    """One of these texts."""
    return {"type": "string", "enum": list(values)}


def with_description(schema: JsonSchema, description: str) -> JsonSchema:
    """`schema` with a sentence about it."""
    return {**schema, "description": description}


TRUE: JsonSchema = {"type": "boolean", "const": True}
FALSE: JsonSchema = {"type": "boolean", "const": False}
BOOLEAN: JsonSchema = {"type": "boolean"}
TEXT: JsonSchema = {"type": "string"}
COUNT: JsonSchema = {"type": "integer", "minimum": 0, "format": "int64"}
ID: JsonSchema = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1, "format": "int64"}
UUID: JsonSchema = {"type": "string", "format": "uuid"}
DATE: JsonSchema = {"type": "string", "format": "date"}
TIME: JsonSchema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
    "examples": ["2024-03-15T10:30:00.000Z"],
}
SHA256: JsonSchema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
#: An object with any keys. Some generators make an empty type of an object that does not say so.
OBJECT: JsonSchema = {"type": "object", "additionalProperties": True}
#: The schema of ids in requests. They are numbers there, so that generated clients have one type for them.
TEXT_OF_ID = 'The text of the number (`"11"`) and `11.0` mean the same.'
#: The id of a row of any entity. `oneOf`, because generators make an empty class of a component with two types.
ROW_ID = Named(
    "RowId",
    with_description(
        {"oneOf": [{"type": "integer", "format": "int64"}, TEXT]},
        "A number, or a text for entities whose ids are texts.",
    ),
)
_KEY: JsonSchema = {"type": "string", "pattern": rf"^(-?[0-9]{{1,15}}(\.0+)?|{UUID_FORM.pattern})$"}
#: The names of a form fill and of an inspection in an address, a form or a body.
FORM_FILL_KEY = with_description(_KEY, "The form fill's id, or the client_id that a device made.")
INSPECTION_KEY = with_description(_KEY, "The inspection's id, or the client_id that a device made.")

ERROR = Named(
    "Error",
    obj(
        ("details", "limit", "data", "reason", "unknown_version", "checks", "retryable"),
        success=FALSE,
        error=with_description(TEXT, "A sentence for people."),
        code=with_description(TEXT, "For programs: stable, snake_case. New ones may come: judge those by the status."),
        message=with_description(TEXT, "What to do."),
        request_id=with_description(nullable(TEXT), "Names this request in the server's log."),
        details=with_description(OBJECT, "Of `invalid`: field → messages."),
        limit=with_description({"type": "integer"}, "Of `too_large` and `too_many_items`."),
        data=with_description(OBJECT, "Of `stale`: the present row. Of `already_decided`: the item."),
        reason=with_description(TEXT, "Of `refused`: the code of the refusal."),
        unknown_version=with_description(TRUE, "Of `stale`: the row never had the version that was sent."),
        checks=with_description(OBJECT, "Of `/readyz`: what works and what does not."),
        retryable=with_description(TRUE, "The same request may succeed later. Missing where waiting cannot help."),
    ),
)

ROLE = one_of("admin", "technician", "user")
STATUS = one_of("pending", "in_progress", "completed", "canceled")

USER = Named("User", obj(id=ID, email=TEXT, name=TEXT, role=ROLE))
ACCOUNT = Named(
    "Account", obj(id=ID, email=TEXT, name=TEXT, role=ROLE, active=BOOLEAN, created_at=TIME, updated_at=TIME)
)
FORM_FIELD = Named(
    "FormField",
    obj(
        ("label_name", "section_name", "unit", "private", "options"),
        name=TEXT,
        type=TEXT,
        label_name=nullable(TEXT),
        section_name=nullable(TEXT),
        unit=nullable(TEXT),
        private=nullable(BOOLEAN),
        options=nullable({"type": "array", "items": {}}),
    ),
)
FORM_TEMPLATE = Named(
    "FormTemplate", obj(id=ID, name=TEXT, form_structure=array_of(FORM_FIELD), created_at=TIME, updated_at=TIME)
)
PROPERTY = Named(
    "InspectedProperty", obj(**{name: nullable(TEXT) for name in ("property_name", "address", "city", "zip_code")})
)
CUSTOMER = Named("InspectedCustomer", obj(**{name: nullable(TEXT) for name in ("name", "email", "phone_1", "phone_2")}))
INSPECTION = Named(
    "Inspection",
    obj(
        id=ID,
        client_id=nullable(UUID),
        date=DATE,
        notes=nullable(TEXT),
        status=STATUS,
        system_category=nullable(TEXT),
        interval_category=nullable(TEXT),
        job=nullable(TEXT),
        owner_id=ID,
        assignee_id=nullable(ID),
        created_at=TIME,
        updated_at=TIME,
        property=nullable(PROPERTY),
        customer=nullable(CUSTOMER),
        form_template=nullable(obj(id=ID, name=TEXT)),
    ),
)
_FORM_FILL = obj(
    id=ID,
    client_id=nullable(UUID),
    inspection_id=ID,
    form_template_id=ID,
    data=with_description(
        OBJECT, "Field → value; with `<field>_photo_attachment_id` (a list) and `<field>_signature_attachment_id`."
    ),
    created_at=TIME,
    updated_at=TIME,
    form_structure=array_of(FORM_FIELD),
)
FORM_FILL = Named("FormFill", _FORM_FILL)
ATTACHMENT = Named(
    "Attachment",
    obj(
        id=TEXT,
        form_fill_id=ID,
        kind=one_of("photo", "signature"),
        field_name=TEXT,
        filename=nullable(TEXT),
        content_type=one_of("image/jpeg", "image/png"),
        byte_size=COUNT,
        width=COUNT,
        height=COUNT,
        sha256=SHA256,
        url=TEXT,
    ),
)
OFFLINE_FORM_FILL = Named(
    "OfflineFormFill",
    {
        **_FORM_FILL,
        "properties": {**_FORM_FILL["properties"], "photos": array_of(ATTACHMENT)},
        "required": [*_FORM_FILL["required"], "photos"],
    },
)
INSPECTION_WITH_FORM_FILLS = obj(inspection=INSPECTION, form_fills=array_of(FORM_FILL))


def usual(data: JsonSchema) -> JsonSchema:
    """The usual answer around `data`."""
    return obj(success=TRUE, data=data, server_time=TIME, message=TEXT)


def page_of(name: str, items: JsonSchema) -> JsonSchema:
    """`data` of a list that is answered a page at a time."""
    return obj(**{name: array_of(items)}, page=COUNT, per_page=COUNT, total=COUNT, pages=COUNT)
