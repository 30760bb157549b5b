"""*Inspections*: the list of those that the user may see, with its filters in the address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response
from sqlalchemy import func, select

from app import policies
from app.administration import ORDERS, select_inspections
from app.models import Attachment, FormFill, FormTemplate, Inspection, User, db
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.filters import MOST_COUNTED, count_up_to, given_filters, read_filters
from fieldpost_console.pages.keyset import Keys, read_key_page
from fieldpost_console.pages.people import people, technicians

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
