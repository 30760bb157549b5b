"""Checks of administrators, for changes of users, form templates and inspections (contract, section 8)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app import policies
from app.core.ledger.record import Recorder
from app.errors import ForbiddenError
from app.models import User


def require_admin(user: User | None) -> None:
    """Raise `ForbiddenError` unless the user is an active administrator."""
    if not policies.is_admin(user):
        raise ForbiddenError("Only administrators may do this", "Ask an administrator to do it.")


def require_still_admin(recorder: Recorder) -> None:
    """`require_admin` for the unit's user, who was read again under a lock. The command line has no user and may."""
    if recorder.origin.user_id is not None:
        require_admin(recorder.user)


def lock_users(session: Session, ids: Iterable[int | None], *, is_change: bool = False) -> None:
    """Lock users in id order, before the unit locks its own. For a change, all administrators are locked too."""
    condition: ColumnElement[bool] = User.id.in_({user_id for user_id in ids if user_id is not None})
    if is_change:
        # In one query and the stronger mode, because two administrators may be changing each other (trap 28).
        condition = or_(condition, User.role == "admin")
    statement = select(User.id).where(condition).order_by(User.id)
    session.scalars(statement.with_for_update(read=not is_change, key_share=is_change)).all()
