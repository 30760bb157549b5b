"""Sign-ins as families of tokens: rotation, the grace for a lost answer, revocation (contract, section 1).

A refresh *uses* the refresh token that it is made with, and gives it a successor. Requests with an access token use
nothing. Two tabs may refresh with one token at once, or an answer may be lost. A used token may therefore be used again
for `FIELDPOST_REFRESH_REUSE_SECONDS`, and after that until one of its successors has been used. Each use gives another
successor, and all of them stay valid, each with successors of its own.

A token that may not be used again is spent. Its row is deleted by the use that spends it, or later by the maintenance.
A refresh token that is spent or has no row can only come from a copy: the family is revoked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Delete, Result, Update, and_, bindparam, delete, not_, or_, select, update
from sqlalchemy.orm import Session

from app.accounts.bearer import Claims, make_tokens
from app.accounts.sign_ins import add_sign_in, is_present
from app.clock import now
from app.config import current_settings
from app.core.database import database_of
from app.core.database.alone import read_alone
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.database.rows import detached, row_columns, table_of
from app.core.database.write import Write
from app.core.ledger import audit
from app.core.ledger.record import Origin
from app.core.ledger.unit import bare_unit_of_work, unit_of_work
from app.core.values import JsonObject, Values
from app.errors import UnauthorizedError
from app.http.logs import log_security_event
from app.models import Device, RefreshToken, SignIn, User
from app.models.devices import device_head

#: No row that a statement changes is read again from the session.
UNSYNCHRONIZED = {"synchronize_session": False}

_users, _sign_ins, _tokens = User.__table__.c, SignIn.__table__.c, RefreshToken.__table__.c


class _Family(NamedTuple):
    """The columns of `SignIn` that are read for every request."""

    device_id: str | None
    revoked_at: datetime | None


class _Found(NamedTuple):
    """The row of `THE_TOKEN`: the user, and all that decides about a refresh."""

    #: Of the user.
    id: int
    email: str
    name: str
    role: str
    device_id: str | None
    #: The token that is sent; None: there is no such token in the family.
    token_id: str | None
    predecessor_id: str | None
    first_used_at: datetime | None
    has_used_successor: bool | None
    #: None: the predecessor is spent, or there is none.
    predecessor_used_at: datetime | None

    def may_be_used(self, latest: datetime) -> bool:
        """Whether it is there and not spent; `latest` as of `_latest_use`."""
        return self.token_id is not None and not (self.has_used_successor and _is_before(self.first_used_at, latest))


#: The user and the family of a token. Built once, of columns, as the others here: a refresh is as frequent as a batch.
HOLDER = (
    select(*row_columns(User), *(_sign_ins[name] for name in _Family._fields))
    .where(_sign_ins.user_id == _users.id)
    .where(_sign_ins.id == bindparam("sign_in_id"), _users.id == bindparam("user_id"))
)

_PREDECESSORS = RefreshToken.__table__.alias("predecessors")

#: The user and the token that is sent, of a family that is locked, unless it is revoked or began too long ago.
#:
#: The family's lock is enough: whoever deactivates a user or sets a password also ends the user's sign-ins. While the
#: statement waits for that lock, another refresh may use or spend the token that it has seen: as if this one had come
#: first.
THE_TOKEN = (
    select(
        *(_users.id, _users.email, _users.name, _users.role),
        _sign_ins.device_id,
        *(_tokens.id, _tokens.predecessor_id, _tokens.first_used_at, _tokens.has_used_successor),
        _PREDECESSORS.c.first_used_at.label("predecessor_used_at"),
    )
    .select_from(SignIn.__table__)
    .join(User.__table__, _users.id == _sign_ins.user_id)
    .outerjoin(RefreshToken.__table__, and_(_tokens.sign_in_id == _sign_ins.id, _tokens.id == bindparam("token_id")))
    .outerjoin(_PREDECESSORS, _PREDECESSORS.c.id == _tokens.predecessor_id)
    .where(_sign_ins.id == bindparam("sign_in_id"), _sign_ins.user_id == bindparam("user_id"))
    .where(_sign_ins.revoked_at.is_(None), _sign_ins.created_at > bindparam("earliest"), _users.active)
    .with_for_update(of=SignIn.__table__)
)


def start_sign_in(user: User, device_id: str | None) -> JsonObject | None:
    """Tokens of a new family for `user`, as read when the password was checked; None if the user has changed since."""

    def work(_unit_id: str) -> Claims | None:
        sign_in = add_sign_in(user, device_id=device_id)
        if sign_in is None:
            return None
        db.session.flush()
        claims = Claims(user_id=user.id, sign_in_id=sign_in.id, token_id=str(uuid4()))
        _write(db.session.connection(), _new_token(claims, None, now()), *_device(user.id, device_id))
        return claims

    claims = unit_of_work(work)
    return None if claims is None else _answer(make_tokens(claims), user, device_id)


def refresh(claims: Claims) -> JsonObject:
    """The next pair of tokens for a refresh token. Raises `UnauthorizedError` with `token_revoked`.

    One statement reads all that decides, under the family's lock, and one message writes.
    """
    successor = replace(claims, token_id=str(uuid4()))
    # Signed while nothing is locked. They are thrown away if the token that was sent may not be used.
    tokens = make_tokens(successor)
    found = bare_unit_of_work(partial(_use_up, claims, successor))
    if found is None:
        raise _revoked()
    return _answer(tokens, found, found.device_id)


def _use_up(claims: Claims, successor: Claims, connection: Connection) -> _Found | None:
    """Use the token that has `claims`, and store its successor; None: it may not be used, or its sign-in has ended."""
    found = _lock_and_read(claims, connection)
    if found is None:
        return None
    moment = now()
    if not found.may_be_used(_latest_use(moment)):
        # Committed instead of raised, so that the copied token is of no further use.
        about, origin = ("user", found.id), Origin(door="rest", device_id=found.device_id)
        reuse = audit.entry("refresh_token_reused", origin, None, about)
        _write(connection, _update(SignIn, {"id": claims.sign_in_id, "revoked_at": moment}), reuse)
        log_security_event("refresh token reused", account_id=found.id)
        return None
    family = _update(SignIn, {"id": claims.sign_in_id, "last_used_at": moment})
    _write(connection, *_use(found, moment), family, _new_token(successor, claims.token_id, moment))
    return found


def check_access(claims: Claims) -> tuple[User, str | None]:
    """The user of an access token, detached from any session, and the device that was named at the sign-in.

    They are read in one query by itself: no unit of work decides on them.
    Raises `UnauthorizedError` with `token_revoked`.
    """
    values = read_alone(HOLDER, {"sign_in_id": claims.sign_in_id, "user_id": claims.user_id})
    if values is None:
        raise _revoked()
    user, family = detached(User, values), _Family._make(values[-len(_Family._fields) :])
    if family.revoked_at is not None or not user.active:
        raise _revoked()
    return user, family.device_id


def end_sign_ins(session: Session, user_id: int, except_id: str | None = None) -> None:
    """Revoke all sign-ins of a user, except `except_id` if given, within the caller's unit of work."""
    statement = update(SignIn).where(SignIn.user_id == user_id, SignIn.revoked_at.is_(None))
    if except_id is not None:
        statement = statement.where(SignIn.id != except_id)
    session.execute(statement.values(revoked_at=now()), execution_options=UNSYNCHRONIZED)


