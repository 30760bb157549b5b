"""Private values: hidden until the reader asks for them, by `private=1` in the address.

Everybody who may see a row may ask. This keeps the values from onlookers, and out of files and addresses that are
passed on; it is no right of its own. Pages on which values are corrected show them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from flask import request
from sqlalchemy import select

from app.administration import ShownRow, form_labels, show_row, without_private
from app.models import Attachment, FormTemplate, db
from fieldpost_console.pages.addresses import this_page


class Private(NamedTuple):
    """What a page knows of its private values."""

    is_shown: bool
    #: The same page with them, or without.
    address: str


def asks_for_private() -> bool:
    """Whether the reader has asked for private values."""
    return request.args.get("private") == "1"


def private_argument() -> str | None:
    """The argument of an address that keeps what the reader has asked for."""
    return "1" if asks_for_private() else None


def private_of_page() -> Private:
    """Whether this page shows its private values, and the address of the other way."""
    is_shown = asks_for_private()
    return Private(is_shown, this_page(private=None if is_shown else "1"))


def shown_to_reader(row: Any) -> ShownRow:
    """A row with title and values, private ones only if the reader has asked for them."""
    shown = show_row(row)
    return shown if asks_for_private() else without_private(shown)


class PrivateFields:
    """The private fields of form templates, for exports of pictures."""

    def __init__(self) -> None:
        #: Template -> its private fields, as its structure has them.
        self._fields: dict[int, list[dict[str, Any]]] = {}

    def learn(self, template_ids: Iterable[int]) -> None:
        """Read the templates that are not known yet; one statement if there are any."""
        new = set(template_ids) - self._fields.keys()
        statement = select(FormTemplate.id, FormTemplate.form_structure).where(FormTemplate.id.in_(new))
        for template_id, structure in db.session.execute(statement).all() if new else ():
            self._fields[template_id] = [field for field in structure if field.get("private") is True]

    def has(self, attachment: Attachment, template_id: int | None) -> bool:
        """Whether a picture belongs to a private field. Nobody can tell that of one whose form is gone."""
        if template_id is None:
            return True
        name = f"{attachment.field_name}_{attachment.kind}_attachment_id"
        return any(label.name == name and label.private for label in form_labels(self._fields[template_id], [name]))
