"""Backup and restore: the database first, then the stored files, then the key.

The order matters. Bytes are stored before the row that names them, and kept for a while after the row is deleted, so
files that are copied after the database include all files that its rows name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import orjson

from app.attachments.storage import MissingObjectError, current_storage
from app.attachments.storage.protocol import KEY as KEY_OF_OBJECT
from app.cli.backup import databases
from app.cli.backup.archives import Archive, BackupError, create_archive, open_archive
from app.clock import now, to_wire
from app.config import current_settings, make_data_dir
from app.core.database import database_of
from app.core.database.engine import db
from app.core.private_files import write_private

__all__ = ["BackupError", "Manifest", "backup", "begin_new_history", "restore", "verify"]

MANIFEST, DATABASE, FILES, KEY = "manifest.json", "database", "files/", "secret_key"

#: The SHA-256 of every other file, in the format of sha256sum. Backups of older releases have none.
SUMS = "SHA256SUMS"

#: The version of a backup's format.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a backup. It is written last: a backup without it is incomplete."""

    format: int
    #: `sqlite` or `postgresql`. A backup of one cannot be restored into the other.
    database: str
    made_at: str
    #: The SHA-256 of the database's snapshot, in hex.
    sha256: str
    #: The number of stored files, and whether files were to be included.
    files: int
    with_files: bool
    #: Whether the key is included. A key from the environment is not.
    with_key: bool
    #: Main table -> its number of rows; empty in backups of older releases.
    rows: Mapping[str, int] = field(default_factory=dict)


def backup(target: Path, *, with_files: bool = True) -> Manifest:
    """Write a backup to the directory `target`, or to a file if the name ends in `.tar`. The server may be running.

    Raises `BackupError`, and `StorageError` if the files cannot be read.
    """
    made_at = to_wire(now())
    with create_archive(target) as archive, _scratch(target.absolute().parent) as snapshot:
        rows = databases.save_snapshot(db.engine, snapshot)
        with snapshot.open("rb") as file, snapshot.with_name(SUMS).open("w+b") as sums:
            digest = _add_summed(archive, sums, DATABASE, file)
            count = _add_files(archive, sums) if with_files else 0
            key = _kept_key()
            if key:
                _add_summed(archive, sums, KEY, BytesIO(key))
            archive.add(SUMS, sums, sums.tell())
        manifest = Manifest(
            format=FORMAT,
            database=database_of(db.engine).name,
            made_at=made_at,
            sha256=digest,
            files=count,
            with_files=with_files,
            with_key=bool(key),
            rows=rows,
        )
        text = orjson.dumps(dataclasses.asdict(manifest), option=orjson.OPT_INDENT_2)
        archive.add(MANIFEST, BytesIO(text), len(text))
    return manifest


def verify(source: Path) -> Manifest:
    """Read a whole backup and look for damage, without restoring it. Raises `BackupError`."""
    with open_archive(source) as archive, _scratch(None) as snapshot:
        manifest = _read_manifest(archive)
        _extract(archive, snapshot, manifest)
        databases.verify_snapshot(manifest.database, snapshot, manifest.rows)
        names = {name for name, _ in archive.sizes()}
        for digest, name in _sums(archive) if SUMS in names else ():
            if name not in names or hashlib.sha256(archive.read(name)).hexdigest() != digest:
                raise BackupError(f"{name} in this backup is missing or damaged. Take another backup.")
    return manifest


def restore(source: Path, *, replace: bool = False) -> Manifest:
    """Restore a backup, and begin a new history: all cursors expire, and no id is given twice.

    The servers must be stopped. With `replace`, the present content of the database is lost. Nothing is changed until
    the backup has been checked. Raises `BackupError`, and `StorageError` if files cannot be written.
    """
    with open_archive(source) as archive, _scratch(None) as snapshot:
        manifest = _read_manifest(archive)
        _check_kind(manifest)
        make_data_dir(current_settings().data_dir)
        _extract(archive, snapshot, manifest)
        db.session.remove()
        if not replace:
            databases.require_empty(db.engine)
        databases.require_alone(db.engine)
        # The files come before the rows that name them. A file without a row is collected later.
        _put_files(archive)
        databases.load_snapshot(db.engine, snapshot)
        databases.begin_new_history(db.engine)
        if manifest.with_key:
            _keep_key(archive.read(KEY))
    return manifest


