"""*Inspections*: the list of those that the user may see, with its filters in the address."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy import select

from app import policies
from app.administration import ORDERS, select_with_least
from app.models import FormTemplate, Inspection, User, db
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.filters import MOST_COUNTED, count_below, count_up_to, given_filters, read_filters
from fieldpost_console.pages.keyset import KeyPage, Keys, read_key_page
from fieldpost_console.pages.people import People, names_of, people_and_technicians
from fieldpost_console.pages.private import private_of_page

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


#: The filters that search in texts.
TEXTS = frozenset({"q", "customer"})


@blueprint.get("/inspections")
def inspections() -> Response:
    """The inspections that meet the filters, fifty on a page."""
    filters, faults = read_filters()
    user = signed_in_user()
    page, total = _page_and_total(user, filters)
    choices = choices_of(user)
    forms, photos = count_below([row.id for row in page.rows])
    return render(
        "console/inspections.html",
        400 if faults else 200,
        page=page,
        total=total,
        most=MOST_COUNTED,
        given=given_filters(),
        faults=faults,
        names=names_of(page.rows, dict(choices["owners"])),
        forms=forms,
        photos=photos,
        private=private_of_page(),
        **choices,
    )


def _page_and_total(user: User, filters: dict[str, Any]) -> tuple[KeyPage, int]:
    """The page, and how many inspections match; more than `MOST_COUNTED` are not told apart."""
    statement, least = select_with_least(user, filters, *COLUMNS)
    session, keys = db.session(), Keys(*ORDERS[filters["sort"]])
    if least > MOST_COUNTED:
        return read_key_page(session, statement, keys), least
    # A search of texts reads all rows, so that its first page is read and counted in one statement. Others are counted
    # in an index.
    page = read_key_page(session, statement, keys, count_to=MOST_COUNTED if TEXTS & filters.keys() else None)
    if page.total is not None:
        return page, page.total
    return page, count_up_to(statement.with_only_columns(Inspection.id), MOST_COUNTED)


def choices_of(user: User) -> dict[str, Any]:
    """People and templates to choose from. Only administrators may know all the people."""
    templates = select(FormTemplate.id, FormTemplate.name).order_by(FormTemplate.id.desc()).limit(MOST_TEMPLATES)
    is_admin, oneself = policies.is_admin(user), [(user.id, user.name)]
    people = people_and_technicians() if is_admin else People(oneself, oneself)
    return {
        "is_admin": is_admin,
        "assignees": people.technicians,
        "owners": people.all,
        "templates": [(row.id, row.name) for row in db.session.execute(templates)],
    }
