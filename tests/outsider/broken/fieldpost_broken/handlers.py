"""Handlers that do not fit, each for one reason."""

from typing import Any

from marshmallow import Schema, fields

from app import policies
from app.models import Attachment, FormFill, FormTemplate, Inspection
from app.plugin_api import Context, Operation, Outcome, SyncHandler, by_id, children, edit, via
from fieldpost_broken.models import Plain


class NoteSchema(Schema):
    note = fields.String(required=True)


class GreedySchema(Schema):
    version = fields.String(data_key="updated_at")
    id = fields.Integer()


class RaisingSchema(Schema):
    def __init__(self, *_: Any, **__: Any) -> None:
        raise KeyError("colour")


async def waiting(operation: Operation, context: Context) -> Outcome:
    return edit(operation, context)


def handler(name: str, **parts: Any) -> SyncHandler:
    given = {"schema": NoteSchema, "target": by_id(FormFill), "policy": policies.change, "apply": edit}
    return SyncHandler(type=name, **{**given, **parts})


no_handler = {"type": "no_handler"}
other_name = handler("another_name")
bad_name = handler("Bad-Name")
alias_taken = handler("alias_taken", aliases=("form_fill_update",))
alias_twice = handler("alias_twice", aliases=("again", "again"))
inspection = handler("inspection")
aliases_text = handler("aliases_text", aliases="abc")
no_keys = handler("no_keys", data_keys=())
schema_made = handler("schema_made", schema=NoteSchema())
schema_raises = handler("schema_raises", schema=RaisingSchema)
schema_greedy = handler("schema_greedy", schema=GreedySchema)
schema_strange = handler("schema_strange", target=by_id(Inspection))
policy_narrow = handler("policy_narrow", policy=lambda user: True)
apply_waits = handler("apply_waits", apply=waiting)
changes_wide = handler("changes_wide", changes=lambda data, row: data)
upcast_text = handler("upcast_text", upcast="upcast")
label_empty = handler("label_empty", label=" ")
target_optional = handler("target_optional", target=by_id(FormFill, optional=True))
target_via = handler("target_via", target=via(FormFill, column="form_fill_id"))
rows_list = handler("rows_list", rows=[by_id(FormFill)])
rows_twice = handler("rows_twice", rows={"x": by_id(FormFill, "x")}, reads={"x": by_id(FormFill, "x")})
makes_templates = handler("makes_templates", makes={"template_ids": FormTemplate})
no_entity = handler("no_entity", target=by_id(Plain))
rootless = handler("rootless", rows={"template": by_id(FormTemplate, "form_template_id")})
one_key = handler("one_key", rows={"inspection": by_id(Inspection)})
no_column = handler("no_column", rows={"photos": children(Attachment, column="form_id")})
example_item = handler("example_item", examples={"type": "example_item"})
example_wrong = handler(
    "example_wrong", examples=({"type": "example_wrong", "local_id": "1", "data": {"id": 1, "nota": "x"}},)
)
example_other = handler(
    "example_other",
    examples=({"type": "photo_delete", "local_id": "1", "data": {"form_fill_id": 1, "field_name": "x"}},),
)
