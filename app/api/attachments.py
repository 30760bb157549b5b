"""Reading attachments: their bytes, a form fill's list, and whether photos have arrived (contract, sections 4, 7)."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response, request
from marshmallow import ValidationError, fields, validate
from sqlalchemy import or_, select

from app import policies
from app.administration.fields import BodySchema
from app.api.form_fills import visible_form_fill
from app.attachments import send_attachment
from app.config import current_settings
from app.core.database.engine import db
from app.core.values import MAX_INTEGER, UUID_FORM, NameField, Values, read_key, read_text_id
from app.errors import InvalidError, NotFoundError, TooLargeError
from app.http.body import details_of, read_json, read_query
from app.models import Attachment, FormFill, Inspection
from app.models.serialize import serialize
from app.openapi.shapes import (
    ATTACHMENT,
    FORM_FILL_KEY,
    ROW_ID,
    TEXT,
    TEXT_OF_ID,
    array_of,
    obj,
    one_of,
    with_description,
)
from app.web import answer, described, signed_in_user, wrong_id

blueprint = Blueprint("attachments", __name__)

#: The values of `?variant=`. Without it the stored bytes are sent.
VARIANTS = (None, "thumbnail")


class FormFillKey(fields.Field[int | str]):
    """A form fill's id, or its client_id in lower case."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> int | str:
        try:
            return read_key(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class PhotoSchema(BodySchema):
    """A photo that a device asks about."""

    form_fill_id = FormFillKey(
        required=True,
        metadata={
            "oneOf": [
                {"type": "integer", "format": "int64", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
                {"type": "string", "pattern": f"^{UUID_FORM.pattern}$"},
            ],
            "description": f"An id, or a client_id. {TEXT_OF_ID}",
        },
    )
    field_name = NameField()
    sha256 = fields.String(
        required=True,
        # `$` also matches before a line break at the end, so the length is checked too.
        validate=[
            validate.Length(equal=64, error="Not a SHA-256 in hex."),
            validate.Regexp(r"^[0-9a-fA-F]{64}$", error="Not a SHA-256 in hex."),
        ],
    )


#: The bytes, of either kind.
BYTES = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png")}


@blueprint.get("/attachments/<attachment_id>")
@described(
    query={"variant": {"type": "string", "enum": ["thumbnail"], "description": "A JPEG, its longest side ≤ 1024 px."}},
    headers={
        "Range": with_description(TEXT, "RFC 9110, section 14: `bytes=0-1023`."),
        "If-None-Match": with_description(TEXT, "The ETag of an earlier answer."),
        "If-Match": with_description(TEXT, "Another ETag than the present one is answered with 412."),
    },
    answers={
        200: {
            "description": "The bytes as they were sent, or without metadata, or the thumbnail",
            "headers": {"ETag": {"schema": TEXT}, "Cache-Control": {"schema": TEXT}},
            "content": BYTES,
        },
        206: {
            "description": "The bytes of the range",
            "headers": {"Content-Range": {"schema": TEXT}},
            "content": BYTES,
        },
        302: {"description": "Where to fetch the bytes", "headers": {"Location": {"schema": TEXT}}},
        304: {"description": "The device has them"},
    },
    errors=("invalid", "not_found", "precondition_failed", "range_not_satisfiable"),
)
def get_attachment(attachment_id: str) -> Response:
    """The stored bytes, or with `?variant=thumbnail` a small JPEG; ranges and ETags as in RFC 9110."""
    variant = read_query(request, "variant").get("variant")
    if variant not in VARIANTS:
        raise InvalidError(extra={"details": {"variant": ["Must be thumbnail, or not sent."]}})
    attachment = _visible(attachment_id)
    # No database connection is held while the bytes are sent.
    db.session.remove()
    return send_attachment(request, attachment, variant)


@blueprint.get("/form_fills/<row_key:key>/attachments")
@described(path={"key": FORM_FILL_KEY}, data=obj(attachments=array_of(ATTACHMENT)), errors=("not_found",))
def list_attachments(key: int | str) -> Response:
    """A form fill's attachments with sizes and SHA-256, in order of upload."""
    form_fill_id = visible_form_fill(key)
    statement = (
        select(Attachment)
        .where(Attachment.form_fill_id == form_fill_id, Attachment.deleted_at.is_(None))
        .order_by(Attachment.position)
    )
    attachments = [serialize(attachment) for attachment in db.session.scalars(statement)]
    return answer({"attachments": attachments}, "Attachments retrieved successfully")


@blueprint.post("/sync/verify_attachments")
@described(
    body=PhotoSchema(many=True),
    data=obj(
        attachments=array_of(
            obj(
                form_fill_id=ROW_ID,
                field_name=TEXT,
                sha256=TEXT,
                status=one_of("stored", "missing", "deleted"),
            )
        )
    ),
    errors=("too_many_items",),
)
def verify_attachments() -> Response:
    """Which photos are `stored`, `missing` or `deleted`. A device asks before it deletes its own copies.

    The body is an array of `{"form_fill_id", "field_name", "sha256"}`; each comes back with its `status`. Photos that
    the user may not see are `missing`.
    """
    body = read_json(request)
    limit = current_settings().max_batch_items
    if not isinstance(body, list):
        raise InvalidError(message='Send an array of {"form_fill_id", "field_name", "sha256"}.')
    if len(body) > limit:
        raise TooLargeError(limit, f"{len(body)} photos at once", code="too_many_items")
    try:
        asked = PhotoSchema(many=True).load(body)
    except ValidationError as error:
        raise InvalidError(extra={"details": details_of(error)}) from None
    known = _statuses(asked)
    statuses = [
        {**sent, "status": known.get((photo["form_fill_id"], photo["field_name"], photo["sha256"].lower()), "missing")}
        for sent, photo in zip(body, asked, strict=True)
    ]
    return answer({"attachments": statuses}, "Attachments verified")


def _statuses(asked: Iterable[Values]) -> dict[tuple[int | str, str, str], str]:
    """(form fill, field, SHA-256) -> `stored` or `deleted`, for form fills by id and by client_id. One query."""
    keys = {photo["form_fill_id"] for photo in asked}
    statement = (
        select(FormFill.id, FormFill.client_id, Attachment.field_name, Attachment.sha256, Attachment.deleted_at)
        .join(Attachment, Attachment.form_fill_id == FormFill.id)
        .join(Inspection, Inspection.id == FormFill.inspection_id)
        .where(
            policies.visible(signed_in_user()),
            or_(
                FormFill.id.in_([key for key in keys if isinstance(key, int)]),
                FormFill.client_id.in_([key for key in keys if isinstance(key, str)]),
            ),
            Attachment.sha256.in_({photo["sha256"].lower() for photo in asked}),
        )
    )
    statuses: dict[tuple[int | str, str, str], str] = {}
    for id_, client_id, field_name, sha256, deleted_at in db.session.execute(statement):
        for key in (id_, client_id):
            if deleted_at is None:
                statuses[key, field_name, sha256] = "stored"
            else:
                statuses.setdefault((key, field_name, sha256), "deleted")
    return statuses


def _visible(attachment_id: str) -> Attachment:
    """The attachment. Raises `NotFoundError` if it is deleted or below an inspection that the user may not see."""
    _check_id(attachment_id)
    statement = (
        select(Attachment)
        .join(Inspection, Inspection.id == Attachment.inspection_id)
        .where(Attachment.id == attachment_id, Attachment.deleted_at.is_(None), policies.visible(signed_in_user()))
    )
    attachment: Attachment | None = db.session.scalar(statement)
    if attachment is None:
        raise NotFoundError("Attachment not found")
    return attachment


def _check_id(attachment_id: str) -> None:
    try:
        read_text_id(attachment_id)
    except ValueError:
        raise wrong_id("attachment_id") from None