def begin_new_history() -> None:
    """Begin a new history, as `restore` does, after a recovery by other means. Raises `BackupError`."""
    db.session.remove()
    databases.require_alone(db.engine)
    databases.begin_new_history(db.engine)


@contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    """The path of a temporary snapshot; next to the backup if `parent` is given, where there is room for it."""
    try:
        directory = tempfile.TemporaryDirectory(prefix=".fieldpost-", dir=parent)
    except OSError as error:
        raise BackupError(f"{parent} cannot be written: {error.strerror}. Name another place.") from error
    with directory as path:
        yield Path(path) / DATABASE


def _add_summed(archive: Archive, sums: BinaryIO, name: str, file: BinaryIO) -> str:
    """Add a file, and a line about it to `sums`; returns its SHA-256 in hex."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    archive.add(name, file, file.seek(0, os.SEEK_END))
    sums.write(f"{digest}  {name}\n".encode())
    return digest


def _sums(archive: Archive) -> Iterator[tuple[str, str]]:
    """SHA-256 and name of every file but the manifest. The database has been compared already."""
    for line in archive.read(SUMS).decode().splitlines():
        digest, _, name = line.partition("  ")
        if name != DATABASE:
            yield digest, name


def _add_files(archive: Archive, sums: BinaryIO) -> int:
    storage, count = current_storage(), 0
    for stored in storage.list():
        if stored.is_draft:
            continue
        try:
            data = b"".join(storage.open(stored.key))
        except MissingObjectError:
            # It was collected after the listing, and so no row needs it.
            continue
        _add_summed(archive, sums, FILES + stored.key, BytesIO(data))
        count += 1
    return count


def _put_files(archive: Archive) -> None:
    storage = current_storage()
    present = {stored.key: stored.byte_size for stored in storage.list()}
    for name, size in archive.sizes():
        key = name.removeprefix(FILES)
        # An object never changes, so one of the right size need not be written again.
        if key != name and present.get(key) != size:
            storage.put(key, archive.read(name))


def _kept_key() -> bytes:
    """The key in the data directory; empty if that is not the key in use."""
    settings = current_settings()
    path = settings.data_dir / KEY
    key = path.read_bytes() if path.exists() else b""
    return key if key.strip() == settings.secret_key.encode() else b""


def _keep_key(key: bytes) -> None:
    path = current_settings().data_dir / KEY
    draft = path.with_name(f"{KEY}.restored")
    draft.unlink(missing_ok=True)
    write_private(draft, key)
    draft.replace(path)


def _read_manifest(archive: Archive) -> Manifest:
    try:
        manifest = orjson.loads(archive.read(MANIFEST))
        if manifest["format"] == FORMAT:
            return Manifest(**manifest)
    except (KeyError, TypeError, orjson.JSONDecodeError):
        raise BackupError("This is no whole backup: its manifest is missing or damaged. Take another one.") from None
    raise BackupError(f"This backup has the format {manifest['format']}, of another release. Restore it with that one.")


def _check_kind(manifest: Manifest) -> None:
    kind = database_of(db.engine).name
    if manifest.database != kind:
        raise BackupError(
            f"This backup is of a {manifest.database} database, and DATABASE_URL names a {kind} one. "
            "Set it to one of the former kind."
        )


def _extract(archive: Archive, snapshot: Path, manifest: Manifest) -> None:
    archive.extract(DATABASE, snapshot)
    with snapshot.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest.sha256:
            raise BackupError("The database in this backup is damaged; nothing was changed. Take another backup.")
    keys = [name.removeprefix(FILES) for name, _ in archive.sizes() if name.startswith(FILES)]
    for key in keys:
        if not KEY_OF_OBJECT.fullmatch(key):
            raise BackupError(f"{FILES}{key} in this backup is no stored file; nothing was changed. Take another.")
    count = len(keys)
    if count != manifest.files:
        raise BackupError(f"This backup has {count} of its {manifest.files} files; nothing was changed. Take another.")
