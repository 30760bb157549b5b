"""The payload of a `signature_delete` operation, without the core's keys."""

from marshmallow import Schema, fields, validate


class SignatureDeleteSchema(Schema):
    """The field whose signature is deleted."""

    field_name = fields.String(required=True, validate=validate.Length(1, 255))
