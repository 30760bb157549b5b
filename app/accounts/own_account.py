"""One's own account: a new password, and the devices on which one is signed in (contract, section 1)."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response, g
from marshmallow import RAISE, Schema, fields, validate

from app.accounts import throttle
from app.accounts.passwords import LONGEST, SHORTEST, is_password
from app.accounts.sign_ins import end_sign_ins_of, sign_ins_of
from app.accounts.users import change_own_password
from app.clock import to_wire
from app.core.ledger.audit import count_try
from app.core.values import JsonObject, Values
from app.errors import InvalidError, NotFoundError
from app.http.logs import log_security_event
from app.models import SignIn
from app.openapi.shapes import BOOLEAN, TEXT, TIME, UUID, Named, array_of, nullable, obj
from app.web import Origin, RestBlueprint, answer, described, origin_of_request, signed_in_user

blueprint = RestBlueprint("account", __name__, description="Your own password and sign-ins")

#: A sign-in as its owner sees it.
SIGN_IN = Named(
    "SignIn",
    obj(
        id=UUID,
        device_id=nullable(TEXT),
        is_browser=BOOLEAN,
        created_at=TIME,
        last_used_at=TIME,
        is_current=BOOLEAN,
    ),
)


class PasswordChangeSchema(Schema):
    """The body of `POST /auth/password`."""

    class Meta:
        #: The default, repeated for the OpenAPI document.
        unknown = RAISE

    current_password = fields.String(required=True, validate=validate.Length(1, LONGEST))
    new_password = fields.String(required=True, validate=validate.Length(SHORTEST, LONGEST))


@blueprint.post("/auth/password")
@described(data=obj(), errors=("too_many_requests",))
@blueprint.body(PasswordChangeSchema)
def change_password(body: Values) -> Response:
    """Change your password. All your other sign-ins end."""
    replace_password(origin_of_request(), body["current_password"], body["new_password"])
    return answer({}, "Password changed; all other sign-ins have ended")


def replace_password(origin: Origin, current: str, new: str) -> None:
    """Give the signed-in user another password. All sign-ins but the present one end.

    Raises `InvalidError` that names `current_password` or `new_password`, and `TooManyTriesError`.
    """
    user = signed_in_user()
    with throttle.counted(user.email, InvalidError):
        if not is_password(current, user.password_hash):
            log_security_event("wrong current password")
            count_try("password_change_failed", origin.door, user.id, user)
            raise InvalidError(extra={"details": {"current_password": ["This is not your password."]}})
    change_own_password(origin, user, new, g.sign_in_id)


@blueprint.get("/auth/sign_ins")
@described(data=obj(sign_ins=array_of(SIGN_IN)))
def list_sign_ins() -> Response:
    """Your sign-ins, the one that was used last first."""
    sign_ins = present_sign_ins()
    return answer({"sign_ins": [_serialize(sign_in) for sign_in in sign_ins]}, "Sign-ins retrieved successfully")


@blueprint.delete("/auth/sign_ins/<sign_in_id>")
@described(data=obj(), errors=("not_found",))
def end_sign_in(sign_in_id: str) -> Response:
    """End one of your sign-ins: its tokens stop working at once. Unsent work stays on its device."""
    end_own_sign_in(origin_of_request(), sign_in_id)
    return answer({}, "Sign-in ended")


def end_own_sign_in(origin: Origin, sign_in_id: str) -> None:
    """End one of the signed-in user's sign-ins. Raises `NotFoundError` if there is none with this id."""
    user = signed_in_user()
    if not end_sign_ins_of(origin, user, user.id, sign_in_id):
        raise NotFoundError("Sign-in not found")


def present_sign_ins() -> Sequence[SignIn]:
    """The sign-ins of the signed-in user that have not ended, the one that was used last first."""
    return sign_ins_of(signed_in_user().id)


def _serialize(sign_in: SignIn) -> JsonObject:
    return {
        "id": sign_in.id,
        "device_id": sign_in.device_id,
        "is_browser": sign_in.is_browser,
        "created_at": to_wire(sign_in.created_at),
        "last_used_at": to_wire(sign_in.last_used_at),
        "is_current": sign_in.id == g.sign_in_id,
    }
