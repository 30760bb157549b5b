"""The bodies of administrators' calls: REST reads JSON by these schemas, and pages read forms (contract, section 8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized
from functools import partial

from marshmallow import ValidationError, fields, validate, validates

from app.accounts.passwords import LONGEST, SHORTEST
from app.administration.fields import (
    SEEN,
    BodySchema,
    ChangeSchema,
    DateField,
    EmailField,
    StrictBoolean,
    line,
    row_id,
    text,
)
from app.config import current_settings
from app.core.values import NameField, Values
from app.models import OBJECTS, ROLES, STATUSES
from app.models.attachments import KINDS

#: The endings of the keys that the server puts into a form fill's data (contract, section 4).
SERVER_SUFFIXES = tuple(f"_{kind}_attachment_id" for kind in KINDS)


LONGEST_NOTES = 100_000
MOST_TEMPLATES = 100

PropertySchema = BodySchema.from_dict({name: text() for name in OBJECTS["property"]}, name="PropertySchema")
CustomerSchema = BodySchema.from_dict({name: text() for name in OBJECTS["customer"]}, name="CustomerSchema")


class DetailsSchema(BodySchema):
    """The fields that a new inspection and a change have in common."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    owner_id = row_id()
    assignee_id = row_id(allow_none=True)
    notes = text(LONGEST_NOTES)
    system_category = text()
    interval_category = text()
    job = text()
    property = fields.Nested(PropertySchema, allow_none=True)
    customer = fields.Nested(CustomerSchema, allow_none=True)


class NewInspectionSchema(DetailsSchema):
    """The body of `POST /inspections`."""

    date = DateField(required=True)
    form_template_ids = fields.List(row_id(), required=True, validate=validate.Length(1, MOST_TEMPLATES))

    @validates("form_template_ids")
    def check_distinct(self, ids: Sequence[int], data_key: str) -> None:
        """One form fill for each template."""
        if len(set(ids)) < len(ids):
            raise ValidationError("Each form template can be named once.")


class InspectionChangeSchema(DetailsSchema, ChangeSchema):
    """The body of `PATCH /inspections/:id`."""

    date = DateField()


class NewUserSchema(BodySchema):
    """The body of `POST /users`."""

    email = EmailField(required=True, validate=validate.Length(1, 255))
    name = line(required=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))
    password = fields.String(required=True, validate=validate.Length(SHORTEST, LONGEST))
    active = StrictBoolean(load_default=True)


class UserChangeSchema(ChangeSchema):
    """The body of `PATCH /users/:id`."""

    name = line()
    role = fields.String(validate=validate.OneOf(ROLES))
    password = fields.String(validate=validate.Length(SHORTEST, LONGEST))
    active = StrictBoolean()


def _bound(setting: str, values: Sized) -> None:
    """Raise `ValidationError` unless there are at most as many values as a setting says."""
    limit = getattr(current_settings(), setting)
    if len(values) > limit:
        raise ValidationError(f"There are {len(values)}; at most {limit} are taken.")


class FieldSchema(BodySchema):
    """One field of a form."""

    name = NameField(SEEN)
    type = line(64, required=True)
    label_name = text()
    section_name = text()
    #: The unit after its values: `psi`.
    unit = text(64)
    #: Whether its values tell of a person, and are shown only to somebody who asks for them (contract, section 8).
    private = StrictBoolean(allow_none=True)
    #: The options to choose from. Their shape is agreed between template and app.
    options = fields.List(
        fields.Raw(allow_none=True), allow_none=True, validate=partial(_bound, "max_template_options")
    )

    @validates("name")
    def check_name(self, name: str, data_key: str) -> None:
        """A field must not look like one of the server's keys."""
        if name.endswith(SERVER_SUFFIXES):
            raise ValidationError(f"Must not end in {' or '.join(SERVER_SUFFIXES)}: these keys are the server's.")


class NewFormTemplateSchema(BodySchema):
    """The body of `POST /form_templates`."""

    name = NameField(SEEN)
    form_structure = fields.List(
        fields.Nested(FieldSchema),
        required=True,
        validate=[validate.Length(1), partial(_bound, "max_template_fields")],
    )

    @validates("form_structure")
    def check_names(self, structure: Sequence[Values], data_key: str) -> None:
        """A form fill's data has one value for each name."""
        # marshmallow leaves the invalid keys of a field out.
        counts = Counter(field["name"] for field in structure if "name" in field)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            raise ValidationError(f"Field names must be unique; repeated: {', '.join(repeated)}.")
