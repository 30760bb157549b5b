"""What a valid `signature_delete` payload is, the core's keys taken out."""

from marshmallow import Schema, fields, validate


class SignatureDeleteSchema(Schema):
    """The field whose signature is meant."""

    field_name = fields.String(required=True, validate=validate.Length(1, 255))
