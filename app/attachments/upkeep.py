"""Taking care of the stored bytes: what has no row, what has no bytes, what may be removed (`storage check|gc`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import select

from app.attachments.download import THUMBNAIL_SUFFIX
from app.attachments.storage import MissingObjectError, StoredObject, current_storage
from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.models import Attachment

#: Rows or keys asked for at once.
PAGE = 500


@dataclass(kw_only=True)
class Findings:
    """What `check` found."""

    #: Objects in the storage, and rows whose bytes should be there.
    objects: int = 0
    attachments: int = 0
    #: Objects that no attachment names and no plugin keeps.
    orphans: list[str] = field(default_factory=list)
    #: Ids of attachments whose bytes are missing, or of another size.
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def check() -> Findings:
    """Compare storage and database both ways; changes nothing."""
    # The storage first: an upload that comes in between has its bytes before its row.
    sizes = {each.key: each.byte_size for each in current_storage().list()}
    findings = Findings(objects=len(sizes))
    for attachment in _attachments():
        if attachment.deleted_at is not None and attachment.deleted_at <= _cutoff():
            # Its bytes may have been collected.
            continue
        findings.attachments += 1
        size = sizes.get(attachment.storage_key)
        if size is None:
            if not _is_there(attachment.storage_key):
                findings.missing.append(attachment.id)
        elif size != attachment.byte_size:
            findings.damaged.append(attachment.id)
    for page in _pages(iter(sizes)):
        known = _known_keys(page)
        nameless = [key for key in page if _owner_key(key) not in known]
        kept = _kept(nameless)
        findings.orphans += [key for key in nameless if key not in kept]
    return findings


def collect() -> list[str]:
    """Remove what nobody needs any more, and return its keys; never a row.

    That is: objects older than `orphan_hours` that no row names and no plugin keeps, and the bytes of attachments
    deleted more than `deleted_attachment_days` ago. The database is asked again right before each removal.
    """
    oldest = now() - timedelta(hours=current_settings().orphan_hours)
    storage = current_storage()
    removed = []
    for each in storage.list():
        if each.modified_at < oldest and _is_unneeded(each):
            storage.delete(each.key)
            removed.append(each.key)
    return removed


def _is_unneeded(stored: StoredObject) -> bool:
    """Whether no row names the object, or only one deleted long ago, and no plugin keeps it."""
    db.session.rollback()
    statement = select(Attachment.deleted_at).where(Attachment.storage_key == _owner_key(stored.key))
    found = db.session.scalars(statement).all()
    db.session.rollback()
    return all(deleted_at is not None and deleted_at <= _cutoff() for deleted_at in found) and not _kept([stored.key])


def _cutoff() -> datetime:
    """Attachments deleted before it may lose their bytes."""
    return now() - timedelta(days=current_settings().deleted_attachment_days)


def _attachments() -> Iterator[Attachment]:
    """All rows, a page at a time, each in a transaction of its own: the storage is asked in between."""
    last = ""
    while True:
        page = db.session.scalars(
            select(Attachment).where(Attachment.id > last).order_by(Attachment.id).limit(PAGE)
        ).all()
        db.session.expunge_all()
        db.session.rollback()
        if not page:
            return
        yield from page
        last = page[-1].id


def _is_there(key: str) -> bool:
    """Asked of the object itself, since its row may be younger than the list of objects."""
    try:
        current_storage().open(key).close()
    except MissingObjectError:
        return False
    return True


def _known_keys(keys: Sequence[str]) -> set[str]:
    owners = {_owner_key(key) for key in keys}
    found = set(db.session.scalars(select(Attachment.storage_key).where(Attachment.storage_key.in_(owners))))
    db.session.rollback()
    return found


def _kept(keys: Sequence[str]) -> set[str]:
    """Those of the keys whose objects a plugin needs."""
    found: set[str] = set()
    for plugin in current_registry().plugins.values():
        if plugin.keeps is not None and keys:
            found.update(plugin.keeps(keys))
            db.session.rollback()
    return found


def _owner_key(key: str) -> str:
    """The storage key of the attachment to which an object belongs: a thumbnail goes with its original."""
    return key.removesuffix(THUMBNAIL_SUFFIX)


def _pages(keys: Iterator[str]) -> Iterator[list[str]]:
    while page := list(islice(keys, PAGE)):
        yield page
