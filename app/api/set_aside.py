"""Items of devices that were not applied: `GET /set_aside`, and decisions about them (contract, section 12)."""

from __future__ import annotations

from flask import Response
from marshmallow import ValidationError, fields, validate, validates_schema

from app.administration.fields import BodySchema, QueryNumber, StorableText, row_id, text
from app.administration.set_aside import (
    STATES,
    Decision,
    Filters,
    causes,
    decide,
    decide_many,
    keys_of,
    list_set_aside,
    show_set_aside,
    without_private,
)
from app.administration.set_aside.listing import MOST_AT_ONCE
from app.api.paging import DEFAULT, MAX
from app.core.values import MAX_INTEGER, TimestampField, Values
from app.openapi.shapes import (
    BOOLEAN,
    ID,
    OBJECT,
    TEXT,
    TIME,
    JsonSchema,
    Named,
    array_of,
    nullable,
    obj,
    one_of,
    with_description,
)
from app.web import RestBlueprint, answer, described, signed_in_user

blueprint = RestBlueprint("set_aside", __name__, description="What devices have sent and the server has not applied")

OUTCOMES = ("conflict", "refused")
KINDS = ("apply", "change", "discard")
RESULTS = ("decided", "already_decided", "stale", "refused", "forbidden", "not_found")

PERSON = obj(id=ID, name=TEXT)
_ROW: dict[str, JsonSchema] = {
    "id": TEXT,
    "state": one_of(*STATES),
    "outcome": one_of(*OUTCOMES),
    "code": TEXT,
    "error": TEXT,
    "message": TEXT,
    "retryable": BOOLEAN,
    "user": nullable(PERSON),
    "device_id": nullable(TEXT),
    "local_id": TEXT,
    "type": TEXT,
    "entity": nullable(TEXT),
    "entity_id": nullable(TEXT),
    "inspection_id": nullable(ID),
    "is_cut": BOOLEAN,
    "first_at": TIME,
    "last_at": TIME,
    "times": with_description(ID, "How often it was sent; several times within a minute count once."),
    "decision": nullable(one_of("applied", "changed", "discarded")),
    "decided_by": nullable(PERSON),
    "decided_at": nullable(TIME),
    "reason": nullable(TEXT),
}
ROW = Named("SetAside", obj(**_ROW))
SHOWN = Named(
    "SetAsideItem",
    obj(
        **_ROW,
        details=nullable(OBJECT),
        item=with_description(nullable(OBJECT), "The item as it was sent."),
        made_at=with_description(nullable(TIME), "When it was made, by its device's clock."),
        private=with_description(
            array_of(TEXT), "The names of its private fields. Their values are there only with `private=1`."
        ),
        seen=with_description(nullable(OBJECT), "Of a conflict: `mine`, `base`, `theirs`, and its fields."),
        seen_version=nullable(TIME),
        present=nullable(obj(updated_at=TIME, data=OBJECT)),
    ),
)
CAUSE = Named(
    "SetAsideCause",
    obj(outcome=one_of(*OUTCOMES), code=TEXT, type=TEXT, error=TEXT, count=ID, first_at=TIME, last_at=TIME),
)
LIST = obj(("set_aside", "next", "causes"), set_aside=array_of(ROW), next=nullable(TEXT), causes=array_of(CAUSE))
RESULT = Named(
    "SetAsideResult",
    obj(
        ("entry", "code", "error", "message"),
        id=TEXT,
        result=one_of(*RESULTS),
        entry=with_description(OBJECT, "The entry that a device would have got, without values of rows."),
        code=TEXT,
        error=TEXT,
        message=TEXT,
    ),
)


class FilterSchema(BodySchema):
    """Which rows are meant."""

    outcome = fields.String(validate=validate.OneOf(OUTCOMES))
    code = StorableText(validate=validate.Length(max=255))
    type = StorableText(validate=validate.Length(max=255))
    user_id = row_id()
    device_id = StorableText(validate=validate.Length(max=36))
    inspection_id = row_id()


class SetAsideQuerySchema(FilterSchema):
    """The query parameters of `GET /set_aside`."""

    state = fields.String(load_default="open", validate=validate.OneOf((*STATES, "all")))
    group = fields.String(validate=validate.OneOf(["cause"]))
    after = StorableText(validate=validate.Length(max=255))
    per_page = QueryNumber(load_default=DEFAULT, validate=validate.Range(1, MAX))


