"""*One inspection*: everything below it, its history, and two versions of a row beside each other.

No entity is named but those whose rows people see elsewhere on the page: rows of any plugin are shown by the labels and
the panel that its entity declares.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from flask import Response, redirect, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from app import policies
from app.administration import (
    PastChange,
    Place,
    RowName,
    ShownRow,
    changes_of,
    compare,
    form_of,
    label_of_type,
    may_correct,
    may_have_private,
    models_shown,
    readable,
    rows_below,
    rows_named,
    show_row,
    title_of,
    words,
)
from app.errors import NotFoundError
from app.models import Attachment, Inspection, User, db
from app.pages import gettext, render, render_panel
from app.plugin_api import Label
from app.web import signed_in_user
from fieldpost_console.pages.addresses import this_page
from fieldpost_console.pages.blueprint import MOST_ID, ONE, blueprint
from fieldpost_console.pages.private import asks_for_private, private_of_page, shown_to_reader

#: Rows of an entity on a page, and characters of an old or new value in the history.
MOST_ROWS, LONGEST_CHANGE = 50, 300


class Card(NamedTuple):
    """A row on the page."""

    shown: ShownRow
    #: The plugin's own drawing of it; None: a table by the labels.
    panel: str | None
    can_correct: bool


class Group(NamedTuple):
    """The rows of one entity, and the address of those after them, if there are any."""

    entity: str
    heading: str
    cards: list[Card]
    more: str | None


class Difference(NamedTuple):
    """A field of two versions; None: there was no value."""

    label: str
    old: str | None
    new: str | None
    #: Whether the values are private, and the reader has not asked for them.
    is_hidden: bool


class Told(NamedTuple):
    """A change with the words for it."""

    change: PastChange
    title: str
    what: str
    fields: list[Difference]


def visible_inspection(inspection_id: int) -> Inspection:
    """The inspection with this id. Raises `NotFoundError` unless the user may see it."""
    condition = policies.visible(signed_in_user())
    inspection: Inspection | None = db.session.scalar(
        select(Inspection).where(Inspection.id == inspection_id, condition)
    )
    if inspection is None:
        raise NotFoundError("There is no such inspection that you may see")
    return inspection


@blueprint.get(ONE)
def inspection(inspection_id: int) -> Response:
    """An inspection with all rows below it."""
    root = visible_inspection(inspection_id)
    return render(
        "console/inspection.html",
        inspection=root,
        head=card_of(root),
        groups=list(_groups(root)),
        private=private_of_page(),
        say=gettext,
        **people_of(root),
    )


def people_of(root: Inspection) -> dict[str, Any]:
    """The names of owner and assignee."""
    statement = select(User.id, User.name).where(User.id.in_({root.owner_id, root.assignee_id} - {None}))
    names = {row.id: row.name for row in db.session.execute(statement)}
    return {"owner": names.get(root.owner_id), "assignee": names.get(root.assignee_id or 0)}


def card_of(row: Any) -> Card:
    """A row as the page shows it."""
    shown, user = shown_to_reader(row), signed_in_user()
    panel = None
    if shown.entity.panel is not None:
        panel = render_panel(shown.entity.panel, row=row, shown=shown, user=user)
    form = form_of(type(row))
    return Card(shown, panel, form is not None and may_correct(user, form, row))


def _groups(root: Inspection) -> Iterator[Group]:
    """The rows below the inspection, or those of one entity after a row, as the address says."""
    chosen, after = request.args.get("entity"), request.args.get("after")
    for model in models_shown():
        entity = model.__entity__
        # Photos and signatures stand at the fields that they belong to.
        if model is Attachment or (chosen is not None and entity.name != chosen):
            continue
        rows, last = rows_below(db.session(), root, model, after=_read_key(model, after), most=MOST_ROWS)
        more = None if last is None else this_page(entity=entity.name, after=str(last))
        if rows:
            yield Group(entity.name, readable(entity.name), [card_of(row) for row in rows], more)


def _read_key(model: Any, text: str | None) -> Any:
    """A row's id in the address, of the type of the model's ids. Raises `NotFoundError`."""
    if text is None:
        return None
    if model.__mapper__.primary_key[0].type.python_type is str:
        return text
    if not text.isdecimal() or not text.isascii() or int(text) > MOST_ID:
        raise NotFoundError("There is no such row")
    return int(text)


@blueprint.get(f"{ONE}/history")
def history(inspection_id: int) -> Response:
    """The changes of the inspection and of the rows below it, or of the one row in the address, newest first."""
    root = visible_inspection(inspection_id)
    name = _read_row_name()
    past = changes_of(db.session(), root.id, name, _read_place())
    older = None if past.older is None else this_page(before=f"{past.older.xid}.{past.older.id}")
    return render(
        "console/history.html",
        inspection=root,
        title=title_of(root),
        told=_told(root, past.changes),
        private=private_of_page(),
        row=name,
        older=older,
        words=words,
    )


@blueprint.get(f"{ONE}/compare")
def comparison(inspection_id: int) -> BaseResponse:
    """Two versions of a row: the fields that differ between them. They are chosen in the history."""
    root = visible_inspection(inspection_id)
    name = _read_row_name()
    if name is None:
        return redirect(url_for("console.history", inspection_id=root.id), 303)
    ends = sorted(_read_number(request.args.get(end, "")) for end in ("older", "newer"))
    row = rows_named(db.session(), root, [name]).get(name)
    shown = None if row is None else show_row(row)
    differences = compare(db.session(), root.id, name, *ends)
    return render(
        "console/comparison.html",
        inspection=root,
        row=name,
        title=_title(name, shown),
        fields=_in_words(name, differences, shown, None),
        private=private_of_page(),
        back=url_for("console.history", inspection_id=root.id, entity=name.entity, key=name.entity_id),
    )


def _read_row_name() -> RowName | None:
    entity, key = request.args.get("entity"), request.args.get("key")
    return None if entity is None or key is None else RowName(entity[:64], key[:36])


def _read_place() -> Place | None:
    """The place in the ledger that the address names. Raises `NotFoundError`."""
    text = request.args.get("before")
    if text is None:
        return None
    xid, _, entry_id = text.partition(".")
    return Place(_read_number(xid), _read_number(entry_id))


def _read_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > MOST_ID:
        raise NotFoundError("There is no such page")
    return int(text)


def _told(root: Inspection, changes: list[PastChange]) -> list[Told]:
    """The changes in words, with the labels of the rows that are still there."""
    rows = rows_named(db.session(), root, {change.row for change in changes})
    shown = {name: show_row(row) for name, row in rows.items()}
    return [
        Told(
            change=change,
            title=_title(change.row, shown.get(change.row)),
            what=label_of_type(change.entry["type"]),
            fields=_in_words(change.row, change.entry["changes"] or {}, shown.get(change.row), LONGEST_CHANGE),
        )
        for change in changes
    ]


def _title(name: RowName, shown: ShownRow | None) -> str:
    return f"{readable(name.entity)} {name.entity_id}" if shown is None else shown.title


def _in_words(
    row: RowName, changes: dict[str, dict[str, Any]], shown: ShownRow | None, longest: int | None
) -> list[Difference]:
    """The fields in the order of the labels, with at most `longest` characters of a value."""
    labels = {value.label.name: value.label for value in (shown.values if shown is not None else ())}
    places = {name: place for place, name in enumerate(labels)}
    return [
        _difference(name, change, labels.get(name), longest, is_hidden=_is_hidden(row, name, shown))
        for name, change in sorted(changes.items(), key=lambda item: places.get(item[0], len(places)))
        # Without values it is told by the ledger alone: they were withheld, such as those of an erased person.
        if change
    ]


def _is_hidden(row: RowName, field: str, shown: ShownRow | None) -> bool:
    if asks_for_private():
        return False
    return may_have_private(row.entity) if shown is None else shown.was_private(field)


def _difference(
    name: str, change: dict[str, Any], label: Label | None, longest: int | None, *, is_hidden: bool
) -> Difference:
    text = f"{label.section} · {label.label}" if label and label.section else label and label.label
    if is_hidden:
        return Difference(text or readable(name), None, None, is_hidden)
    old, new = (_side(change.get(side), label, longest) for side in ("old", "new"))
    return Difference(text or readable(name), old, new, is_hidden)


def _side(value: object, label: Label | None, longest: int | None) -> str | None:
    if value is None:
        return None
    text = _cut(words(value, label), longest)
    return f"{text} {label.unit}" if label and label.unit else text


def _cut(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else "".join(islice(text, longest)) + "…"
