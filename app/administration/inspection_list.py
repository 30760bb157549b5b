"""The list of inspections: its filters and its order, for REST, pages and exports alike (contract, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from sqlalchemy import ColumnElement, Select, exists, false, select
from sqlalchemy.orm import InstrumentedAttribute

from app import policies
from app.administration.among import among
from app.administration.fields import DateField, IdField, StorableText
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.values import ColumnLike
from app.core.values import MAX_INTEGER, Values
from app.models import BETWEEN_TEXTS, PENDING_STATUSES, STATUSES, FormFill, Inspection, InspectionTexts, User

#: Characters of a text to search for.
LONGEST_SEARCH = 255

#: The status, in a filter, of inspections on which there still is work.
OPEN = "open"

#: Inspections that a list looks up one by one.
FEW = 500

#: Inspections with a text: up to so many are looked up. If there are more, a list meets enough of them in its order.
FEW_WITH_TEXT = 5000

#: Filter -> the column in which it searches.
SEARCHED = {"customer": InspectionTexts.customer, "q": InspectionTexts.texts}

#: Name of an order -> the columns of its key, unique together, and whether it goes down.
ORDERS: dict[str, tuple[tuple[InstrumentedAttribute[Any], ...], bool]] = {
    "newest": ((Inspection.id,), True),
    "oldest": ((Inspection.id,), False),
    "date": ((Inspection.date, Inspection.id), False),
    "latest_date": ((Inspection.date, Inspection.id), True),
}


class AssigneeField(IdField):
    """A user's id, or `none`, which becomes None: inspections that nobody is assigned to."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> Any:
        return None if value == "none" else super()._deserialize(value, attr, data, **kwargs)


def _check_assignee(value: int | None) -> None:
    if value is not None and not 1 <= value <= MAX_INTEGER:
        raise ValidationError("Must be a user's id, or none.")


def _query_id() -> IdField:
    return IdField(validate=validate.Range(1, MAX_INTEGER))


class InspectionListSchema(Schema):
    """The filters of the list of inspections, and its order."""

    class Meta:
        unknown = EXCLUDE

    #: `open`: pending or in progress.
    status = fields.String(validate=validate.OneOf((*STATUSES, OPEN)))
    assignee_id = AssigneeField(
        validate=_check_assignee,
        metadata={
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": MAX_INTEGER,
            "pattern": "^none$",
            "description": "A user's id, or `none`.",
        },
    )
    owner_id = _query_id()
    #: The first and the last day of the inspections' dates.
    date_from = DateField()
    date_to = DateField()
    #: Inspections with a form fill of this template.
    template_id = _query_id()
    #: A part of the customer's name.
    customer = StorableText(validate=validate.Length(max=LONGEST_SEARCH))
    #: A part of the notes, job, property name, address or customer name, in upper or lower case.
    q = StorableText(validate=validate.Length(max=LONGEST_SEARCH))
    #: `date`: the earliest date first; `latest_date`: the latest one.
    sort = fields.String(validate=validate.OneOf(list(ORDERS)), load_default="newest")


def select_inspections(user: User, filters: Values, *columns: Any) -> Select[Any]:
    """The inspections that `user` may see and that meet `filters`, as `InspectionListSchema` loads them; unordered.

    `columns`: the columns to select, their ids if there are none. Bring it into `order_of(filters)`, or stream it.
    """
    return select_with_least(user, filters, *columns)[0]


def select_with_least(user: User, filters: Values, *columns: Any) -> tuple[Select[Any], int]:
    """`select_inspections`, and a number of inspections that there are at least, as far as that is known by the way."""
    statement = select(*(columns or (Inspection.id,)))
    ids = _few_in_sight(user)
    if ids is not None:
        return statement.where(among(Inspection.id, ids), *inspection_conditions(filters)), 0
    statement, found = statement.where(policies.visible(user)), _few_with_texts(filters)
    others = {name: value for name, value in filters.items() if name not in SEARCHED}
    if found is not None:
        return statement.where(among(Inspection.id, found), *inspection_conditions(others)), 0
    is_only_searched = policies.is_admin(user) and not inspection_conditions(others)
    least = FEW_WITH_TEXT + 1 if is_only_searched and _text_conditions(filters) else 0
    return statement.where(*inspection_conditions(filters)), least


def sight_of(user: User) -> ColumnElement[bool]:
    """`policies.visible`, for lists with other conditions; one statement, except for administrators.

    Inspections are named by their ids if they are few. Otherwise SQLite would walk all that meet the other conditions.
    """
    ids = _few_in_sight(user)
    return policies.visible(user) if ids is None else among(Inspection.id, ids)


def _few_in_sight(user: User) -> Sequence[int] | None:
    """The ids of all inspections that the user may see; None: there are many."""
    if policies.is_admin(user):
        return None
    return _few(select(Inspection.id).where(policies.visible(user)), FEW)


def _few_with_texts(filters: Values) -> Sequence[int] | None:
    """The ids of all inspections with the texts that are searched; None: there are many, or no text is searched.

    All texts are read, but nothing else of the inspections. Otherwise the databases would walk all inspections in the
    order of the list, and look up the texts of each.
    """
    conditions = _text_conditions(filters)
    return _few(select(InspectionTexts.inspection_id).where(*conditions), FEW_WITH_TEXT) if conditions else None


def _text_conditions(filters: Values) -> list[ColumnElement[bool]]:
    return [_contains(column, filters[name]) for name, column in SEARCHED.items() if filters.get(name)]


def _few(statement: Select[Any], most: int) -> Sequence[int] | None:
    """The ids that `statement` selects; None if there are more than `most`."""
    ids = db.session.scalars(statement.limit(most + 1)).all()
    return ids if len(ids) <= most else None


def order_of(filters: Values) -> list[ColumnElement[Any]]:
    """The order that the filters ask for, to sort by."""
    columns, is_descending = ORDERS[filters.get("sort", "newest")]
    return [column.desc() if is_descending else column.asc() for column in columns]


def inspection_conditions(filters: Values) -> list[ColumnElement[bool]]:
    """The conditions on `Inspection` that the filters mean."""
    return [_CONDITIONS[name](value) for name, value in filters.items() if name in _CONDITIONS and value != ""]


def _has_template(template_id: int) -> ColumnElement[bool]:
    return exists().where(FormFill.inspection_id == Inspection.id, FormFill.form_template_id == template_id)


def _contains(column: ColumnLike, part: str) -> ColumnElement[bool]:
    # It would reach from one text into the next.
    return false() if BETWEEN_TEXTS in part else database_of(db.session()).contains(column, part)


def _has_text(column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    own = select(column).where(InspectionTexts.inspection_id == Inspection.id).correlate(Inspection)
    return _contains(own.scalar_subquery(), part)


#: Filter -> its condition. `assignee_id` None becomes IS NULL.
_CONDITIONS: dict[str, Any] = {
    "status": lambda status: Inspection.status.in_(PENDING_STATUSES if status == OPEN else [status]),
    "assignee_id": lambda assignee_id: Inspection.assignee_id == assignee_id,
    "owner_id": lambda owner_id: Inspection.owner_id == owner_id,
    "date_from": lambda date: Inspection.date >= date,
    "date_to": lambda date: Inspection.date <= date,
    "template_id": _has_template,
    "customer": lambda part: _has_text(SEARCHED["customer"], part),
    "q": lambda part: _has_text(SEARCHED["q"], part),
}
