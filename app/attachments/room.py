"""How much room photos and signatures take, of a user and of the whole site, and the quotas for it (section 4).

An image counts as long as its bytes may be in the storage: until `deleted_attachment_days` after it was deleted. The
sums are read from an index. Counters would be cheaper, but they would drift away from the rows, and each upload would
have to write them. No row is locked, so uploads that arrive at the same moment may go beyond a quota together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.errors import StorageFullError
from app.models import Attachment

#: How long a worker trusts the sum of all images, for which a line of the index is read for each.
TRUSTED = timedelta(minutes=1)

#: Where the application keeps that sum.
SITE_USE = "fieldpost.site_use"


@dataclass(frozen=True, kw_only=True)
class Use:
    """The images of a user that take room."""

    user_id: int
    images: int
    byte_size: int


@dataclass
class _SiteUse:
    byte_size: int
    read_at: datetime


def require_room(session: Session, user_id: int, byte_size: int) -> None:
    """Raise `StorageFullError` if an image of the user with so many bytes is beyond a quota.

    A statement for each of the quotas that is set, and none otherwise.
    """
    settings = current_settings()
    of_user, of_site = settings.user_storage_bytes, settings.site_storage_bytes
    if of_user and bytes_of_user(session, user_id) + byte_size > of_user:
        raise StorageFullError(of_user, "Your photos take all the room that one user has here")
    if of_site and bytes_of_site(session) + byte_size > of_site:
        raise StorageFullError(of_site, "Photos take all the room that there is for them here")


def take_room(session: Session, user_id: int, byte_size: int) -> None:
    """The same for an image that is then stored: this worker counts it at once."""
    require_room(session, user_id, byte_size)
    if current_settings().site_storage_bytes:
        _site_use(session).byte_size += byte_size


def user_quota() -> int:
    """The bytes of images that one user may have here; 0: no limit."""
    return current_settings().user_storage_bytes


def bytes_of_user(session: Session, user_id: int) -> int:
    """The bytes of a user's images."""
    return _sum(session, Attachment.uploaded_by_id == user_id)


def bytes_of_site(session: Session) -> int:
    """The bytes of all images, as this worker has read them within the last minute."""
    return _site_use(session).byte_size


def use_by_user() -> Sequence[Use]:
    """The use of each user who has any, the largest first."""
    size = func.sum(Attachment.byte_size)
    statement = select(Attachment.uploaded_by_id, func.count(), size).where(_takes_room())
    statement = statement.group_by(Attachment.uploaded_by_id).order_by(size.desc(), Attachment.uploaded_by_id)
    rows = db.session.execute(statement)
    return [Use(user_id=user_id, images=images, byte_size=int(total)) for user_id, images, total in rows]


def _site_use(session: Session) -> _SiteUse:
    known: _SiteUse | None = current_app.extensions.get(SITE_USE)
    moment = now()
    if known is None or not known.read_at <= moment < known.read_at + TRUSTED:
        known = current_app.extensions[SITE_USE] = _SiteUse(_sum(session), moment)
    return known


def _sum(session: Session, *conditions: ColumnElement[bool]) -> int:
    statement = select(func.coalesce(func.sum(Attachment.byte_size), 0)).where(_takes_room(), *conditions)
    return int(session.scalar(statement) or 0)


def _takes_room() -> ColumnElement[bool]:
    """The condition that the bytes of an image have not been collected."""
    cutoff = now() - timedelta(days=current_settings().deleted_attachment_days)
    return or_(Attachment.deleted_at.is_(None), Attachment.deleted_at > cutoff)
