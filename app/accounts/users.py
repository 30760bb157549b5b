"""The administration of users. Roles and deactivation count from the next request on (contract, sections 1 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.administrators import lock_users, require_still_admin
from app.accounts.emails import normalized_email
from app.accounts.passwords import fault_of, hash_password
from app.accounts.tokens import end_sign_ins
from app.clock import to_wire
from app.core.database.engine import db
from app.core.ledger import audit
from app.core.ledger.constraints import sentence_of
from app.core.ledger.record import Origin, Recorder, differs, record
from app.core.ledger.versions import require_version
from app.core.values import JsonObject, Values
from app.errors import InvalidError, NotFoundError
from app.models import User


def serialize_account(user: User) -> JsonObject:
    """A user as administrators see one, without the password's hash."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "active": user.active,
        "created_at": to_wire(user.created_at),
        "updated_at": to_wire(user.updated_at),
    }


def erased_email(user_id: int) -> str:
    """The address of a user whose person was erased."""
    return f"erased-{user_id}@invalid"


def add_user(origin: Origin, *, email: str, name: str, role: str, password: str, active: bool = True) -> User:
    """Add a user. Raises `InvalidError` if the address is taken or the password cannot be set."""
    values = {"email": normalized_email(email), "name": name, "role": role, "active": active}
    values["password_hash"] = _hashed(password, email, name)
    return _added(origin, values, require_still_admin)


def add_first_admin(origin: Origin, *, email: str, name: str, password: str) -> User:
    """Add an administrator where there is no user. Raises `NotFoundError` where there is one, and `InvalidError`."""
    values = {"email": normalized_email(email), "name": name, "role": "admin", "active": True}
    values["password_hash"] = _hashed(password, email, name)
    return _added(origin, values, _require_nobody)


def _require_nobody(recorder: Recorder) -> None:
    if recorder.session.scalar(select(User.id).limit(1)) is not None:
        raise NotFoundError()


def _added(origin: Origin, values: Values, require_right: Callable[[Recorder], None]) -> User:
    def work(recorder: Recorder) -> User:
        require_right(recorder)
        created: User = recorder.create(User, values)
        audit.note("user_created", origin, recorder.user, ("user", created.id), role=created.role)
        return created

    try:
        return record("user_create", origin, work)
    except IntegrityError as error:
        sentence = sentence_of(error, [User])
        if sentence is None:
            raise
        raise InvalidError(extra={"details": {"email": [sentence + "."]}}) from None


def change_user(origin: Origin, user_id: int, values: Values, version: datetime | None = None) -> User:
    """Change role, name, active or password. Deactivation and a new password end the user's sign-ins.

    Raises `NotFoundError`; `StaleError` unless it may stand on `version`; `InvalidError` if no active administrator
    would be left, or if the person was erased.
    """
    values = dict(values)
    password = values.pop("password", None)
    if password is not None:
        # Hashed outside the unit of work, because it takes long.
        values["password_hash"] = _hashed(password, *_hints(user_id))

    def work(recorder: Recorder) -> User:
        require_still_admin(recorder)
        admins = _locked_admins(recorder.session)
        user = _locked(recorder.session, user_id)
        if user is None:
            raise NotFoundError("User not found")
        require_version(recorder, user, version, values, lambda: {"user": serialize_account(user)})
        if user.email == erased_email(user.id) and differs(user, values):
            key = "active" if password is None else "password"
            raise InvalidError(extra={"details": {key: ["This person was erased. Add a new user instead."]}})
        remains_admin = values.get("role", user.role) == "admin" and values.get("active", user.active)
        if user in admins and len(admins) == 1 and not remains_admin:
            key = "role" if values.get("role", "admin") != "admin" else "active"
            raise InvalidError(extra={"details": {key: ["This is the last active administrator."]}})
        if password is not None or values.get("active", True) is False:
            end_sign_ins(recorder.session, user.id)
        for action, details in _deeds(user, values):
            audit.note(action, origin, recorder.user, ("user", user.id), **details)
        recorder.change(user, values)
        return user

    def lock_first(session: Session) -> None:
        lock_users(session, (user_id, origin.user_id), is_change=True)

    return record("user_change", origin, work, lock_first=lock_first)


def change_own_password(origin: Origin, user: User, password: str, sign_in_id: str) -> None:
    """Give a user, as read when the former password was checked, another one. All sign-ins but `sign_in_id` end.

    Raises `InvalidError` if the password cannot be set, or if the former one is no longer the user's.
    """
    password_hash = _hashed(password, user.email, user.name, key="new_password")

    def work(recorder: Recorder) -> None:
        present = _locked(recorder.session, user.id)
        if present is None or present.password_hash != user.password_hash:
            raise InvalidError(extra={"details": {"current_password": ["It was changed a moment ago."]}})
        end_sign_ins(recorder.session, user.id, except_id=sign_in_id)
        audit.note("password_changed", origin, present, ("user", user.id))
        recorder.change(present, {"password_hash": password_hash})

    def lock_first(session: Session) -> None:
        _locked(session, user.id)

    record("user_change", origin, work, lock_first=lock_first)


def _deeds(user: User, values: Values) -> Iterator[tuple[str, JsonObject]]:
    """What a change does to a user, as the audit log calls it, with its details."""
    role, active = values.get("role", user.role), values.get("active", user.active)
    if role != user.role:
        yield "user_role_changed", {"from": user.role, "to": role}
    if active != user.active:
        yield "user_reactivated" if active else "user_deactivated", {}
    if values.get("name", user.name) != user.name:
        yield "user_renamed", {}
    if "password_hash" in values:
        yield "password_set", {}


def _hints(user_id: int) -> tuple[str, ...]:
    """The words about a user that make a password easy to guess."""
    row = db.session.execute(select(User.email, User.name).where(User.id == user_id)).first()
    db.session.remove()
    return () if row is None else tuple(row)


def _hashed(password: str, *hints: str, key: str = "password") -> str:
    """The password's hash. Raises `InvalidError` that names `key` if the password cannot be set."""
    fault = fault_of(password, hints)
    if fault is not None:
        raise InvalidError(extra={"details": {key: [fault]}})
    return hash_password(password)


def _locked_admins(session: Session) -> list[User]:
    """The active administrators, locked, so that two of them cannot demote each other at the same time."""
    statement = select(User).where(User.role == "admin", User.active).order_by(User.id)
    return list(_locking(session, statement))


def _locked(session: Session, user_id: int) -> User | None:
    return next(iter(_locking(session, select(User).where(User.id == user_id))), None)


def _locking(session: Session, statement: Select[User]) -> Sequence[User]:
    statement = statement.with_for_update(key_share=True)
    return session.scalars(statement, execution_options={"populate_existing": True}).all()
