"""The name of a form's field, as payloads and bodies have it."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from app.attachments.destination import FIELD_NAME_LENGTH
from app.core.values import Values, nfc


class FieldName(fields.String):
    """The name of a form's field, of 1 to 255 characters. It becomes NFC, in which it is kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=True, validate=validate.Length(1, FIELD_NAME_LENGTH), **options)

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> str:
        return nfc(super()._deserialize(value, attr, data, **kwargs))
