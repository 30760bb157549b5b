"""*Inspections*: the list of those that the user may see, with its filters in the address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, request
from marshmallow import ValidationError
from sqlalchemy import func, select

from app import policies
from app.administration import ORDERS, InspectionListSchema, select_inspections
from app.models import Attachment, FormFill, FormTemplate, Inspection, User, db
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.keyset import Keys, read_key_page
from fieldpost_console.pages.people import people, technicians

#: A list counts no further: the number above it becomes *more than …*.
MOST_COUNTED = 1000

#: Templates to choose from, newest first.
MOST_TEMPLATES = 200

COLUMNS = (
    Inspection.id,
    Inspection.date,
    Inspection.status,
    Inspection.interval_category,
    Inspection.property,
    Inspection.customer,
    Inspection.owner_id,
    Inspection.assignee_id,
    Inspection.updated_at,
)


@blueprint.get("/inspections")
def inspections() -> Response:
    """The inspections that meet the filters, fifty on a page."""
    filters, faults = read_filters()
    keys = Keys(*ORDERS[filters["sort"]])
    user = signed_in_user()
    page = read_key_page(db.session(), select_inspections(user, filters, *COLUMNS), keys)
    ids = [row.id for row in page.rows]
    return render(
        "console/inspections.html",
        400 if faults else 200,
        page=page,
        total=count_up_to(select_inspections(user, filters), MOST_COUNTED),
        most=MOST_COUNTED,
        given=given_filters(),
        faults=faults,
        names=names_of(page.rows),
        forms=_numbers(FormFill, ids),
        photos=_numbers(Attachment, ids),
        **choices_of(user),
    )


def given_filters() -> dict[str, str]:
    """The filters as the address has them, those left empty aside."""
    return {name: value for name, value in request.args.items() if value and name not in ("before", "after")}


def read_filters() -> tuple[dict[str, Any], dict[str, Any]]:
    """The filters of the request's address, and the faults of those that mean nothing, which do not count."""
    try:
        return InspectionListSchema().load(given_filters()), {}
    except ValidationError as error:
        valid = error.valid_data if isinstance(error.valid_data, dict) else {}
        return {"sort": "newest", **valid}, error.messages_dict


def count_up_to(statement: Any, most: int) -> int:
    """How many rows `statement` selects; `most` + 1 stands for more than `most`."""
    few = statement.limit(most + 1).subquery()
    return db.session.scalar(select(func.count()).select_from(few)) or 0


def names_of(rows: Sequence[Any]) -> dict[int, str]:
    """The names of the rows' owners and assignees, by id."""
    ids = {user_id for row in rows for user_id in (row.owner_id, row.assignee_id) if user_id is not None}
    statement = select(User.id, User.name).where(User.id.in_(ids))
    return {row.id: row.name for row in db.session.execute(statement)}


def choices_of(user: User) -> dict[str, Any]:
    """People and templates to choose from. Only administrators may know all the people."""
    templates = select(FormTemplate.id, FormTemplate.name).order_by(FormTemplate.id.desc()).limit(MOST_TEMPLATES)
    is_admin = policies.is_admin(user)
    return {
        "is_admin": is_admin,
        "assignees": technicians() if is_admin else [(user.id, user.name)],
        "owners": people() if is_admin else [(user.id, user.name)],
        "templates": [(row.id, row.name) for row in db.session.execute(templates)],
    }


def _numbers(model: Any, ids: Sequence[int]) -> dict[int, int]:
    """How many rows of `model` there are below each of the inspections; those marked as deleted do not count."""
    statement = select(model.inspection_id, func.count()).where(model.inspection_id.in_(ids))
    if hasattr(model, "deleted_at"):
        statement = statement.where(model.deleted_at.is_(None))
    return {row[0]: row[1] for row in db.session.execute(statement.group_by(model.inspection_id))}
