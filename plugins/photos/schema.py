"""What a valid `photo_delete` payload is, the core's keys taken out."""

from marshmallow import Schema, fields, validate


class PhotoDeleteSchema(Schema):
    """The field, and the photo; without `photo_attachment_id` all photos of the field are meant."""

    field_name = fields.String(required=True, validate=validate.Length(1, 255))
    photo_attachment_id = fields.String(validate=validate.Length(1, 255))
