"""Who may see and decide which items that were not applied (contract, section 12), as conditions for queries.

A technician may see 50 of 100 000 inspections, an owner nearly all of them. As in the feed, we count first, up to a
limit: few are looked up one by one, and otherwise the items are read in their order and each is tested. As there, the
conditions name the user by a parameter (`parameters_of`), and are built once for each role.
"""

from __future__ import annotations

from functools import cache

from flask import g
from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true

from app import policies
from app.core.database import Database
from app.core.database.engine import db
from app.core.values import Values
from app.models import Inspection, SetAside, User
from app.policies import USER_ID

#: Up to this many visible inspections are looked up one by one.
FEW = 2000

#: Where a request keeps whose inspections are few: user id -> whether they are.
COUNTED = "fieldpost.set_aside.few"


def parameters_of(user: User) -> Values:
    """The parameters of all conditions here."""
    return {USER_ID.key: user.id}


@cache
def visible(role: str) -> ColumnElement[bool]:
    """The items of inspections that a user may read, and their own without an inspection, as a test of each item."""
    if role == "admin":
        return true()
    root = select(policies.visible_to(role)).where(Inspection.id == SetAside.inspection_id)
    return or_(root.correlate_except(Inspection).scalar_subquery().is_(True), _own())


@cache
def visible_of_few(role: str, database: Database) -> ColumnElement[bool]:
    """The same condition, for a user who sees few inspections: each of them is looked up."""
    return or_(database.among_selected(SetAside.inspection_id, policies.visible_ids_to(role)), _own())


def sees_few(user: User) -> bool:
    """Whether the inspections that a user sees are few; a statement in a request, unless for an administrator."""
    if policies.is_admin(user):
        return False
    counted: dict[int, bool] = g.setdefault(COUNTED, {})
    if user.id not in counted:
        counted[user.id] = (db.session.scalar(_count(user.role), parameters_of(user)) or 0) <= FEW
    return counted[user.id]


@cache
def decidable(role: str) -> ColumnElement[bool]:
    """The items that a user may decide: an administrator all, an owner those of their inspections; a test of each."""
    if role == "admin":
        return true()
    owns = select(Inspection.owner_id == USER_ID).where(Inspection.id == SetAside.inspection_id)
    return owns.correlate_except(Inspection).scalar_subquery().is_(True)


def decidable_of_few(user: User) -> ColumnElement[bool]:
    """The same condition, for a user who owns few inspections: each of them is looked up."""
    if policies.is_admin(user):
        return true()
    return SetAside.inspection_id.in_(select(Inspection.id).where(Inspection.owner_id == user.id))


@cache
def _count(role: str) -> Select[int]:
    """How many inspections a user sees, counted up to one more than few."""
    some = policies.visible_ids_to(role).limit(FEW + 1).subquery()
    return select(func.count()).select_from(some)


def _own() -> ColumnElement[bool]:
    return and_(SetAside.inspection_id.is_(None), SetAside.user_id == USER_ID)