def remove_ended_sign_ins() -> int:
    """Delete sign-ins that are revoked or expired, and return how many. Their tokens stay revoked.

    Of the other sign-ins, refresh tokens go that are spent, and those that have expired: of lost answers.
    """
    moment = now()
    oldest = moment - timedelta(days=current_settings().refresh_token_days)
    is_spent = and_(RefreshToken.has_used_successor, RefreshToken.first_used_at < _latest_use(moment))

    def work(_unit_id: str) -> int:
        _execute(delete(RefreshToken).where(or_(RefreshToken.issued_at < oldest, is_spent)))
        return int(_execute(delete(SignIn).where(not_(is_present(moment)))).rowcount)  # type: ignore[attr-defined]

    return unit_of_work(work)


def _lock_and_read(claims: Claims, connection: Connection) -> _Found | None:
    """The row of `THE_TOKEN`; None: the sign-in or its user is not to be used."""
    earliest = now() - timedelta(days=current_settings().sign_in_days)
    names = {"user_id": claims.user_id, "sign_in_id": claims.sign_in_id, "token_id": claims.token_id}
    query = Read(statement=THE_TOKEN, parameters={**names, "earliest": earliest})
    database_of(connection).read(connection, [query])
    return _Found._make(query.rows[0]) if query.rows else None


def _use(token: _Found, moment: datetime) -> Iterator[Write]:
    """The writes that use a token. Its first use shows that its predecessor's answer has arrived."""
    if token.first_used_at is not None:
        return
    yield _update(RefreshToken, {"id": token.token_id, "first_used_at": moment})
    if _is_before(token.predecessor_used_at, _latest_use(moment)):
        yield Write(kind="delete", table=table_of(RefreshToken), names=(), rows=[{"id": token.predecessor_id}])
    elif token.predecessor_used_at is not None:
        yield _update(RefreshToken, {"id": token.predecessor_id, "has_used_successor": True})


def _is_before(moment: datetime | None, latest: datetime) -> bool:
    return moment is not None and moment < latest


def _latest_use(moment: datetime) -> datetime:
    """A token that was first used before this is spent at `moment`, once one of its successors has been used."""
    return moment - timedelta(seconds=current_settings().refresh_reuse_seconds)


def _device(user_id: int, device_id: str | None) -> Iterator[Write]:
    """The device's row, for one that has none yet (contract, section 13)."""
    if device_id is not None:
        head = device_head(user_id, device_id)
        yield Write(kind="put", table=table_of(Device), names=tuple(head), rows=[head])


def _new_token(claims: Claims, predecessor_id: str | None, moment: datetime) -> Write:
    """Stores the refresh token that has these claims; once, if its unit of work is repeated."""
    values = {
        "id": claims.token_id,
        "sign_in_id": claims.sign_in_id,
        "predecessor_id": predecessor_id,
        "issued_at": moment,
        "has_used_successor": False,
    }
    return Write(kind="put", table=table_of(RefreshToken), names=tuple(values), rows=[values])


def _update(model: type, values: Values) -> Write:
    return Write(
        kind="update", table=table_of(model), names=tuple(name for name in values if name != "id"), rows=[values]
    )


def _write(connection: Connection, *writes: Write) -> None:
    database_of(connection).write(connection, writes)


def _execute(statement: Update | Delete) -> Result[Any]:
    return db.session.execute(statement, execution_options=UNSYNCHRONIZED)


def _answer(tokens: JsonObject, user: User | _Found, device_id: str | None) -> JsonObject:
    return {"success": True, **tokens, "user": serialize_user(user), "device_id": device_id}


def serialize_user(user: User | _Found) -> JsonObject:
    """`{"id", "email", "name", "role"}`."""
    return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


def _revoked() -> UnauthorizedError:
    return UnauthorizedError("token_revoked", "This sign-in has ended. Sign in again; queued work stays valid.")
