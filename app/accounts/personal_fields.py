"""Fields of plugins' rows that tell of a user (`Entity.personal`): emptied, and forgotten, once the user is erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import inspect, or_, select
from sqlalchemy.orm import Session

from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.forget import withhold_fields
from app.core.ledger.record import Origin, Recorder, record
from app.models import Inspection, LedgerEntry
from app.models.entities import entity_of
from app.plugin_api import Model

#: Rows that are changed in one unit of work.
PIECE = 500


def empty_personal_fields(origin: Origin, user_id: int) -> dict[str, int]:
    """Give the fields that tell of a user the values that plugins state; returns entity -> number of rows.

    Devices are told by the feed, as of any change. The former values are taken out of the ledger, also those of rows
    that no longer name the user, or are gone. Doing it again does no harm.
    """
    counts: dict[str, int] = {}
    for name, model in sorted(current_registry().models.items()):
        for column, values in entity_of(model).personal.items():
            ids = _ids_of_rows(model, column, user_id)
            for start in range(0, len(ids), PIECE):
                piece = ids[start : start + PIECE]
                _empty(origin, model, piece, column, user_id, values)
                withhold_fields(name, [str(key) for key in piece], values)
            if ids:
                counts[name] = counts.get(name, 0) + len(ids)
    return counts


def _ids_of_rows(model: Model, column: str, user_id: int) -> Sequence[Any]:
    """The ids of the rows that name the user, or once did: of those the ledger tells."""
    entity, change = entity_of(model).name, LedgerEntry.changes[column]
    named = [change[side].as_string() == str(user_id) for side in ("old", "new")]
    once = select(LedgerEntry.entity_id).where(
        LedgerEntry.entity == entity, LedgerEntry.viewer_id.is_(None), or_(*named)
    )
    former = {current_registry().key_of(model, text) for text in db.session.scalars(once)}
    present = db.session.scalars(select(_key(model)).where(getattr(model, column) == user_id))
    return sorted(former.union(present))


def _empty(
    origin: Origin, model: Model, ids: Sequence[Any], column: str, user_id: int, values: Mapping[str, Any]
) -> None:
    mine = (_key(model).in_(ids), getattr(model, column) == user_id)

    def lock_inspections(session: Session) -> None:
        """Inspections come before the rows below them in the one lock order."""
        if hasattr(model, "inspection_id"):
            roots = select(Inspection.id).where(Inspection.id.in_(select(model.inspection_id).where(*mine)))
            session.scalars(roots.order_by(Inspection.id).with_for_update(read=True)).all()

    def work(recorder: Recorder) -> None:
        rows = select(model).where(*mine).order_by(_key(model)).with_for_update(key_share=True)
        for row in recorder.session.scalars(rows, execution_options={"populate_existing": True}):
            recorder.change(row, values)

    record("user_erase", origin, work, lock_first=lock_inspections)


def _key(model: Model) -> Any:
    return inspect(model).primary_key[0]