class ItemQuerySchema(BodySchema):
    """The query parameters of `GET /set_aside/:id`."""

    private = StorableText(validate=validate.Equal("1"), metadata={"description": "Answer private values, too."})


class DecisionSchema(BodySchema):
    """A decision about one item."""

    decision = fields.String(required=True, validate=validate.OneOf(KINDS))
    changes = fields.Dict(keys=fields.String())
    updated_at = TimestampField(allow_none=True)
    reason = text(500)

    @validates_schema
    def check_changes(self, body: Values, **_: object) -> None:
        """Refuse a change without changes, and changes with another decision."""
        if ("changes" in body) != (body.get("decision") == "change"):
            raise ValidationError("Send changes with the decision `change`, and with no other.", "changes")


class DecisionsSchema(BodySchema):
    """A decision about several items: those with these ids, or all that match a filter, with the confirmed number."""

    decision = fields.String(required=True, validate=validate.OneOf(["apply", "discard"]))
    ids = fields.List(fields.String(validate=validate.Length(1, 64)), validate=validate.Length(1, MOST_AT_ONCE))
    filter = fields.Nested(FilterSchema)
    count = fields.Integer(strict=True, validate=validate.Range(1, MAX_INTEGER))
    reason = text(500)

    @validates_schema
    def check_which(self, body: Values, **_: object) -> None:
        """Refuse a body that says neither or both."""
        if ("ids" in body) == ("filter" in body) or ("count" in body) != ("filter" in body):
            raise ValidationError("Send ids, or a filter with the count that was confirmed.", "ids")


@blueprint.get("/set_aside")
@described(data=LIST)
@blueprint.query(SetAsideQuerySchema)
def list_rows(query: Values) -> Response:
    """Items that were not applied, newest first, or with `group=cause` how many there are of each cause."""
    filters = _filters(query)
    if "group" in query:
        return answer({"causes": causes(signed_in_user(), filters)}, "Causes counted successfully")
    page = list_set_aside(signed_in_user(), filters, after=query.get("after"), per_page=query["per_page"])
    return answer(page, "Items retrieved successfully")


@blueprint.get("/set_aside/<key>")
@described(data=obj(set_aside=SHOWN), errors=("not_found",))
@blueprint.query(ItemQuerySchema)
def get_row(query: Values, key: str) -> Response:
    """One item with everything that is known of it, and its row as it is now; private values only if asked for."""
    row = show_set_aside(signed_in_user(), key)
    return answer({"set_aside": row if "private" in query else without_private(row)}, "Item retrieved successfully")


@blueprint.post("/set_aside/<key>/decision")
@described(
    data=obj(set_aside=SHOWN), errors=("not_found", "forbidden", "stale", "already_decided", "refused", "token_revoked")
)
@blueprint.body(DecisionSchema)
def decide_row(body: Values, key: str) -> Response:
    """Apply an item as sent or changed, or discard it; for administrators and the inspection's owner."""
    decision = Decision(
        kind=body["decision"],
        changes=body.get("changes"),
        version=body.get("updated_at"),
        reason=body.get("reason") or None,
    )
    decided = without_private(decide(signed_in_user(), key, decision))
    return answer({"set_aside": decided}, "Decided successfully")


@blueprint.post("/set_aside/decisions")
@described(data=obj(results=array_of(RESULT)), errors=("count_changed", "forbidden"))
@blueprint.body(DecisionsSchema)
def decide_rows(body: Values) -> Response:
    """Decide many items at once, each with a result of its own."""
    user = signed_in_user()
    keys = body["ids"] if "ids" in body else keys_of(user, _filters(body["filter"]), body["count"])
    decision = Decision(kind=body["decision"], reason=body.get("reason") or None)
    results = decide_many(user, list(dict.fromkeys(keys)), decision)
    decided = sum(result["result"] == "decided" for result in results)
    return answer({"results": results}, f"Decided {decided} of {len(results)} items")


def _filters(values: Values) -> Filters:
    state = values.get("state", "open")
    names = ("outcome", "code", "type", "user_id", "device_id", "inspection_id")
    return Filters(**{name: values.get(name) for name in names}, state=None if state == "all" else state)
