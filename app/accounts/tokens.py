"""Sign-ins as families of tokens: rotation, the grace for a lost answer, revocation (contract, section 1).

A refresh *uses* the refresh token that it is made with, and gives it a successor. Requests with an access token use
nothing. Two tabs may refresh with one token at once, or an answer may be lost. A used token may therefore be used again
for `FIELDPOST_REFRESH_REUSE_SECONDS`, and after that until one of its successors has been used. Each use gives another
successor, and all of them stay valid, each with successors of its own.

A token that may not be used again is spent, and its row is deleted. A refresh token without a row can only come from a
copy: the family is revoked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Delete, Result, Update, bindparam, delete, not_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.accounts.bearer import Claims, make_tokens
from app.accounts.sign_ins import add_sign_in, is_present, locked_user
from app.clock import now
from app.config import current_settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.database.rows import detached, row_columns
from app.core.ledger.unit import unit_of_work
from app.core.values import JsonObject
from app.errors import UnauthorizedError
from app.http.logs import log_security_event
from app.models import RefreshToken, SignIn, User

#: No row that a statement changes is read again from the session.
UNSYNCHRONIZED = {"synchronize_session": False}

_users, _sign_ins = User.__table__.c, SignIn.__table__.c


class _Family(NamedTuple):
    """The columns of `SignIn` that are read for every request."""

    device_id: str | None
    revoked_at: datetime | None


#: The user and the family of a token. Built once, of columns.
HOLDER = (
    select(*row_columns(User), *(_sign_ins[name] for name in _Family._fields))
    .where(_sign_ins.user_id == _users.id)
    .where(_sign_ins.id == bindparam("sign_in_id"), _users.id == bindparam("user_id"))
)


def start_sign_in(user: User, device_id: str | None) -> JsonObject | None:
    """Tokens of a new family for `user`, as read when the password was checked; None if the user has changed since."""

    def work(_unit_id: str) -> Claims | None:
        sign_in = add_sign_in(user, device_id=device_id)
        return None if sign_in is None else _issue(sign_in, predecessor_id=None)

    claims = unit_of_work(work)
    return None if claims is None else _answer(claims, user, device_id)


def refresh(claims: Claims) -> JsonObject:
    """The next pair of tokens for a refresh token. Raises `UnauthorizedError` with `token_revoked`."""

    def work(_unit_id: str) -> JsonObject | None:
        user = locked_user(claims.user_id)
        sign_in = _locked_sign_in(claims)
        if user is None or not user.active or sign_in is None:
            return None
        if not _use(claims):
            # Committed instead of raised, so that the copied token is of no further use.
            sign_in.revoked_at = now()
            log_security_event("refresh token reused", account_id=user.id)
            return None
        sign_in.last_used_at = now()
        return _answer(_issue(sign_in, predecessor_id=claims.token_id), user, sign_in.device_id)

    tokens = unit_of_work(work)
    if tokens is None:
        raise _revoked()
    return tokens


def check_access(claims: Claims) -> tuple[User, str | None]:
    """The user of an access token, detached from any session, and the device that was named at the sign-in.

    They are read in one query by itself: no unit of work decides on them.
    Raises `UnauthorizedError` with `token_revoked`.
    """
    values = _holder(claims)
    if values is None:
        raise _revoked()
    user, family = detached(User, values), _Family._make(values[-len(_Family._fields) :])
    if family.revoked_at is not None or not user.active:
        raise _revoked()
    return user, family.device_id


def _holder(claims: Claims) -> Sequence[object] | None:
    """The row that `HOLDER` finds. The query is repeated if the connection had broken while it was idle."""
    query = Read(statement=HOLDER, parameters={"sign_in_id": claims.sign_in_id, "user_id": claims.user_id})
    for is_last in (False, True):
        try:
            with db.engine.connect() as connection:
                database_of(connection).read(connection, [query])
            break
        except DBAPIError as error:
            if is_last or not error.connection_invalidated:
                raise
    return query.rows[0] if query.rows else None


def end_sign_ins(session: Session, user_id: int, except_id: str | None = None) -> None:
    """Revoke all sign-ins of a user, except `except_id` if given, within the caller's unit of work."""
    statement = update(SignIn).where(SignIn.user_id == user_id, SignIn.revoked_at.is_(None))
    if except_id is not None:
        statement = statement.where(SignIn.id != except_id)
    session.execute(statement.values(revoked_at=now()), execution_options=UNSYNCHRONIZED)


