"""The place of an image: its form fill, and the rows that are locked while the attachment's row is written (rule 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, bindparam, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app import policies
from app.attachments.destination import Destination
from app.core.database.alone import read_alone
from app.core.database.engine import db
from app.core.database.read import Lock, Read
from app.core.database.rows import adopt, detached, row_columns, set_in_memory
from app.core.ledger.history import deleted_rows
from app.errors import ForbiddenError, NotFoundError
from app.models import Attachment, FormFill, FormTemplate, Inspection, User

#: The names and types of fields that take one signature; a new signature replaces the old one (contract, section 4).
SIGNATURE_FIELDS = {"signature", "signature_field", "signature_annex"}

ON_THE_WAY = "No form fill has this client_id. Send the form fill with POST /sync first, then the same upload again."


@dataclass(frozen=True, kw_only=True)
class Place:
    """The locked place of an image."""

    #: With its inspection and form template.
    form_fill: FormFill
    #: The field's attachments, deleted ones excepted.
    attachments: list[Attachment]
    #: The position of the next attachment of the form fill.
    next_position: int

    def kind_of(self, destination: Destination) -> str:
        """The kind of the image: a signature if the form structure says that the field takes one."""
        for field in self.form_fill.form_template.form_structure:
            if field["name"] == destination.field_name:
                words = {str(field["name"]).lower(), str(field.get("type", "")).lower()}
                return "signature" if words & SIGNATURE_FIELDS else destination.kind
        return destination.kind


def find_inspection(destination: Destination) -> Inspection | None:
    """The inspection of the form fill that the destination names: not locked, and no object of the session."""
    found = read_alone(_unlocked(_column_name(destination)), {"named": destination.form_fill})
    return None if found is None else detached(Inspection, found)


def place_reads(destination: Destination) -> list[Read]:
    """The reads that find the image's place and lock it until the transaction ends."""
    name = _column_name(destination)
    parameters = {"named": destination.form_fill, "field_name": destination.field_name}
    locks = [Lock(model=model, statement=lock, parameters=parameters) for model, lock in _locks(name).items()]
    return [*locks, Read(statement=_last_position(name), parameters=parameters)]


def locked_place(session: Session, reads: Sequence[Read]) -> Place | None:
    """The place that the `place_reads` have locked; None if there is no such form fill."""
    *locks, last = reads
    inspections, form_fills, form_templates, attachments = (
        [adopt(session, lock.model, values) for values in lock.rows] for lock in locks if isinstance(lock, Lock)
    )
    # The form fill may have been created just after its inspection was looked up.
    if not inspections or not form_fills:
        return None
    set_in_memory(form_fills[0], {"inspection": inspections[0], "form_template": form_templates[0]})
    ((position,),) = last.rows
    return Place(form_fill=form_fills[0], attachments=attachments, next_position=(position or 0) + 1)


def require_rights(user: User | None, inspection: Inspection | None, destination: Destination) -> None:
    """Raise `NotFoundError` or `ForbiddenError` unless the user may add an image to the form fill.

    `inspection`: the form fill's; None if there is no such form fill.
    """
    if inspection is None:
        raise _not_found(db.session(), destination.form_fill)
    if not policies.change(user, inspection):
        raise ForbiddenError("Not authorized to update this form")


def _not_found(session: Session, form_fill: int | str) -> NotFoundError:
    """The error where there is no such form fill.

    The create of one with a client_id may still be on the way, so that waiting can help (contract, section 0).
    """
    if isinstance(form_fill, str) and (FormFill.__entity__.name, form_fill) not in deleted_rows(session, [form_fill]):
        return NotFoundError("FormFill not found", ON_THE_WAY, extra={"retryable": True})
    return NotFoundError("FormFill not found")


def _column_name(destination: Destination) -> str:
    """The column by which the destination names its form fill."""
    return "client_id" if isinstance(destination.form_fill, str) else "id"


@cache
def _locks(name: str) -> dict[type, Select[Any]]:
    """The queries of a place, in the one lock order (rule 6); `name` is the column that names the form fill.

    They lock the inspection, the form fill and the field's attachments that are not deleted, and read the template.
    """
    return {
        Inspection: select(*row_columns(Inspection))
        .where(Inspection.id == _of_form_fill(name, FormFill.inspection_id))
        .with_for_update(read=True),
        FormFill: select(*row_columns(FormFill)).where(_is_named(name)).with_for_update(key_share=True),
        FormTemplate: select(*row_columns(FormTemplate)).where(
            FormTemplate.id == _of_form_fill(name, FormFill.form_template_id)
        ),
        Attachment: select(*row_columns(Attachment))
        .where(
            Attachment.form_fill_id == _of_form_fill(name, FormFill.id),
            Attachment.field_name == bindparam("field_name"),
            Attachment.deleted_at.is_(None),
        )
        .order_by(Attachment.id)
        .with_for_update(key_share=True),
    }


@cache
def _unlocked(name: str) -> Select[Any]:
    """The query of a form fill's inspection; `name` as for `_locks`."""
    return select(*row_columns(Inspection)).where(Inspection.id == _of_form_fill(name, FormFill.inspection_id))


@cache
def _last_position(name: str) -> Select[int]:
    """The last position in a form fill; to be sent after its lock."""
    form_fill_id = _of_form_fill(name, FormFill.id)
    return select(func.max(Attachment.position)).where(Attachment.form_fill_id == form_fill_id)


def _of_form_fill(name: str, column: InstrumentedAttribute[int]) -> ScalarSelect[int]:
    return select(column).where(_is_named(name)).scalar_subquery()


def _is_named(name: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = getattr(FormFill, name) == bindparam("named")
    return condition
