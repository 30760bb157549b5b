"""What one user sees, as conditions for queries that leave no planner a choice.

A technician sees 50 inspections of 100 000, an owner may see nearly all. Neither database knows which before it has
looked, and a wrong guess reads a whole table for each page of the feed. So it is counted first, up to a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Subquery, false, func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import True_

from app.models import Inspection

#: More visible inspections than this are many: then one goes through a table in its order, and asks of each row
#: whether it is visible. Fewer are looked up one by one, a few microseconds each.
FEW = 2000


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The inspections that a user sees, and what is below them."""

    session: Session
    user_id: int
    #: The condition on `Inspection` for those that the user sees.
    visible: ColumnElement[bool]

    @property
    def is_of_all(self) -> bool:
        """Whether the user sees everything: then nothing ever comes into sight or goes from it."""
        return isinstance(self.visible, True_)

    @cached_property
    def is_of_few(self) -> bool:
        """Whether the visible inspections are so few that each can be looked up."""
        if self.is_of_all:
            return False
        some = select(Inspection.id).where(self.visible).limit(FEW + 1).subquery()
        return (self.session.scalar(select(func.count()).select_from(some)) or 0) <= FEW

    def roots(self) -> Subquery:
        """The ids of the visible inspections."""
        return select(Inspection.id).where(self.visible).subquery()

    def of_row(self, model: Any) -> ColumnElement[bool]:
        """The condition for visible rows of `model`, asked of each row by itself."""
        if model is Inspection:
            # The function hides the columns, whose indexes would be used otherwise.
            condition: ColumnElement[bool] = func.coalesce(self.visible, false())
            return condition
        root = select(self.visible).where(Inspection.id == model.inspection_id)
        return root.correlate_except(Inspection).scalar_subquery().is_(True)

    def of_table(self, model: Any) -> ColumnElement[bool]:
        """The condition for visible rows of `model`, when a table is walked."""
        if not self.is_of_few:
            return self.of_row(model)
        if model is Inspection:
            return self.visible
        condition: ColumnElement[bool] = model.inspection_id.in_(select(self.roots().c.id))
        return condition