def remove_ended_sign_ins() -> int:
    """Delete sign-ins that are revoked or expired, and return how many. Their tokens stay revoked.

    Expired refresh tokens of the other sign-ins go with them: those of lost answers are never used.
    """
    moment = now()
    oldest = moment - timedelta(days=current_settings().refresh_token_days)

    def work(_unit_id: str) -> int:
        _execute(delete(RefreshToken).where(RefreshToken.issued_at < oldest))
        return int(_execute(delete(SignIn).where(not_(is_present(moment)))).rowcount)  # type: ignore[attr-defined]

    return unit_of_work(work)


def end_sign_in(sign_in_id: str) -> None:
    """Revoke one sign-in: its tokens stop working at once."""

    def work(_unit_id: str) -> None:
        _execute(update(SignIn).where(SignIn.id == sign_in_id).values(revoked_at=now()))

    unit_of_work(work)


def _use(claims: Claims) -> bool:
    """Use a refresh token of a locked family; False if it is spent, or none of this family."""
    latest = now() - timedelta(seconds=current_settings().refresh_reuse_seconds)
    spent = (RefreshToken.sign_in_id == claims.sign_in_id, RefreshToken.has_used_successor)
    _execute(delete(RefreshToken).where(*spent, RefreshToken.first_used_at < latest))
    token = db.session.get(RefreshToken, claims.token_id, populate_existing=True)
    if token is None or token.sign_in_id != claims.sign_in_id:
        return False
    if token.first_used_at is None:
        token.first_used_at = now()
        predecessor = RefreshToken.id == token.predecessor_id
        _execute(update(RefreshToken).where(predecessor).values(has_used_successor=True))
    return True


def _issue(sign_in: SignIn, predecessor_id: str | None) -> Claims:
    """The claims of a new refresh token of the family, stored with the caller's unit of work."""
    token_id = str(uuid4())
    # There is no relationship that would tell the session which of the two rows comes first.
    db.session.flush()
    db.session.add(RefreshToken(id=token_id, sign_in_id=sign_in.id, predecessor_id=predecessor_id, issued_at=now()))
    return Claims(user_id=sign_in.user_id, sign_in_id=sign_in.id, token_id=token_id)


def _execute(statement: Update | Delete) -> Result[Any]:
    return db.session.execute(statement, execution_options=UNSYNCHRONIZED)


def _locked_sign_in(claims: Claims) -> SignIn | None:
    """The family, locked; None if it is revoked, or began too long ago."""
    statement = (
        select(SignIn)
        .where(SignIn.id == claims.sign_in_id, SignIn.user_id == claims.user_id, SignIn.revoked_at.is_(None))
        .where(SignIn.created_at > now() - timedelta(days=current_settings().sign_in_days))
        .with_for_update()
    )
    return db.session.scalar(statement, execution_options={"populate_existing": True})


def _answer(claims: Claims, user: User, device_id: str | None) -> JsonObject:
    return {"success": True, **make_tokens(claims), "user": serialize_user(user), "device_id": device_id}


def serialize_user(user: User) -> JsonObject:
    """`{"id", "email", "name", "role"}`."""
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


def _revoked() -> UnauthorizedError:
    return UnauthorizedError("token_revoked", "This sign-in has ended. Sign in again; queued work stays valid.")
