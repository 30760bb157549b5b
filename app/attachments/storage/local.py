"""A storage of files in a directory, for one machine or several that share a file system."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from app.attachments.storage.protocol import KEY, MissingObjectError, Pieces, StoredObject, checked
from app.core.private_files import create_private, hand_over, make_private_directory, write_private
from app.errors import StorageError
from app.http.metrics import storage_errors

PIECE = 256 * 1024

#: The bytes that `check` writes: a disk with room for only a few bytes counts as full.
PROBE = bytes(64 * 1024)


class LocalStorage:
    """Objects as files below `root`: a temporary file, fsync, rename, fsync of the directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable: set[Path] = set()

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. A crash at any moment leaves the whole file or none."""
        with self.draft(key) as draft:
            draft.write(data)
            draft.keep()

    @contextmanager
    def draft(self, key: str) -> Iterator[FileDraft]:
        """A draft of the object. If a crash leaves its file behind, that is listed, and so collected."""
        draft = FileDraft(key, self._path(key), self._make_directory)
        try:
            yield draft
        finally:
            draft.close()

    def open(self, key: str, start: int = 0, end: int | None = None) -> Pieces:
        """The bytes from `start` up to `end`, exclusive. Raises `MissingObjectError`."""
        path = self._path(key)
        with _refusals(f"{key} could not be read"):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise MissingObjectError(f"There is no object {key} in {self.root}.") from None
        return FilePieces(key, file, start, end)

    def delete(self, key: str) -> None:
        """Remove the file, if it is there."""
        with _refusals(f"{key} could not be deleted"):
            self._path(key).unlink(missing_ok=True)

    def list(self) -> Iterator[StoredObject]:
        """All files below the root, temporary ones included, in order of their keys."""
        with _refusals(f"{self.root} could not be listed"):
            directories = sorted(self.root.iterdir()) if self.root.exists() else []
            for directory in directories:
                for path in sorted(directory.iterdir()) if directory.is_dir() else ():
                    yield from _stored_object(path)

    def check(self) -> None:
        """Write a file durably and remove it."""
        with _refusals(f"{self.root} cannot be written"):
            # Named like a draft, so that a file left by a crash is listed and collected like other drafts.
            probe = self._path(f"00/probe.{secrets.token_hex(8)}.tmp")
            self._make_directory(probe.parent)
            with _removed_on_failure(probe):
                write_private(probe, PROBE)
            probe.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / checked(key)

    def _make_directory(self, directory: Path) -> None:
        """Make the directory, and sync its parents; otherwise a power cut would lose it with its content.

        Each process does so once even if the directory exists: the process that made it may not have synced it yet.
        """
        if directory in self._durable and directory.exists():
            return
        made = [path for path in (directory, *directory.parents) if not path.exists()]
        make_private_directory(self.root)
        make_private_directory(directory)
        for path in reversed(made):
            hand_over(path)
        for path in {directory, self.root, *made}:
            if path in made or path not in self._durable:
                _sync_directory(path.parent)
        self._durable |= {directory, self.root}


class FileDraft:
    """A draft: a file beside the one that it becomes, made with its first byte."""

    def __init__(self, key: str, path: Path, make_directory: Callable[[Path], None]) -> None:
        self._path, self._make_directory = path, make_directory
        self._draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        self._file: BinaryIO | None = None
        self._fault = f"{key} could not be stored"

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes at the end."""
        with _refusals(self._fault):
            self._opened().write(piece)

    def content(self) -> bytes:
        """All bytes that have been written."""
        with _refusals(self._fault):
            file = self._opened()
            file.seek(0)
            return file.read()

    def keep(self) -> None:
        """Make it the object, and its name durable after its bytes."""
        with _refusals(self._fault):
            file = self._opened()
            file.flush()
            os.fsync(file.fileno())
            self._draft.rename(self._path)
            with _removed_on_failure(self._path):
                _sync_directory(self._path.parent)

    def close(self) -> None:
        """Close the file, and remove it unless it was kept."""
        if self._file is not None:
            # On a full disk its last bytes cannot be written; nobody needs them then.
            with suppress(OSError):
                self._file.close()
            # What was kept has another name.
            with suppress(OSError):
                self._draft.unlink()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._make_directory(self._path.parent)
            self._file = create_private(self._draft)
        return self._file


class FilePieces:
    """A part of a file, read piece by piece. The file is closed at its end."""

    def __init__(self, key: str, file: BinaryIO, start: int, end: int | None) -> None:
        self._key = key
        self._file = file
        self._left = None if end is None else max(0, end - start)
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._file.closed:
            with _refusals(f"{self._key} could not be read"):
                piece = self._file.read(PIECE if self._left is None else min(PIECE, self._left))
            if piece:
                self._left = None if self._left is None else self._left - len(piece)
                return piece
            self.close()
        raise StopIteration

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        storage_errors.inc()
        raise StorageError(f"{what}: {error.strerror or error}.") from error


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _sync_directory(directory: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stored_object(path: Path) -> Iterator[StoredObject]:
    key = f"{path.parent.name}/{path.name}"
    if not KEY.fullmatch(key):
        # The file is not ours.
        return
    try:
        status = path.stat()
    except FileNotFoundError:
        # The file was renamed or deleted after the directory had been read.
        return
    if not S_ISREG(status.st_mode):
        return
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    yield StoredObject(key=key, byte_size=status.st_size, modified_at=modified_at)
