"""People to choose from in forms and filters, and the names of those whom rows name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from app.administration import among
from app.models import User, db

#: A choice has this many people at most.
MOST = 500


#: Who can be given work.
TECHNICIAN = "technician"


class People(NamedTuple):
    """The active users, and the technicians among them: id and name of each, by name."""

    all: list[tuple[int, str]]
    technicians: list[tuple[int, str]]


def people_and_technicians() -> People:
    """Both choices; one statement, unless there are more users than a choice has."""
    users = _active()
    technicians = [user for user in users if user.role == TECHNICIAN] if len(users) < MOST else _active(TECHNICIAN)
    return People(_choice(users), _choice(technicians))


def technicians() -> list[tuple[int, str]]:
    """Id and name of the active technicians, by name: those that work can be given to."""
    return _choice(_active(TECHNICIAN))


def people() -> list[tuple[int, str]]:
    """Id and name of the active users, by name."""
    return _choice(_active())


def names_of(rows: Sequence[Any], known: Mapping[int, str] | None = None) -> dict[int, str]:
    """The names of the rows' owners and assignees, by id. `known`: names that need not be read again."""
    ids = {user_id for row in rows for user_id in (row.owner_id, row.assignee_id) if user_id is not None}
    return {**(known or {}), **names_with_ids(ids - (known or {}).keys())}


def names_with_ids(ids: set[int]) -> dict[int, str]:
    """The names of these users, by id; a statement if there are any."""
    statement = select(User.id, User.name).where(among(User.id, ids))
    return {row.id: row.name for row in db.session.execute(statement)} if ids else {}


def _active(role: str | None = None) -> Sequence[Any]:
    """The first active users by name, of one role or of all."""
    statement = select(User.id, User.name, User.role).where(User.active)
    if role is not None:
        statement = statement.where(User.role == role)
    return db.session.execute(statement.order_by(User.name, User.id).limit(MOST)).all()


def _choice(users: Sequence[Any]) -> list[tuple[int, str]]:
    return [(user.id, user.name) for user in users]
