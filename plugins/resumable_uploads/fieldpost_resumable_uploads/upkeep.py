"""The upkeep of uploads, called by `storage gc`, `storage check`, `maintenance` and `privacy erase`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select

from app.clock import now
from app.models import db
from app.web import unit_of_work
from fieldpost_resumable_uploads import uploads
from fieldpost_resumable_uploads.models import Part, ResumableUpload

#: Uploads removed in one transaction.
PAGE = 100


def collect() -> int:
    """Remove expired uploads, complete or not, with their parts; returns their number. Attachments stay."""
    return _remove(ResumableUpload.expires_at <= now(), skip_locked=True)


def erase(user_id: int) -> int:
    """Remove the uploads of a user, complete or not, with the names of files in them. Attachments stay."""
    return _remove(ResumableUpload.user_id == user_id, skip_locked=False)


def _remove(condition: ColumnElement[bool], *, skip_locked: bool) -> int:
    count = 0

    def work(_unit_id: str) -> tuple[int, list[str]]:
        uploads_to_remove = select(ResumableUpload.id).where(condition).limit(PAGE)
        ids = db.session.scalars(uploads_to_remove.with_for_update(skip_locked=skip_locked)).all()
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
