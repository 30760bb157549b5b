"""What a valid `form_fill` payload is, the core's keys taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

#: Keys that the server projects into `data` (contract, section 4); sent by a client they are ignored.
SERVER_SUFFIXES = ("_photo_attachment_id", "_signature_attachment_id")


class FormFillSchema(Schema):
    """`data` (the whole form) or `changes` (a patch); a create takes `data` only, and may leave it out."""

    #: `edit_form_fill` checks it; stated here for the OpenAPI document.
    new_row_requires: ClassVar = ("form_template_id",)

    data = fields.Dict()
    changes = fields.Dict()

    @validates_schema
    def check_form(self, payload: Mapping[str, Any], partial: bool | None = None, **_: Any) -> None:
        """An update, which is loaded partially, names something to change in one of the two ways."""
        if not partial:
            if "changes" in payload:
                raise ValidationError("A new form fill takes data, not changes.", "changes")
        elif ("data" in payload) == ("changes" in payload):
            raise ValidationError("Send either data or changes.")
        elif not (payload.get("data") or payload.get("changes")):
            raise ValidationError("Send at least one field.", "data" if "data" in payload else "changes")

    @post_load
    def drop_server_keys(self, payload: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Leave out what only the server knows, so that no client can orphan a photo."""
        return {name: _without_server_keys(form) for name, form in payload.items()}


def _without_server_keys(form: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in form.items() if not key.endswith(SERVER_SUFFIXES)}


def fields_to_set(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that an operation sets, whichever way they were sent."""
    found: Mapping[str, Any] = payload.get("data") or payload.get("changes") or {}
    return found
