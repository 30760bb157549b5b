"""Inspections that were finished long ago: which ones they are, and their removal (contract, section 8).

Finished means completed or canceled. The time counts from the last change of the inspection or of any row below it. An
inspection with an item that waits for a decision stays until that is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, exists, func, select

from app.administration.inspections import locking, models_below, remove_inspection
from app.administration.rows import title_of
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.audit import note
from app.core.ledger.record import Origin, Recorder, record
from app.core.ledger.set_aside import is_open
from app.models import Attachment, FormFill, Inspection, SetAside
from app.models.entities import entity_of
from app.models.inspections import FINISHED_STATUSES
from app.models.serialize import undeleted
from app.plugin_api import Model

ORIGIN = Origin(door="cli")

#: Inspections that are looked up at a time. Each is removed in a transaction of its own.
PIECE = 100


class Expired(NamedTuple):
    """An inspection that is to be removed, and the rows below it."""

    id: int
    title: str
    status: str
    updated_at: datetime
    #: The label of an entity -> the number of its rows.
    rows: dict[str, int]
    #: The bytes of its photos and signatures.
    byte_size: int


def remove_expired(before: datetime) -> int:
    """Remove the inspections that were finished, and last changed, before a moment; returns how many.

    Devices are told by the feed. What they still send to such an inspection is refused and set aside, as for any row
    that is gone. Raises `TryAgainError` where the database does not take it; what was removed until then stays removed.
    """
    return sum(
        record("inspection_expire", ORIGIN, lambda recorder, key=row.id: _remove(recorder, key, before))  # type: ignore[misc]
        for page in _pages(before)
        for row in page
    )


def find_expired(before: datetime) -> Iterator[Expired]:
    """The inspections that `remove_expired` would remove, in the order of their ids."""
    for page in _pages(before):
        for row in page:
            inspection = db.session.get_one(Inspection, row.id)
            rows = {entity_of(model).label: _count_below(model, row.id) for model in _models()}
            size = select(func.coalesce(func.sum(Attachment.byte_size), 0))
            size = size.where(Attachment.inspection_id == row.id, *undeleted(Attachment))
            byte_size = int(db.session.scalar(size) or 0)
            yield Expired(row.id, title_of(inspection), inspection.status, inspection.updated_at, rows, byte_size)
        db.session.remove()


def _remove(recorder: Recorder, inspection_id: int, before: datetime) -> bool:
    """Remove the inspection, unless somebody has changed it since it was looked up."""
    # Locked first and judged afterwards, because a change below it holds this lock until it is committed.
    rows = locking(recorder.session, select(Inspection).where(Inspection.id == inspection_id))
    is_expired = select(Inspection.id).where(Inspection.id == inspection_id, *_conditions(before))
    if not rows or recorder.session.scalar(is_expired) is None:
        return False
    remove_inspection(recorder, rows[0])
    note("inspection_expired", ORIGIN, None, ("inspection", inspection_id))
    return True


def _pages(before: datetime) -> Iterator[Sequence[Row[Any]]]:
    last = 0
    while True:
        statement = select(Inspection.id).where(Inspection.id > last, *_conditions(before))
        page = db.session.execute(statement.order_by(Inspection.id).limit(PIECE)).all()
        if not page:
            return
        last = page[-1].id
        yield page


def _conditions(before: datetime) -> list[ColumnElement[bool]]:
    changed_below = [
        exists().where(model.inspection_id == Inspection.id, model.updated_at >= before) for model in _models()
    ]
    waits = exists().where(SetAside.inspection_id == Inspection.id, is_open())
    return [
        Inspection.status.in_(FINISHED_STATUSES),
        Inspection.updated_at < before,
        *(~condition for condition in (*changed_below, waits)),
    ]


def _models() -> list[Model]:
    """The models with rows below inspections."""
    return [FormFill, Attachment, *models_below(current_registry().models.values())]


def _count_below(model: Model, inspection_id: int) -> int:
    statement = select(func.count()).where(model.inspection_id == inspection_id, *undeleted(model))
    return db.session.scalar(statement) or 0
