"""The upkeep of uploads, called by `storage gc`, `storage check` and `maintenance`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.clock import now
from app.models import db
from app.web import unit_of_work
from fieldpost_resumable_uploads import uploads
from fieldpost_resumable_uploads.models import Part, ResumableUpload

#: Uploads removed in one transaction.
PAGE = 100


def collect() -> int:
    """Remove expired uploads, complete or not, with their parts; returns their number. Attachments stay."""
    moment, count = now(), 0

    def work(_unit_id: str) -> tuple[int, list[str]]:
        expired = select(ResumableUpload.id).where(ResumableUpload.expires_at <= moment).limit(PAGE)
        ids = db.session.scalars(expired.with_for_update(skip_locked=True)).all()
        return len(ids), uploads.remove(db.session(), ids)

    while True:
        removed, keys = unit_of_work(work)
        uploads.drop(keys)
        count += removed
        if removed < PAGE:
            return count


def keeps(keys: Sequence[str]) -> list[str]:
    """The keys, out of the given ones, that are parts of uploads."""
    return list(db.session.scalars(select(Part.storage_key).where(Part.storage_key.in_(keys))))
