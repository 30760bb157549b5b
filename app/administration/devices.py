"""The devices on which people have signed in: their reports, which are late, their sign-out (contract, section 13)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select, update

from app.accounts.sign_ins import is_present
from app.clock import now, to_wire
from app.config import current_settings
from app.core.database.engine import db
from app.core.ledger.audit import note
from app.core.ledger.record import Origin
from app.core.ledger.unit import unit_of_work
from app.core.values import JsonObject
from app.errors import NotFoundError
from app.http.logs import log_security_event
from app.models import PENDING_STATUSES, Device, Inspection, SignIn, User
from app.policies import is_admin

#: The columns that a device has reported.
REPORTED = (
    *("app", "app_version", "platform", "name", "waiting_items", "waiting_photos", "waiting_bytes"),
    *("oldest_waiting_at", "set_aside", "storage_used", "persisted", "clock_offset_ms", "last_error"),
)


def select_devices(user: User, *, is_late: bool | None = None, text: str = "") -> Select[Any]:
    """The devices that `user` may see, late ones first, of those the ones that were not heard of for longest.

    Rows of `(Device, user_name, sign_ins, last_seen_at, is_late)`. `is_late`: only those that are, or are not; `text`:
    only those whose name, app or user contains it.
    """
    sign_ins = _sign_ins_of_devices()
    seen = _latest(sign_ins.c.last_used_at, Device.__table__.c.reported_at)
    late = _is_late(seen)
    statement = (
        select(
            Device,
            User.name.label("user_name"),
            func.coalesce(sign_ins.c.count, 0).label("sign_ins"),
            seen.label("last_seen_at"),
            late.label("is_late"),
        )
        .join(User, User.id == Device.user_id)
        .outerjoin(sign_ins, and_(sign_ins.c.user_id == Device.user_id, sign_ins.c.device_id == Device.device_id))
    )
    if not is_admin(user):
        statement = statement.where(Device.user_id == user.id)
    if text:
        searched = (User.name, Device.name, Device.app, Device.platform)
        statement = statement.where(or_(*(column.icontains(text, autoescape=True) for column in searched)))
    if is_late is not None:
        statement = statement.where(late if is_late else ~late)
    return statement.order_by(late.desc(), seen, Device.id)


def count_late_devices(user: User) -> int:
    """How many of the devices that `user` may see are late."""
    late = select_devices(user, is_late=True).order_by(None).subquery()
    return db.session.scalar(select(func.count()).select_from(late)) or 0


class WaitingPhotos(NamedTuple):
    """The photos that devices have reported and not uploaded yet."""

    total: int
    #: The users who have the most of them, each with a name and the number.
    users: list[tuple[str, int]]


def waiting_photos(user: User, *, most: int = 10) -> WaitingPhotos:
    """Those of the devices that `user` may see, with at most so many users."""
    count: ColumnElement[int] = func.coalesce(func.sum(Device.waiting_photos), 0)
    statement = (
        select(User.name, count.label("count"), func.sum(count).over().label("total"))
        .join(User, User.id == Device.user_id)
        .where(Device.waiting_photos > 0)
        .group_by(User.id, User.name)
        .order_by(count.desc(), User.id)
    )
    if not is_admin(user):
        statement = statement.where(Device.user_id == user.id)
    rows = db.session.execute(statement.limit(most)).all()
    return WaitingPhotos(int(rows[0].total) if rows else 0, [(name, int(number)) for name, number, _ in rows])


def select_late_ids() -> Select[Any]:
    """The ids of all devices that are late."""
    sign_ins = _sign_ins_of_devices()
    seen = _latest(sign_ins.c.last_used_at, Device.__table__.c.reported_at)
    own = and_(sign_ins.c.user_id == Device.user_id, sign_ins.c.device_id == Device.device_id)
    return select(Device.id).join(User, User.id == Device.user_id).outerjoin(sign_ins, own).where(_is_late(seen))


def serialize_device(row: Any) -> JsonObject:
    """A row of `select_devices` as a JSON object."""
    device, user_name, sign_ins, last_seen_at, is_late = row
    return {
        "id": device.id,
        "user_id": device.user_id,
        "user_name": user_name,
        "device_id": device.device_id,
        **{name: _as_json(getattr(device, name)) for name in (*REPORTED, "reported_at", "last_batch_at")},
        "last_seen_at": _as_json(last_seen_at),
        "sign_ins": sign_ins,
        "late": bool(is_late),
    }


def sign_out_device(origin: Origin, user: User, key: str) -> int:
    """End all sign-ins of a device; returns how many there were. Its unsent work stays on it.

    Raises `NotFoundError` unless `user` is an administrator, or it is their own device.
    """

    def work(_unit_id: str) -> int:
        device = db.session.get(Device, key)
        if device is None or not (is_admin(user) or device.user_id == user.id):
            raise NotFoundError("Device not found")
        statement = update(SignIn).where(SignIn.user_id == device.user_id, SignIn.device_id == device.device_id)
        result = db.session.execute(
            statement.where(is_present(now())).values(revoked_at=now()),
            execution_options={"synchronize_session": False},
        )
        count: int = result.rowcount  # type: ignore[attr-defined]
        if count:
            note("sign_ins_ended", origin, user, ("user", device.user_id), count=count)
        log_security_event("device signed out", device=key, account_id=device.user_id, sign_ins=count)
        return count

    return unit_of_work(work)


def _sign_ins_of_devices() -> Any:
    """For each device: how many sign-ins it has at present, and when one of them, or a former one, was last used."""
    present = func.sum(case((is_present(now()), 1), else_=0)).label("count")
    used = func.max(SignIn.last_used_at).label("last_used_at")
    statement = select(SignIn.user_id, SignIn.device_id, present, used).where(SignIn.device_id.is_not(None))
    return statement.group_by(SignIn.user_id, SignIn.device_id).subquery()


def _is_late(seen: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Nothing was heard of it for some days, and its user has work to do, or it has work to send."""
    silent_since = now() - timedelta(days=current_settings().late_days)
    assigned = exists().where(Inspection.assignee_id == Device.user_id, Inspection.status.in_(PENDING_STATUSES))
    waiting = func.coalesce(Device.waiting_items, 0) + func.coalesce(Device.waiting_photos, 0) > 0
    return and_(seen < silent_since, User.active, or_(assigned, waiting))


def _latest(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """The later of two times, of which either may be missing."""
    return case((and_(one.is_not(None), or_(other.is_(None), one >= other)), one), else_=other)


def _as_json(value: Any) -> Any:
    return to_wire(value) if isinstance(value, datetime) else value
