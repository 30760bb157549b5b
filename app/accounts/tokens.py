"""Sign-ins as families of tokens: rotation, the grace for a lost answer, revocation (contract, section 1).

A family has generations: signing in issues number 0, each refresh the next. A refresh whose answer was lost is
repeated with the same token; each repetition is another *attempt* at the next generation and replaces the one
before. The first use of a token of the next generation makes it the present one. From then on a refresh token of
an older generation, or of a replaced attempt, can only come from somebody who copied it: the family is revoked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
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
from app.errors import UnauthorizedError
from app.models import SignIn, User

#: Where a token stands in its family.
PRESENT, NEXT, OLDER, REPLACED = "present", "next", "older", "replaced"


_users, _sign_ins = User.__table__.c, SignIn.__table__.c


class _Family(NamedTuple):
    """A sign-in as it is read for every request: columns of `SignIn`."""

    device_id: str | None
    generation: int
    attempt: int
    next_attempt: int
    revoked_at: datetime | None


#: Who holds a token, and its family. Built once, and of columns.
HOLDER = (
    select(*row_columns(User), *(_sign_ins[name] for name in _Family._fields))
    .where(_sign_ins.user_id == _users.id)
    .where(_sign_ins.id == bindparam("sign_in_id"), _users.id == bindparam("user_id"))
)


def start_sign_in(user: User, device_id: str | None) -> dict[str, Any] | None:
    """A new family for `user` as it was read with its password; its tokens. None if the user changed meanwhile."""

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


def refresh(claims: Claims) -> dict[str, Any]:
    """The next pair of tokens for a refresh token. Raises `UnauthorizedError` with `token_revoked`."""

    def work(_unit_id: str) -> dict[str, Any] | None:
        user = _locked_user(claims.user_id)
        sign_in = _locked_sign_in(claims)
        if user is None or not user.active or sign_in is None:
            return None
        place = _place(sign_in, claims)
        if place in (OLDER, REPLACED):
            # Committed, not raised: whoever copied the token must not get any further.
            sign_in.revoked_at = now()
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
    """The user whom an access token stands for, detached from any session, and the device that was named.

    Read in one query by itself: no decision of a unit of work is taken on it.
    Raises `UnauthorizedError` with `token_revoked`.
    """
    values = _holder(claims)
    if values is None:
        raise _revoked()
    user, family = detached(User, values), _Family(*values[-len(_Family._fields) :])
    place = _place(family, claims)
    if family.revoked_at is not None or not user.active or place == REPLACED:
        raise _revoked()
    if place == NEXT:
        _use_first_time(claims)
    return user, family.device_id


def _holder(claims: Claims) -> Sequence[Any] | None:
    """The row that `HOLDER` finds. Asked again where the connection broke while nobody used it."""
    query = Read(statement=HOLDER, parameters={"sign_in_id": claims.sign_in_id, "user_id": claims.user_id})
    for is_last in (False, True):
        try:
            with db.engine.connect() as connection:
                database_of(connection).read(connection, [query])
            break
        except DBAPIError as error:
            if is_last or not error.connection_invalidated:
                raise
    return query.found[0] if query.found else None


def end_sign_ins(session: Session, user_id: int, except_id: str | None = None) -> None:
    """Revoke all sign-ins of a user, but one if named, within the caller's unit of work."""
    statement = update(SignIn).where(SignIn.user_id == user_id, SignIn.revoked_at.is_(None))
    if except_id is not None:
        statement = statement.where(SignIn.id != except_id)
    session.execute(statement.values(revoked_at=now()), execution_options={"synchronize_session": False})


def remove_ended_sign_ins() -> int:
    """Forget sign-ins whose tokens no longer work, revoked or expired; how many. A token of theirs stays revoked."""
    oldest = now() - timedelta(days=current_settings().refresh_token_days)

    def work(_unit_id: str) -> int:
        ended = or_(SignIn.revoked_at.is_not(None), SignIn.last_used_at < oldest)
        result: Any = db.session.execute(delete(SignIn).where(ended), execution_options={"synchronize_session": False})
        return int(result.rowcount)

    return unit_of_work(work)


def end_sign_in(sign_in_id: str) -> None:
    """Revoke one sign-in: both its tokens stop working at once."""

    def work(_unit_id: str) -> None:
        db.session.execute(
            update(SignIn).where(SignIn.id == sign_in_id).values(revoked_at=now()),
            execution_options={"synchronize_session": False},
        )

    unit_of_work(work)


def _use_first_time(claims: Claims) -> None:
    """The answer with this token has arrived: its generation is the present one from now on."""

    def work(_unit_id: str) -> bool:
        sign_in = _locked_sign_in(claims)
        place = None if sign_in is None else _place(sign_in, claims)
        if sign_in is not None and place == NEXT:
            _promote(sign_in, claims)
        return place in (PRESENT, NEXT, OLDER)

    if not unit_of_work(work):
        raise _revoked()


def _place(sign_in: Any, claims: Claims) -> str:
    """Where a token stands in its family, a `SignIn` or a row with its columns.

    Of older generations only the number is known; their access tokens work until they expire.
    """
    if claims.generation < sign_in.generation:
        return OLDER
    if claims.generation == sign_in.generation:
        return PRESENT if claims.attempt == sign_in.attempt else REPLACED
    return NEXT if claims.attempt == sign_in.next_attempt else REPLACED


def _promote(sign_in: SignIn, claims: Claims) -> None:
    sign_in.generation, sign_in.attempt, sign_in.next_attempt = claims.generation, claims.attempt, 0


def _locked_user(user_id: int) -> User | None:
    statement = select(User).where(User.id == user_id).with_for_update(read=True)
    return db.session.scalar(statement, execution_options={"populate_existing": True})


def _locked_sign_in(claims: Claims) -> SignIn | None:
    """The family, unless it is revoked."""
    statement = (
        select(SignIn)
        .where(SignIn.id == claims.sign_in_id, SignIn.user_id == claims.user_id, SignIn.revoked_at.is_(None))
        .with_for_update()
    )
    return db.session.scalar(statement, execution_options={"populate_existing": True})


def _answer(claims: Claims, user: User, device_id: str | None) -> dict[str, Any]:
    return {"success": True, **make_tokens(claims), "user": describe_user(user), "device_id": device_id}


def describe_user(user: User) -> dict[str, Any]:
    """`{"id", "email", "name", "role"}`."""
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


def _revoked() -> UnauthorizedError:
    return UnauthorizedError("token_revoked", "This sign-in has ended. Sign in again; queued work stays valid.")
