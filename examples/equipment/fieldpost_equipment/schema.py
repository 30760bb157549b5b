"""What valid payloads are."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema


class NoKeysSchema(Schema):
    """Ids are all that is sent, and those are the core's."""


class RoomSchema(Schema):
    name = fields.String(required=True, validate=validate.Length(1, 64))


#: Names that no detail may have.
COLUMNS = ("tag", "serial", "room_id", "keeper_id", "keeper_phone")


class ItemSchema(Schema):
    tag = fields.String(required=True, validate=validate.Length(1, 64))
    keeper_phone = fields.String(validate=validate.Length(1, 32))
    details = fields.Dict(keys=fields.String(validate=validate.NoneOf(COLUMNS)))


def fields_to_set(data: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the details, and what else was sent, one by one."""
    own = {name: value for name, value in data.items() if name != "details"}
    return {**data.get("details", {}), **own}


class CheckSchema(Schema):
    score = fields.Integer(required=True, strict=True)


class NoteSchema(Schema):
    caption = fields.String(validate=validate.Length(max=255))
    marks = fields.List(fields.Dict())

    @validates_schema
    def check_something_is_sent(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("Send caption or marks.")
