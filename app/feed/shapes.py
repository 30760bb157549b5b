"""The answer of `GET /sync/changes` as JSON Schemas (contract, section 6)."""

from __future__ import annotations

from app.openapi.shapes import (
    ATTACHMENT,
    BOOLEAN,
    FORM_FIELD,
    FORM_FILL,
    FORM_TEMPLATE,
    ID,
    INSPECTION,
    OBJECT,
    ROLE,
    ROW_ID,
    TEXT,
    TIME,
    UUID,
    JsonSchema,
    Named,
    array_of,
    constant,
    nullable,
    obj,
    reference_to,
    with_description,
)

#: Named as in the history.
DECIDED_BY = with_description(ID, "Who in the office decided this change in its sender's place; otherwise missing.")


def _upsert(entity: JsonSchema, key: JsonSchema, record: JsonSchema) -> JsonSchema:
    plain = {"entity": entity, "op": constant("upsert"), "id": key, "updated_at": TIME, "record": record}
    return obj(("decided_by",), **plain, decided_by=DECIDED_BY)


#: A user who appears on an inspection, by name.
PERSON = Named("Person", obj(id=ID, name=TEXT, role=ROLE))

#: A form fill names its template by id.
FED_FORM_FILL = Named(
    "FedFormFill",
    {
        **FORM_FILL,
        "properties": {
            **FORM_FILL["properties"],
            "form_structure": with_description(array_of(FORM_FIELD), "Only with `structures=1`."),
        },
        "required": [name for name in FORM_FILL["required"] if name != "form_structure"],
    },
)

UPSERTS = (
    Named("UserUpsert", _upsert(constant("user"), ID, PERSON)),
    Named("FormTemplateUpsert", _upsert(constant("form_template"), ID, FORM_TEMPLATE)),
    Named("InspectionUpsert", _upsert(constant("inspection"), ID, INSPECTION)),
    Named("FormFillUpsert", _upsert(constant("form_fill"), ID, FED_FORM_FILL)),
    Named("AttachmentUpsert", _upsert(constant("attachment"), TEXT, ATTACHMENT)),
)

#: The last one, because generated clients try the schemas in turn, and not all of them understand `not`.
OTHER_UPSERT = Named(
    "OtherUpsert",
    _upsert(
        with_description(
            {"type": "string", "not": {"enum": [each["properties"]["entity"]["const"] for each in UPSERTS]}},
            "A plugin's. Ignore the entities that you do not know.",
        ),
        ROW_ID,
        OBJECT,
    ),
)

#: Without a discriminator: a generated client would refuse the whole page for an entity that it does not know. With a
#: type, because openapi-typescript takes nothing but an object for a part of `Change`.
UPSERT = Named(
    "Upsert",
    with_description({"type": "object", "oneOf": [*UPSERTS, OTHER_UPSERT]}, "A row that you may see, as it is now."),
)

REMOVAL = Named(
    "Removal",
    with_description(
        obj(
            ("client_id", "decided_by"),
            entity=with_description(TEXT, "Ignore the entities that you do not know."),
            op=constant("remove"),
            id=ROW_ID,
            updated_at=with_description(nullable(TIME), "Always null."),
            client_id=with_description(nullable(UUID), "Of entities whose rows devices may make."),
            decided_by=DECIDED_BY,
        ),
        "A row that is gone or no longer visible. The rows below it come as removals of their own.",
    ),
)

CHANGE = Named(
    "Change",
    {
        "oneOf": [UPSERT, REMOVAL],
        "discriminator": {
            "propertyName": "op",
            "mapping": {"upsert": reference_to(UPSERT.name), "remove": reference_to(REMOVAL.name)},
        },
    },
)
CHANGES = obj(changes=array_of(CHANGE), cursor=TEXT, has_more=BOOLEAN)
