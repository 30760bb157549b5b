"""The rules for reading and changing rows, in this one place (contract, section 2).

A policy is `(user, row) -> bool`, decided in memory from the row's inspection. `visible` says the same for a query.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, CompoundSelect, bindparam, or_, select, true, union_all

from app.models import Inspection, User
from app.plugin_api import ActingUser, Row

#: A user as the server knows them, or as plugins do.
Somebody: TypeAlias = User | ActingUser

#: The parameter with the user's id, in conditions for any user of a role.
USER_ID = bindparam("user_id", type_=BigInteger)


class _Anybody(NamedTuple):
    """A user whose id is sent with the statement."""

    role: str
    id: Any = USER_ID


def is_admin(user: Somebody | None) -> bool:
    """Whether the user is an active administrator: may do everything."""
    return user is not None and user.active and user.role == "admin"


def change(user: Somebody | None, row: Row) -> bool:
    """Whether the user may change an inspection and the rows below it: administrator, owner, assigned technician."""
    root: Any = row.inspection
    if user is None or not user.active or root is None:
        return False
    if user.role == "admin" or root.owner_id == user.id:
        return True
    return user.role == "technician" and bool(root.assignee_id == user.id)


#: The users who may change a row may read it, and nobody else (contract, section 2).
read = change


def visible(user: User | _Anybody) -> ColumnElement[bool]:
    """The condition on `Inspection` that selects those which `user` may read: `read` in SQL."""
    # A single one stays as it is: the feed asks whether it is `true()`, and `or_(true())` is not.
    grounds = _grounds(user)
    return grounds[0] if len(grounds) == 1 else or_(*grounds)


@cache
def visible_to(role: str) -> ColumnElement[bool]:
    """The same for any user of this role, whose id is the parameter `USER_ID`: for statements that are built once."""
    return visible(_Anybody(role))


@cache
def visible_ids_to(role: str) -> CompoundSelect[int]:
    """The ids of the inspections that `visible_to` selects, each perhaps twice. An index answers each part."""
    return union_all(*(select(Inspection.id).where(ground) for ground in _grounds(_Anybody(role))))


def _grounds(user: User | _Anybody) -> list[ColumnElement[bool]]:
    """Conditions on `Inspection`, of which one suffices."""
    if user.role == "admin":
        return [true()]
    mine = Inspection.owner_id == user.id
    return [mine, Inspection.assignee_id == user.id] if user.role == "technician" else [mine]
