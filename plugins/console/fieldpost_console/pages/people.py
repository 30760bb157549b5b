"""People to choose from in forms and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from app.models import User, db

#: A choice has this many people at most.
MOST = 500


def technicians() -> list[tuple[int, str]]:
    """Id and name of the active technicians, by name: those that work can be given to."""
    statement = select(User.id, User.name).where(User.active, User.role == "technician")
    return [(row.id, row.name) for row in db.session.execute(statement.order_by(User.name, User.id).limit(MOST))]


def people() -> list[tuple[int, str]]:
    """Id and name of the active users, by name."""
    statement = select(User.id, User.name).where(User.active).order_by(User.name, User.id).limit(MOST)
    return [(row.id, row.name) for row in db.session.execute(statement)]


def names_of(rows: Sequence[Any]) -> dict[int, str]:
    """The names of the rows' owners and assignees, by id."""
    ids = {user_id for row in rows for user_id in (row.owner_id, row.assignee_id) if user_id is not None}
    statement = select(User.id, User.name).where(User.id.in_(ids))
    return {row.id: row.name for row in db.session.execute(statement)}
