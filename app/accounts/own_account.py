"""One's own account: a new password, and the devices on which one is signed in (contract, section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from flask import Response, g
from marshmallow import RAISE, Schema, fields, validate
from sqlalchemy import select, update

from app.accounts import throttle
from app.accounts.passwords import LONGEST, SHORTEST, is_password
from app.accounts.users import change_own_password
from app.clock import now, to_wire
from app.config import current_settings
from app.core.database.engine import db
from app.core.values import JsonObject, Values
from app.errors import InvalidError, NotFoundError
from app.http.logs import log_security_event
from app.models import SignIn
from app.openapi.shapes import BOOLEAN, TEXT, TIME, UUID, Named, array_of, nullable, obj
from app.web import RestBlueprint, answer, described, origin_of_request, signed_in_user, unit_of_work

blueprint = RestBlueprint("account", __name__, description="Your own password and sign-ins")

#: A sign-in as its owner sees it.
SIGN_IN = Named(
    "SignIn", obj(id=UUID, device_id=nullable(TEXT), created_at=TIME, last_used_at=TIME, is_current=BOOLEAN)
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
    user = signed_in_user()
    with throttle.counted(user.email, InvalidError):
        if not is_password(body["current_password"], user.password_hash):
            log_security_event("wrong current password")
            raise InvalidError(extra={"details": {"current_password": ["This is not your password."]}})
    change_own_password(origin_of_request(), user, body["new_password"], g.sign_in_id)
    return answer({}, "Password changed; all other sign-ins have ended")


@blueprint.get("/auth/sign_ins")
@described(data=obj(sign_ins=array_of(SIGN_IN)))
def list_sign_ins() -> Response:
    """Your sign-ins, the one that was used last first."""
    sign_ins = _present_sign_ins(signed_in_user().id)
    return answer({"sign_ins": [_serialize(sign_in) for sign_in in sign_ins]}, "Sign-ins retrieved successfully")


@blueprint.delete("/auth/sign_ins/<sign_in_id>")
@described(data=obj(), errors=("not_found",))
def end_sign_in(sign_in_id: str) -> Response:
    """End one of your sign-ins: its tokens stop working at once. Unsent work stays on its device."""
    user_id = signed_in_user().id

    def work(_unit_id: str) -> bool:
        statement = update(SignIn).where(
            SignIn.id == sign_in_id, SignIn.user_id == user_id, SignIn.revoked_at.is_(None)
        )
        result = db.session.execute(
            statement.values(revoked_at=now()), execution_options={"synchronize_session": False}
        )
        return bool(result.rowcount)  # type: ignore[attr-defined]

    if not unit_of_work(work):
        raise NotFoundError("Sign-in not found")
    return answer({}, "Sign-in ended")


def _present_sign_ins(user_id: int) -> Sequence[SignIn]:
    """The sign-ins of a user that have not ended."""
    settings = current_settings()
    statement = select(SignIn).where(
        SignIn.user_id == user_id,
        SignIn.revoked_at.is_(None),
        SignIn.last_used_at > now() - timedelta(days=settings.refresh_token_days),
        SignIn.created_at > now() - timedelta(days=settings.sign_in_days),
    )
    return db.session.scalars(statement.order_by(SignIn.last_used_at.desc(), SignIn.id)).all()


def _serialize(sign_in: SignIn) -> JsonObject:
    return {
        "id": sign_in.id,
        "device_id": sign_in.device_id,
        "created_at": to_wire(sign_in.created_at),
        "last_used_at": to_wire(sign_in.last_used_at),
        "is_current": sign_in.id == g.sign_in_id,
    }
