"""Upkeep of the stored bytes: rows without bytes, bytes without a row, and their removal (`storage check|gc`)."""

from __future__ import annotations

import hashlib
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

#: Rows or keys in one query.
PAGE = 500


@dataclass(kw_only=True)
class Findings:
    """The result of `check`."""

    #: The numbers of objects in the storage, and of rows whose bytes should be there.
    objects: int = 0
    attachments: int = 0
    #: Objects that no attachment names and no plugin keeps.
    orphans: list[str] = field(default_factory=list)
    #: Ids of attachments whose bytes are missing, or have another size.
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    #: Ids of attachments whose bytes have the right size and another SHA-256, if contents were read.
    altered: list[str] = field(default_factory=list)


def check(*, reads_content: bool = False) -> Findings:
    """Compare storage and database in both directions. Changes nothing.

    `reads_content`: all bytes are read, and their SHA-256 is compared too. That takes as long as copying the storage.
    """
    # The storage is listed first: an upload in the meantime writes its bytes before its row.
    sizes = {stored.key: stored.byte_size for stored in current_storage().list()}
    findings = Findings(objects=len(sizes))
    for attachment in _attachments():
        if attachment.deleted_at is not None and attachment.deleted_at <= _cutoff():
            # Its bytes may have been collected already.
            continue
        findings.attachments += 1
        size = sizes.get(attachment.storage_key)
        if size is None:
            if not _is_there(attachment.storage_key):
                findings.missing.append(attachment.id)
        elif size != attachment.byte_size:
            findings.damaged.append(attachment.id)
        elif reads_content and _is_altered(attachment):
            findings.altered.append(attachment.id)
    for page in _pages(iter(sizes)):
        known = _known_keys(page)
        nameless = [key for key in page if _owner_key(key) not in known]
        kept = _kept(nameless)
        findings.orphans += [key for key in nameless if key not in kept]
    return findings


def collect() -> list[str]:
    """Remove objects that nobody needs any more, and return their keys. Rows are never removed.

    These are objects older than `orphan_hours` that no row names and no plugin keeps, and the bytes of attachments
    deleted more than `deleted_attachment_days` ago. The database is asked again right before each removal.
    """
    oldest = now() - timedelta(hours=current_settings().orphan_hours)
    storage = current_storage()
    removed = []
    for stored in storage.list():
        if stored.modified_at < oldest and _is_unneeded(stored):
            storage.delete(stored.key)
            removed.append(stored.key)
    return removed


def _is_unneeded(stored: StoredObject) -> bool:
    """Whether no plugin keeps the object, and no row names it except rows deleted long ago."""
    db.session.rollback()
    statement = select(Attachment.deleted_at).where(Attachment.storage_key == _owner_key(stored.key))
    deletions = db.session.scalars(statement).all()
    db.session.rollback()
    is_named = any(deleted_at is None or deleted_at > _cutoff() for deleted_at in deletions)
    return not is_named and not _kept([stored.key])


def _cutoff() -> datetime:
    """The time before which attachments must have been deleted to lose their bytes."""
    return now() - timedelta(days=current_settings().deleted_attachment_days)


def _attachments() -> Iterator[Attachment]:
    """All rows, read a page at a time; each page has its own transaction, because the storage is asked in between."""
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
    """Whether the object is there now: its row may be newer than the list of objects."""
    try:
        current_storage().open(key).close()
    except MissingObjectError:
        return False
    return True


def _is_altered(attachment: Attachment) -> bool:
    """Whether the stored bytes are not those of the upload; a file that has just gone is for the next check."""
    digest = hashlib.sha256()
    try:
        for piece in current_storage().open(attachment.storage_key):
            digest.update(piece)
    except MissingObjectError:
        return False
    return digest.hexdigest() != attachment.sha256


def _known_keys(keys: Sequence[str]) -> set[str]:
    owners = {_owner_key(key) for key in keys}
    known = set(db.session.scalars(select(Attachment.storage_key).where(Attachment.storage_key.in_(owners))))
    db.session.rollback()
    return known


def _kept(keys: Sequence[str]) -> set[str]:
    """The keys, out of the given ones, whose objects a plugin needs."""
    kept: set[str] = set()
    for plugin in current_registry().plugins.values():
        if plugin.keeps is not None and keys:
            kept.update(plugin.keeps(keys))
            db.session.rollback()
    return kept


def _owner_key(key: str) -> str:
    """The storage key of the attachment that an object belongs to: a thumbnail belongs to its original."""
    return key.removesuffix(THUMBNAIL_SUFFIX)


def _pages(keys: Iterator[str]) -> Iterator[list[str]]:
    while page := list(islice(keys, PAGE)):
        yield page
