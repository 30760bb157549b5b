"""Who may see and decide which items that were not applied (contract, section 12), as conditions for queries.

A technician may see 50 of 100 000 inspections, an owner nearly all of them. As in the feed, we count first, up to a
limit: few are looked up one by one, and otherwise the items are read in their order and each is tested.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, func, or_, select, true, union_all
from sqlalchemy.orm import aliased

from app import policies
from app.core.database.engine import db
from app.models import Inspection, SetAside, User

#: Up to this many visible inspections are looked up one by one.
FEW = 2000


def visible(user: User) -> ColumnElement[bool]:
    """The items of inspections that a user may read, and their own without an inspection, as a test of each item."""
    if policies.is_admin(user):
        return true()
    root = select(policies.visible(user)).where(Inspection.id == SetAside.inspection_id)
    return or_(root.correlate_except(Inspection).scalar_subquery().is_(True), _own(user))


def visible_of_few(user: User) -> ColumnElement[bool]:
    """The same condition, for a user who sees few inspections: each of them is looked up.

    Of two conditions with `or` between them PostgreSQL would look up neither, and read all items.
    """
    item = aliased(SetAside)
    below = select(item.id).where(item.inspection_id.in_(policies.visible_ids(user)))
    own = select(item.id).where(item.inspection_id.is_(None), item.user_id == user.id)
    return SetAside.id.in_(union_all(below, own))


def sees_few(user: User) -> ColumnElement[bool]:
    """Whether the inspections that a user who is no administrator sees are few."""
    some = select(policies.visible_ids(user).limit(FEW + 1).subquery().c.id).subquery()
    return select(func.count()).select_from(some).scalar_subquery() <= FEW


def reads_few(user: User) -> bool:
    """Whether a list for the user looks each inspection up; one statement, unless for an administrator."""
    return not policies.is_admin(user) and bool(db.session.scalar(select(sees_few(user))))


def decidable(user: User) -> ColumnElement[bool]:
    """The items that a user may decide: an administrator all, an owner those of their inspections; a test of each."""
    if policies.is_admin(user):
        return true()
    owns = select(Inspection.owner_id == user.id).where(Inspection.id == SetAside.inspection_id)
    return owns.correlate_except(Inspection).scalar_subquery().is_(True)


def decidable_of_few(user: User) -> ColumnElement[bool]:
    """The same condition, for a user who owns few inspections: each of them is looked up."""
    if policies.is_admin(user):
        return true()
    return SetAside.inspection_id.in_(select(Inspection.id).where(Inspection.owner_id == user.id))


def _own(user: User) -> ColumnElement[bool]:
    return and_(SetAside.inspection_id.is_(None), SetAside.user_id == user.id)
