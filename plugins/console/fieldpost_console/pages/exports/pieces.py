"""The rows of an export, some at a time, each time in a short transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from operator import itemgetter
from typing import Any

from app.administration import (
    ShownValue,
    inspections_with_ids,
    keys_below,
    models_shown,
    rows_with_keys,
    select_inspections,
    show_row,
    title_of,
)
from app.clock import to_wire
from app.models import Attachment, Inspection, User, db
from fieldpost_console.pages.filters import count_below
from fieldpost_console.pages.people import names_of

#: Inspections that are read at a time.
AT_A_TIME = 500

#: Rows below inspections that are read at a time, of each model, and their keys.
ROWS_AT_A_TIME, KEYS_AT_A_TIME = 200, 4_000

#: A line of a table: its cells in the order of the heading.
Line = Sequence[str | int | float | None]

_COLUMNS = (
    Inspection.id, Inspection.date, Inspection.status, Inspection.interval_category, Inspection.property,
    Inspection.customer, Inspection.owner_id, Inspection.assignee_id, Inspection.job, Inspection.notes,
    Inspection.created_at, Inspection.updated_at,
)  # fmt: skip


def inspection_pieces(user: User, filters: dict[str, Any]) -> Iterator[Sequence[Any]]:
    """The inspections of a list, by id, some at a time."""
    last = 0
    while True:
        statement = select_inspections(user, filters, *_COLUMNS).where(Inspection.id > last)
        rows = db.session.execute(statement.order_by(Inspection.id).limit(AT_A_TIME)).all()
        if not rows:
            return
        yield rows
        # The connection goes back before the next piece is wanted.
        db.session.remove()
        last = rows[-1].id


def inspection_heading(with_private: bool) -> Line:
    """The columns of `inspection_lines`. The customer is private (`Inspection`'s labels say so)."""
    return (
        "id", "date", "status", "interval", "property", "address", *(["customer"] if with_private else []), "owner",
        "assignee", "job", "notes", "forms", "photos", "created_at", "updated_at",
    )  # fmt: skip


def inspection_lines(user: User, filters: dict[str, Any], with_private: bool) -> Iterator[Line]:
    """A line for each inspection of a list."""
    for rows in inspection_pieces(user, filters):
        yield from list(_lines_of(rows, with_private))


def value_heading(_with_private: bool) -> Line:
    """The columns of `value_lines`."""
    return ("inspection_id", "date", "property", "entity", "row_id", "row", "section", "label", "value", "unit")


def value_lines(user: User, filters: dict[str, Any], with_private: bool) -> Iterator[Line]:
    """A line for each value below the inspections of a list, whatever plugins the rows are of."""
    models = [model for model in models_shown() if model is not Attachment]
    for rows in inspection_pieces(user, filters):
        below = _Below(inspections_with_ids(db.session(), [row.id for row in rows]), with_private)
        # An inspection's rows of the first model stand before those of the next one.
        for _, lines in merge(*(below.lines(model) for model in models), key=itemgetter(0)):
            yield from lines


def _lines_of(rows: Sequence[Any], with_private: bool) -> Iterator[Line]:
    ids = [row.id for row in rows]
    names = names_of(rows)
    forms, photos = count_below(ids)
    for row in rows:
        place = row.property or {}
        customer = [(row.customer or {}).get("name")] if with_private else []
        yield (
            row.id, row.date.isoformat(), row.status, row.interval_category, place.get("property_name"),
            place.get("address"), *customer, names.get(row.owner_id), names.get(row.assignee_id), row.job,
            row.notes, forms.get(row.id, 0), photos.get(row.id, 0), to_wire(row.created_at), to_wire(row.updated_at),
        )  # fmt: skip


class _Below:
    """The values below some inspections."""

    def __init__(self, roots: Mapping[int, Any], with_private: bool) -> None:
        self._roots, self._with_private = roots, with_private
        #: The cells of each inspection, with which its lines begin.
        self._heads = {root.id: (root.id, root.date.isoformat(), title_of(root)) for root in roots.values()}

    def lines(self, model: Any) -> Iterator[tuple[int, list[Line]]]:
        """The lines of each row of a model, with the id of its inspection, in the order of these ids."""
        keys = keys_below(db.session(), self._roots, model, most=KEYS_AT_A_TIME)
        while keys:
            for place in range(0, len(keys), ROWS_AT_A_TIME):
                rows = rows_with_keys(db.session(), self._roots, model, keys[place : place + ROWS_AT_A_TIME])
                found = [(row.inspection_id, self._lines_of(row)) for row in rows]
                # The connection goes back before the next line is wanted.
                db.session.remove()
                yield from found
            is_last = len(keys) < KEYS_AT_A_TIME
            keys = [] if is_last else keys_below(db.session(), self._roots, model, after=keys[-1], most=KEYS_AT_A_TIME)

    def _lines_of(self, row: Any) -> list[Line]:
        shown, head = show_row(row), self._heads[row.inspection_id]
        return [
            (
                *head, shown.entity.name, row.id, shown.title, value.label.section, value.label.label, _cell(value),
                value.label.unit,
            )
            for value in shown.values
            if not value.is_missing and (self._with_private or not value.label.private)
        ]  # fmt: skip


def _cell(value: ShownValue) -> str | int | float:
    """A number as a number, so that a spreadsheet can count with it; all else in words."""
    plain = value.value
    if isinstance(plain, int | float) and not isinstance(plain, bool) and not value.label.options:
        return plain
    return value.text
