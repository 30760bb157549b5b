"""The payload of a `photo_delete` operation, without the core's keys."""

from marshmallow import Schema, fields, validate

from app.attachments import NameField


class PhotoDeleteSchema(Schema):
    """The field and the photo. Without `photo_attachment_id`, all photos of the field are deleted."""

    field_name = NameField()
    photo_attachment_id = fields.String(validate=validate.Length(1, 255))
