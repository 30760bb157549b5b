"""The rows that one user sees, as conditions for queries that leave the planner no choice.

A technician may see 50 of 100 000 inspections, an owner nearly all of them. The database cannot know which before it
has looked, and a wrong guess reads a whole table for each page of the feed. So we count first, up to a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import ColumnElement, Subquery, exists, false, func, or_, select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import True_

from app.models import Inspection, User
from app.plugin_api import Model

#: Up to this many visible inspections are looked up one by one, in a few microseconds each. With more, the table is
#: read in its order, and each row is tested.
FEW = 2000


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """The inspections that a user sees, and the rows below them."""

    session: Session
    user_id: int
    #: The condition on `Inspection` for the inspections that the user sees.
    visible: ColumnElement[bool]
    #: Whether these are few, where they have been counted already.
    counted_few: bool | None = None

    @property
    def is_of_all(self) -> bool:
        """Whether the user sees everything, so that nothing ever comes into sight or leaves it."""
        return isinstance(self.visible, True_)

    @cached_property
    def is_of_few(self) -> bool:
        """Whether the visible inspections are few enough to look up each of them."""
        if self.is_of_all or self.counted_few is not None:
            return not self.is_of_all and bool(self.counted_few)
        some = select(Inspection.id).where(self.visible).limit(FEW + 1).subquery()
        return (self.session.scalar(select(func.count()).select_from(some)) or 0) <= FEW

    def roots(self) -> Subquery:
        """The ids of the visible inspections."""
        return select(Inspection.id).where(self.visible).subquery()

    def of_row(self, model: Model) -> ColumnElement[bool]:
        """The condition for visible rows of `model`, as a test of each row."""
        if not hasattr(model, "inspection_id"):
            return self._of_people() if model is User else true()
        if model is Inspection:
            # The function hides the columns from the planner, which would otherwise use their indexes.
            condition: ColumnElement[bool] = func.coalesce(self.visible, false())
            return condition
        root = select(self.visible).where(Inspection.id == model.inspection_id)
        return root.correlate_except(Inspection).scalar_subquery().is_(True)

    def of_table(self, model: Model) -> ColumnElement[bool]:
        """The condition for visible rows of `model`, for reading a whole table."""
        if not self.is_of_few or not hasattr(model, "inspection_id"):
            return self.of_row(model)
        if model is Inspection:
            return self.visible
        condition: ColumnElement[bool] = model.inspection_id.in_(select(self.roots().c.id))
        return condition

    def _of_people(self) -> ColumnElement[bool]:
        """The condition for the user themselves and for owners and assignees of visible inspections."""
        if self.is_of_all:
            return true()
        people = (Inspection.owner_id, Inspection.assignee_id)
        if self.is_of_few:
            named = [select(person).where(self.visible) for person in people]
            return or_(User.id == self.user_id, *(User.id.in_(statement) for statement in named))
        return or_(User.id == self.user_id, *(exists().where(person == User.id, self.visible) for person in people))
