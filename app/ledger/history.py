"""What can be read back from the ledger: earlier outcomes, and what happened to a row since a version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.record import Origin
from app.models import LedgerEntry, LedgerOperation


def recall(
    session: Session, origin: Origin, local_ids: Iterable[str]
) -> dict[tuple[str | None, str | None], LedgerOperation]:
    """The remembered operations of this user and device with these local_ids, by local_id and fingerprint.

    A query of its own, after the locks, so that it sees what a twin of this batch has just committed.
    """
    statement = select(LedgerOperation).where(
        LedgerOperation.user_id == origin.user_id,
        LedgerOperation.device_id == (origin.device_id or ""),
        LedgerOperation.local_id.in_(set(local_ids)),
    )
    return {(each.local_id, each.fingerprint): each for each in session.scalars(statement)}


def entries_since(session: Session, entity: str, versions: Mapping[Any, datetime]) -> dict[str, list[LedgerEntry]]:
    """What happened to rows after a version of each (row id -> version), by row id, oldest first."""
    if not versions:
        return {}
    statement = (
        select(LedgerEntry)
        .where(
            LedgerEntry.entity == entity,
            LedgerEntry.entity_id.in_([str(each) for each in versions]),
            LedgerEntry.viewer_id.is_(None),
            LedgerEntry.version_after > min(versions.values()),
        )
        .order_by(LedgerEntry.id)
    )
    found: dict[str, list[LedgerEntry]] = {str(each): [] for each in versions}
    for entry in session.scalars(statement):
        found[entry.entity_id].append(entry)
    return found
