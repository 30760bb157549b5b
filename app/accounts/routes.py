"""Signing in and out: `/auth/login`, `/auth/refresh`, `/auth/logout`, `/auth/me` (contract, section 1)."""

from __future__ import annotations

from functools import partial
from itertools import islice

from flask import Blueprint, Response, g, jsonify, request
from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates

from app.accounts import bearer, sign_ins, tokens
from app.accounts.credentials import sign_in_with
from app.accounts.passwords import LONGEST
from app.core.values import UUID_FORM, JsonObject
from app.errors import InvalidError
from app.http.body import MAX_DETAILS, details_of, read_json
from app.openapi.error_codes import WITH_TOKEN
from app.openapi.shapes import TEXT, TRUE, USER, UUID, JsonSchema, Named, nullable, obj, with_description
from app.web import described, origin_of_request, public, signed_in_user

blueprint = Blueprint("auth", __name__)

#: The answer of a sign-in and of a refresh.
TOKENS = Named(
    "Tokens",
    obj(
        success=TRUE,
        access_token=TEXT,
        refresh_token=TEXT,
        token_type={"type": "string", "const": "Bearer"},
        expires_in=with_description({"type": "integer"}, "Seconds until the access token expires."),
        user=USER,
        device_id=nullable(UUID),
    ),
)
UNCACHED: dict[str, JsonSchema] = {"Cache-Control": TEXT}


class CredentialsSchema(Schema):
    """The body of `POST /auth/login`."""

    class Meta:
        #: The default, repeated for the OpenAPI document.
        unknown = RAISE

    email = fields.String(required=True, validate=validate.Length(1, 255))
    password = fields.String(required=True, validate=validate.Length(1, LONGEST))
    #: Stored and echoed as sent; a device always sends the same id.
    device_id = fields.String(allow_none=True, load_default=None, metadata={"format": "uuid"})

    @validates("device_id")
    def check_device_id(self, value: str | None, data_key: str) -> None:
        """A UUID in its usual form."""
        if value is not None and not UUID_FORM.fullmatch(value):
            raise ValidationError("Not a valid UUID.")


@blueprint.post("/auth/login")
@public
@described(
    body=CredentialsSchema,
    examples={"a device": {"email": "technician@example.com", "password": "the technician's own"}},
    answer=TOKENS,
    answer_headers=UNCACHED,
    errors=("wrong_credentials", "too_many_requests"),
)
def login() -> Response:
    """Exchange e-mail and password for tokens. An unknown e-mail gets the same answer in the same time."""
    credentials = _read_credentials()
    start = partial(tokens.start_sign_in, device_id=credentials["device_id"])
    return _uncached(sign_in_with(credentials["email"], credentials["password"], start, "rest"))


@blueprint.post("/auth/refresh")
@public
@described(answer=TOKENS, answer_headers=UNCACHED, errors=WITH_TOKEN, security="refresh_token")
def refresh() -> Response:
    """Exchange a refresh token for the next pair."""
    return _uncached(tokens.refresh(bearer.read_token(bearer.bearer_token(request), bearer.REFRESH)))


@blueprint.post("/auth/logout")
@described(answer=obj(success=TRUE, message=TEXT))
def logout() -> Response:
    """End this sign-in."""
    sign_ins.sign_out(origin_of_request(), signed_in_user(), g.sign_in_id)
    return jsonify({"success": True, "message": "Signed out"})


@blueprint.get("/auth/me")
@described(answer=obj(success=TRUE, user=USER, device_id=nullable(UUID)))
def me() -> Response:
    """The signed-in user."""
    return jsonify({"success": True, "user": tokens.serialize_user(signed_in_user()), "device_id": g.device_id})


def _read_credentials() -> JsonObject:
    body = read_json(request)
    if not isinstance(body, dict):
        raise InvalidError(message='Send an object: {"email", "password", "device_id"?}.')
    try:
        credentials: JsonObject = CredentialsSchema().load(_without_surplus(body))
    except ValidationError as error:
        raise InvalidError(extra={"details": details_of(error)}) from None
    return credentials


def _without_surplus(body: JsonObject) -> JsonObject:
    """All known keys, and no more unknown ones than an answer names; marshmallow takes its time for each."""
    known = {name: body[name] for name in CredentialsSchema._declared_fields if name in body}
    return known | dict(islice(body.items(), MAX_DETAILS))


def _uncached(body: JsonObject) -> Response:
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response
