"""The payload of a `signature_delete` operation, without the core's keys."""

from marshmallow import Schema, fields, validate

from app.attachments import NameField


class SignatureDeleteSchema(Schema):
    """The field and the signature. Without `signature_attachment_id`, it is the one that the field has by then."""

    field_name = NameField()
    signature_attachment_id = fields.String(validate=validate.Length(1, 255))
