"""Sign-ins as rows: of devices, which hold tokens, and of browsers, which hold a cookie (contract, sections 1 and 11).

The sign-in of a browser ends `IDLE` after its last use, and `LONGEST` after its start. Both kinds end at once when they
are revoked, when the password changes, and when the user is deactivated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import ColumnElement, and_, bindparam, not_, or_, select, update

from app.clock import now
from app.config import current_settings
from app.core.database.alone import read_alone
from app.core.database.engine import db
from app.core.database.rows import detached, row_columns
from app.core.ledger import audit
from app.core.ledger.record import Origin
from app.core.ledger.unit import unit_of_work
from app.models import SignIn, User

#: How long a browser may do nothing, and how long it may stay signed in.
IDLE, LONGEST = timedelta(hours=2), timedelta(hours=12)

#: The time of a browser's last use is written this often, because most of its requests only read.
NOTED_EVERY = timedelta(minutes=5)


def _is_in_time(idle_since: Any, begun_after: Any) -> ColumnElement[bool]:
    """The condition that a sign-in was used after one moment, and began after another."""
    return and_(SignIn.last_used_at > idle_since, SignIn.created_at > begun_after)


_users, _sign_ins = User.__table__.c, SignIn.__table__.c

#: The user of a browser's sign-in that has not ended, and its last use. Built once: each page asks for it.
BROWSER = (
    select(*row_columns(User), _sign_ins.last_used_at)
    .where(_sign_ins.user_id == _users.id, _users.active)
    .where(_sign_ins.id == bindparam("sign_in_id"), _sign_ins.is_browser, _sign_ins.revoked_at.is_(None))
    .where(_is_in_time(bindparam("idle_since"), bindparam("begun_after")))
)


class BrowserSignIn(NamedTuple):
    """A signed-in browser, with its user detached from any session."""

    id: str
    user: User


def add_sign_in(user: User, *, device_id: str | None = None, is_browser: bool = False) -> SignIn | None:
    """A new sign-in, added in the caller's unit of work; None if `user`, as read before, has changed since."""
    present = locked_user(user.id)
    if present is None or not present.active or present.password_hash != user.password_hash:
        return None
    times = dict.fromkeys(("created_at", "last_used_at"), now())
    sign_in = SignIn(id=str(uuid4()), user_id=user.id, device_id=device_id, is_browser=is_browser, **times)
    db.session.add(sign_in)
    audit.note("signed_in", Origin(door="page" if is_browser else "rest", device_id=device_id), user)
    return sign_in


def locked_user(user_id: int) -> User | None:
    """The user's present row, locked against changes until the unit of work ends."""
    statement = select(User).where(User.id == user_id).with_for_update(read=True)
    return db.session.scalar(statement, execution_options={"populate_existing": True})


def start_browser_sign_in(user: User) -> str | None:
    """The id of a browser's new sign-in; None if the user, as read when the password was checked, has changed since."""

    def work(_unit_id: str) -> str | None:
        sign_in = add_sign_in(user, is_browser=True)
        return sign_in and sign_in.id

    return unit_of_work(work)


def browser_sign_in(sign_in_id: str) -> BrowserSignIn | None:
    """The sign-in of a browser with its user, unless it has ended. Notes the time of its use now and then."""
    moment = now()
    bounds = {"idle_since": moment - IDLE, "begun_after": moment - LONGEST}
    values = read_alone(BROWSER, {"sign_in_id": sign_in_id, **bounds})
    if values is None:
        return None
    if values[-1] <= moment - NOTED_EVERY:
        _note_use(sign_in_id)
    return BrowserSignIn(sign_in_id, detached(User, values))


def is_present(moment: datetime) -> ColumnElement[bool]:
    """The condition that a sign-in, of either kind, has not ended at `moment`."""
    settings = current_settings()
    idle, longest = timedelta(days=settings.refresh_token_days), timedelta(days=settings.sign_in_days)
    of_device = _is_in_time(moment - idle, moment - longest)
    of_browser = _is_in_time(moment - IDLE, moment - LONGEST)
    in_time = or_(and_(not_(SignIn.is_browser), of_device), and_(SignIn.is_browser, of_browser))
    return and_(SignIn.revoked_at.is_(None), in_time)


def sign_ins_of(user_id: int) -> Sequence[SignIn]:
    """The sign-ins of a user that have not ended, the one that was used last first."""
    statement = select(SignIn).where(SignIn.user_id == user_id, is_present(now()))
    return db.session.scalars(statement.order_by(SignIn.last_used_at.desc(), SignIn.id)).all()


def end_sign_ins_of(origin: Origin, actor: User | None, user_id: int, sign_in_id: str | None = None) -> int:
    """End a sign-in of the user, or all of them; returns how many have ended. `actor`: None: the command line."""
    statement = update(SignIn).where(SignIn.user_id == user_id, SignIn.revoked_at.is_(None))
    if sign_in_id is not None:
        statement = statement.where(SignIn.id == sign_in_id)

    def work(_unit_id: str) -> int:
        result = db.session.execute(
            statement.values(revoked_at=now()), execution_options={"synchronize_session": False}
        )
        count = int(result.rowcount)  # type: ignore[attr-defined]
        if count:
            audit.note("sign_ins_ended", origin, actor, ("user", user_id), count=count)
        return count

    return unit_of_work(work)


def sign_out(origin: Origin, user: User, sign_in_id: str) -> None:
    """End the present sign-in of `user`: its tokens, or its cookie, stop working at once."""
    statement = update(SignIn).where(SignIn.id == sign_in_id, SignIn.revoked_at.is_(None)).values(revoked_at=now())

    def work(_unit_id: str) -> None:
        result = db.session.execute(statement, execution_options={"synchronize_session": False})
        if result.rowcount:  # type: ignore[attr-defined]
            audit.note("signed_out", origin, user)

    unit_of_work(work)


def _note_use(sign_in_id: str) -> None:
    statement = update(SignIn).where(SignIn.id == sign_in_id).values(last_used_at=now())

    def work(_unit_id: str) -> None:
        db.session.execute(statement, execution_options={"synchronize_session": False})

    unit_of_work(work)
