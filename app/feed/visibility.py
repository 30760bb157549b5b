"""The rows that one user sees, as conditions for queries that leave the planner no choice.

A technician may see 50 of 100 000 inspections, an owner nearly all of them. The database cannot know which before it
has looked, and a wrong guess reads a whole table for each page of the feed. So we count first, up to a limit.

To build a statement takes longer than most of them take to run. The conditions therefore name the user by a parameter,
and are built once for each role.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

from sqlalchemy import ColumnElement, Subquery, exists, false, func, or_, select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import True_

from app.core.values import Values
from app.models import Inspection, User
from app.plugin_api import Model
from app.policies import USER_ID, visible_to

#: Up to this many visible inspections are looked up one by one, in a few microseconds each. With more, the table is
#: read in its order, and each row is tested.
FEW = 2000


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """The inspections that a user sees, and the rows below them. Statements with its conditions need `parameters`."""

    session: Session
    user_id: int
    role: str
    #: Whether the inspections are few, where they have been counted already.
    counted_few: bool | None = None

    @property
    def parameters(self) -> Values:
        """The parameters of all conditions."""
        return {USER_ID.key: self.user_id}

    @property
    def is_of_all(self) -> bool:
        """Whether the user sees everything, so that nothing ever comes into sight or leaves it."""
        return isinstance(visible_to(self.role), True_)

    @cached_property
    def is_of_few(self) -> bool:
        """Whether the visible inspections are few enough to look up each of them."""
        if self.is_of_all or self.counted_few is not None:
            return not self.is_of_all and bool(self.counted_few)
        some = select(Inspection.id).where(visible_to(self.role)).limit(FEW + 1).subquery()
        return (self.session.scalar(select(func.count()).select_from(some), self.parameters) or 0) <= FEW

    def of_row(self, model: Model) -> ColumnElement[bool]:
        """The condition for visible rows of `model`, as a test of each row."""
        return self._of_people() if model is User else _of_row(self.role, model)  # type: ignore[arg-type]

    def of_table(self, model: Model) -> ColumnElement[bool]:
        """The condition for visible rows of `model`, for reading a whole table."""
        if not self.is_of_few or not hasattr(model, "inspection_id"):
            return self.of_row(model)
        if model is Inspection:
            return visible_to(self.role)
        condition: ColumnElement[bool] = model.inspection_id.in_(select(roots_of(self.role).c.id))
        return condition

    def _of_people(self) -> ColumnElement[bool]:
        """The condition for the user themselves and for owners and assignees of visible inspections."""
        return true() if self.is_of_all else _of_people(self.role, self.is_of_few)


def roots_of(role: str) -> Subquery:
    """The ids of the inspections that a user of this role sees."""
    return select(Inspection.id).where(visible_to(role)).subquery()


@cache
def _of_row(role: str, model: Model) -> ColumnElement[bool]:
    if not hasattr(model, "inspection_id"):
        return true()
    visible = visible_to(role)
    if model is Inspection:
        # The function hides the columns from the planner, which would otherwise use their indexes.
        condition: ColumnElement[bool] = func.coalesce(visible, false())
        return condition
    root = select(visible).where(Inspection.id == model.inspection_id)
    return root.correlate_except(Inspection).scalar_subquery().is_(True)


@cache
def _of_people(role: str, is_of_few: bool) -> ColumnElement[bool]:
    visible, people = visible_to(role), (Inspection.owner_id, Inspection.assignee_id)
    if is_of_few:
        named = [select(person).where(visible) for person in people]
        return or_(User.id == USER_ID, *(User.id.in_(statement) for statement in named))
    return or_(User.id == USER_ID, *(exists().where(person == User.id, visible) for person in people))
