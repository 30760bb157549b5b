"""The payload of a `form_fill` operation, without the core's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from unicodedata import normalize

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from app.plugin_api import NOTHING_TO_SET

#: The endings of keys that the server adds to `data` (contract, section 4). From a client they are ignored.
SERVER_SUFFIXES = ("_photo_attachment_id", "_signature_attachment_id")


class FormFillSchema(Schema):
    """`data` (the whole form) or `changes` (a patch). A create takes only `data`, and may leave it out."""

    #: `edit_form_fill` checks it; stated here for the OpenAPI document.
    new_row_requires: ClassVar = ("form_template_id",)

    data = fields.Dict()
    changes = fields.Dict()

    @validates_schema
    def check_form(self, payload: Mapping[str, Any], partial: bool | None = None, **_: object) -> None:
        """Check that an update, which is loaded partially, names at least one field, in `data` or in `changes`."""
        if not partial:
            if "changes" in payload:
                raise ValidationError("A new form fill takes data, not changes.", "changes")
        elif ("data" in payload) == ("changes" in payload):
            raise ValidationError("Send either data or changes.")
        elif not (payload.get("data") or payload.get("changes")):
            raise ValidationError("Send at least one field.", "data" if "data" in payload else "changes")

    @post_load
    def read_names(self, payload: dict[str, Any], **_: object) -> dict[str, Any]:
        """Leave out the server's keys, so that no client can detach a photo from its field. Names become NFC."""
        return {name: _read_names(form) for name, form in payload.items()}


def _read_names(form: dict[str, Any]) -> dict[str, Any]:
    return {normalize("NFC", key): value for key, value in form.items() if not key.endswith(SERVER_SUFFIXES)}


def fields_to_set(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that an operation sets, from `data` or `changes`; none if it has only the server's keys."""
    return payload.get("data") or payload.get("changes") or NOTHING_TO_SET
