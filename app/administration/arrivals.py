"""How photos and signatures came in: from whom, from which device, and when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from app.models import Attachment, LedgerEntry, LedgerOperation, User
from app.models.entities import entity_of


class Arrival(NamedTuple):
    """The arrival of one attachment."""

    attachment_id: str
    at: datetime
    user_id: int
    #: The name of the user; None: it is no longer known.
    who: str | None
    #: None: the sign-in had named none, or the ledger no longer tells it.
    device_id: str | None


def arrivals_of(session: Session, ids: Collection[str]) -> dict[str, Arrival]:
    """The arrivals of the attachments with these ids, by id; one statement."""
    made = and_(
        LedgerEntry.entity == entity_of(Attachment).name,
        LedgerEntry.entity_id == Attachment.id,
        LedgerEntry.action == "create",
    )
    sent = and_(LedgerOperation.unit_id == LedgerEntry.unit_id, LedgerOperation.position == LedgerEntry.position)
    statement = (
        select(Attachment.id, Attachment.created_at, Attachment.uploaded_by_id, User.name, LedgerOperation.device_id)
        .outerjoin(User, User.id == Attachment.uploaded_by_id)
        .outerjoin(LedgerEntry, made)
        .outerjoin(LedgerOperation, sent)
        .where(Attachment.id.in_(ids))
    )
    return {row.id: Arrival(*row[:4], device_id=row.device_id or None) for row in session.execute(statement)}
