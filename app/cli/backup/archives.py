"""The archive of a backup: a directory or a tar file."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from app.core.private_files import DIRECTORY, FILE, create_private


class BackupError(Exception):
    """A backup cannot be made or restored. The message gives the reason and the cure."""


class Archive(Protocol):
    """A collection of named files, each added once."""

    def add(self, name: str, source: BinaryIO, size: int) -> None:
        """Add `size` bytes of `source`, from its beginning."""

    def read(self, name: str) -> bytes:
        """The bytes of a small file. Raises `KeyError`."""

    def extract(self, name: str, target: Path) -> None:
        """Write a file of the archive to `target`. Raises `KeyError`."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        """The names and sizes of all files."""


@contextmanager
def create_archive(target: Path) -> Iterator[Archive]:
    """A new archive. If anything goes wrong, nothing of it is left. Raises `BackupError`."""
    if target.exists():
        raise BackupError(f"{target} is there already. Name a place that is not, or remove it.")
    draft = target.with_name(f"{target.name}.unfinished")
    if draft.exists():
        raise BackupError(f"{draft} is there: another backup is under way, or one was killed. In that case remove it.")
    try:
        if target.suffix == ".tar":
            with create_private(draft) as file, tarfile.open(fileobj=file, mode="w") as tar:
                yield _Tar(tar)
                tar.close()
                file.flush()
                os.fsync(file.fileno())
        else:
            draft.mkdir(DIRECTORY)
            yield _Directory(draft)
        draft.rename(target)
        _sync(target.absolute().parent)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}. Nothing of it was kept.") from error
    finally:
        _remove(draft)


@contextmanager
def open_archive(source: Path) -> Iterator[Archive]:
    """An existing archive that holds nothing but files, each once. Raises `BackupError`."""
    try:
        if source.is_dir():
            _require_plain_files(source)
            yield _Directory(source)
        else:
            with tarfile.open(source, "r:") as tar:
                _require_plain_members(tar)
                yield _Tar(tar)
    except tarfile.TarError as error:
        raise BackupError(f"{source} is no backup, or a damaged one: {error}.") from error
    except FileNotFoundError as error:
        raise BackupError(f"{error.filename or source} is not there. Name a directory or file of `backup`.") from error


def _require_plain_files(root: Path) -> None:
    """Refuse links, which might lead anywhere, and everything else that `backup` does not write."""
    for place, directories, files in os.walk(root):
        for path in (Path(place, name) for name in (*directories, *files)):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise _strange(path)


def _require_plain_members(tar: tarfile.TarFile) -> None:
    names = set()
    for member in tar.getmembers():
        if member.name in names or not (member.isfile() or member.isdir()):
            raise _strange(member.name)
        names.add(member.name)


def _strange(name: object) -> BackupError:
    return BackupError(
        f"{name} in this backup is a link, no file, or there twice, so `backup` has not written it. "
        "Nothing was changed. Take another backup."
    )


class _Directory:
    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, source: BinaryIO, size: int) -> None:
        path = self._root / name
        path.parent.mkdir(DIRECTORY, parents=True, exist_ok=True)
        source.seek(0)
        with create_private(path) as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())

    def read(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def extract(self, name: str, target: Path) -> None:
        try:
            shutil.copyfile(self._root / name, target)
        except FileNotFoundError:
            raise KeyError(name) from None

    def sizes(self) -> Iterator[tuple[str, int]]:
        for path in sorted(self._root.rglob("*")):
            if path.is_file():
                yield path.relative_to(self._root).as_posix(), path.stat().st_size


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, source: BinaryIO, size: int) -> None:
        source.seek(0)
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, FILE
        self._tar.addfile(member, source)

    def read(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read()

    def extract(self, name: str, target: Path) -> None:
        with self._open(name) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)

    def sizes(self) -> Iterator[tuple[str, int]]:
        for member in self._tar.getmembers():
            if member.isfile():
                yield member.name, member.size

    @cached_property
    def _members(self) -> dict[str, tarfile.TarInfo]:
        """Name -> member: tarfile itself would search the whole list for each."""
        return {member.name: member for member in self._tar.getmembers()}

    def _open(self, name: str) -> BinaryIO:
        file = self._tar.extractfile(self._members[name])
        if file is None:
            raise KeyError(name)
        return file  # type: ignore[return-value]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
