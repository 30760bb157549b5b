"""Sign-ins as families of tokens: rotation, the grace for a lost answer, revocation (contract, section 1).

A family has generations: a sign-in issues generation 0, and each refresh the next one. If the answer of a refresh is
lost, the device repeats it with the same token. Each repetition is another *attempt* at the next generation, and
replaces the attempt before. The first use of a token of the next generation makes that generation the present one. From
then on a refresh token of an older generation, or of a replaced attempt, can only come from a copy: the family is
revoked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import uuid4

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.accounts.bearer import Claims, make_tokens
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
from app.models import SignIn, User

#: The place of a token in its family.
PRESENT, NEXT, OLDER, REPLACED = "present", "next", "older", "replaced"

_users, _sign_ins = User.__table__.c, SignIn.__table__.c


class _Family(NamedTuple):
    """The columns of `SignIn` that are read for every request."""

    device_id: str | None
    generation: int
    attempt: int
    next_attempt: int
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
        present = _locked_user(user.id)
        if present is None or not present.active or present.password_hash != user.password_hash:
            return None
        moment = now()
        sign_in = SignIn(
            id=str(uuid4()), user_id=user.id, device_id=device_id, created_at=moment, last_used_at=moment,
            generation=0, attempt=0, next_attempt=0,
        )  # fmt: skip
        db.session.add(sign_in)
        db.session.flush()
        return Claims(user_id=user.id, sign_in_id=sign_in.id, generation=0, attempt=0)

    claims = unit_of_work(work)
    return None if claims is None else _answer(claims, user, device_id)


def refresh(claims: Claims) -> JsonObject:
    """The next pair of tokens for a refresh token. Raises `UnauthorizedError` with `token_revoked`."""

    def work(_unit_id: str) -> JsonObject | None:
        user = _locked_user(claims.user_id)
        sign_in = _locked_sign_in(claims)
        if user is None or not user.active or sign_in is None:
            return None
        place = _place(sign_in, claims)
        if place in (OLDER, REPLACED):
            # Committed instead of raised, so that the copied token is of no further use.
            sign_in.revoked_at = now()
            log_security_event("refresh token reused", account_id=user.id)
            return None
        if place == NEXT:
            _promote(sign_in, claims)
        sign_in.next_attempt += 1
        sign_in.last_used_at = now()
        following = Claims(
            user_id=user.id,
            sign_in_id=sign_in.id,
            generation=sign_in.generation + 1,
            attempt=sign_in.next_attempt,
        )
        return _answer(following, user, sign_in.device_id)

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
    place = _place(family, claims)
    if family.revoked_at is not None or not user.active or place == REPLACED:
        raise _revoked()
    if place == NEXT:
        _use_first_time(claims)
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
    session.execute(statement.values(revoked_at=now()), execution_options={"synchronize_session": False})


def remove_ended_sign_ins() -> int:
    """Delete sign-ins that are revoked or expired, and return how many. Their tokens stay revoked."""
    oldest = now() - timedelta(days=current_settings().refresh_token_days)

    def work(_unit_id: str) -> int:
        ended = or_(SignIn.revoked_at.is_not(None), SignIn.last_used_at < oldest)
        result = db.session.execute(delete(SignIn).where(ended), execution_options={"synchronize_session": False})
        return int(result.rowcount)  # type: ignore[attr-defined]

    return unit_of_work(work)


def end_sign_in(sign_in_id: str) -> None:
    """Revoke one sign-in: its tokens stop working at once."""

    def work(_unit_id: str) -> None:
        db.session.execute(
            update(SignIn).where(SignIn.id == sign_in_id).values(revoked_at=now()),
            execution_options={"synchronize_session": False},
        )

    unit_of_work(work)


def _use_first_time(claims: Claims) -> None:
    """Make the token's generation the present one, because the answer with it has arrived."""

    def work(_unit_id: str) -> bool:
        sign_in = _locked_sign_in(claims)
        place = None if sign_in is None else _place(sign_in, claims)
        if sign_in is not None and place == NEXT:
            _promote(sign_in, claims)
        return place in (PRESENT, NEXT, OLDER)

    if not unit_of_work(work):
        raise _revoked()


class _Numbers(Protocol):
    """The numbers of a family, in a `SignIn` or a `_Family`."""

    @property
    def generation(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def next_attempt(self) -> int: ...


def _place(family: _Numbers, claims: Claims) -> str:
    """The place of a token in its family.

    Of older generations only the number is known; their access tokens work until they expire.
    """
    if claims.generation < family.generation:
        return OLDER
    if claims.generation == family.generation:
        return PRESENT if claims.attempt == family.attempt else REPLACED
    return NEXT if claims.attempt == family.next_attempt else REPLACED


def _promote(sign_in: SignIn, claims: Claims) -> None:
    sign_in.generation, sign_in.attempt, sign_in.next_attempt = claims.generation, claims.attempt, 0


def _locked_user(user_id: int) -> User | None:
    statement = select(User).where(User.id == user_id).with_for_update(read=True)
    return db.session.scalar(statement, execution_options={"populate_existing": True})


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
