"""Removes the oldest part of the ledger: a prefix in its own order, a piece at a time (contract, section 3.2).

Removed rows can no longer be a merge base, a feed's past or a retry's answer. So a feed cursor among them is refused
(`app.feed.position`), and the caller keeps the operations that devices may still send again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sqlalchemy import Row, delete, select
from sqlalchemy.orm import Session

from app.core.database.engine import db
from app.core.ledger.state import below, horizon, ledger_state
from app.core.ledger.unit import unit_of_work
from app.models import LedgerEntry, LedgerOperation, LedgerState
from app.models.ledger import LedgerTable

#: Rows that go in one transaction: others write in between, and no statement takes long.
PIECE = 1000


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """How many changed rows and operations were removed."""

    entries: int
    operations: int


def prune(before: datetime) -> Pruned:
    """Remove the rows recorded before a moment, up to the first that is newer; the newest row always stays.

    Raises `TryAgainError` where the database does not take it; rows removed until then stay removed.
    """
    # Order has to be right first: on another PostgreSQL cluster transaction ids begin anew.
    ledger_state(db.session())
    return Pruned(entries=_prune(LedgerEntry, before), operations=_prune(LedgerOperation, before))


def _prune(model: LedgerTable, before: datetime) -> int:
    removed, count = 0, PIECE
    while count == PIECE:
        count = unit_of_work(lambda _unit_id: _prune_piece(db.session(), model, before))
        removed += count
    return removed


def _prune_piece(session: Session, model: LedgerTable, before: datetime) -> int:
    # Locked before anything is looked at: two prunes take turns, and the horizon never goes back.
    state = session.get_one(LedgerState, 1, with_for_update=True, populate_existing=True)
    rows = _oldest(session, model, before)
    if rows:
        plain = {"synchronize_session": False}
        session.execute(delete(model).where(model.id.in_([row.id for row in rows])), execution_options=plain)
        if model is LedgerEntry:
            # Cursors up to here are refused from now on, in the transaction that removes what they would need.
            state.pruned_xid, state.pruned_id = rows[-1].xid, rows[-1].id
    return len(rows)


def _oldest(session: Session, model: LedgerTable, before: datetime) -> Sequence[Row[int, int, datetime]]:
    """The rows at the ledger's beginning that are old, at most a piece.

    They end at the first newer row, because order counts: a clock that was set back may have given older times to rows
    behind it. Entries also end at the first before which a running transaction may still put another; nobody reads
    operations in an order.
    """
    statement = select(model.xid, model.id, model.recorded_at)
    if model is LedgerEntry:
        statement = statement.where(*below(model, horizon(session))).order_by(model.xid)
    # One more than may go, so that the last is never the newest.
    rows = session.execute(statement.order_by(model.id).limit(PIECE + 1)).all()
    return list(takewhile(lambda row: row.recorded_at < before, rows[:-1]))
