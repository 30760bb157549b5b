"""The places that backups are written to and read from: the machine itself, or a bucket of an object storage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from app.attachments.storage import s3_module
from app.cli.backup import BackupError, Manifest, backup
from app.clock import now
from app.config import current_settings

#: The name of a backup that `--keep` makes, by its time in UTC, and the pattern of these names.
NAME_OF_KEPT = "fieldpost-%Y%m%dT%H%M%SZ.tar"
KEPT = re.compile(r"fieldpost-\d{8}T\d{6}Z\.tar", re.ASCII)


class Place(Protocol):
    """One backup, or with `--keep` a place for several. All methods raise `BackupError`."""

    def make(self, *, with_files: bool, is_kept: bool) -> tuple[str, Manifest]:
        """Make a backup: this one, or with `is_kept` a new one of several. Returns its name."""

    def opened(self) -> AbstractContextManager[Path]:
        """The backup as a directory or file of this machine, as long as the block lasts."""

    def prune(self, keep: int) -> list[str]:
        """Remove all backups that `--keep` has made here, without the newest `keep`. Returns their names."""


def place_named(target: str) -> Place:
    """The place of this name. Raises `BackupError`, and `ConfigurationError` if boto3 is needed and missing."""
    if not target.startswith("s3://"):
        return LocalPlace(Path(target))
    place: Place = s3_module("app.cli.backup.bucket", target).BucketPlace(target, current_settings())
    return place


def superfluous(names: list[str], keep: int) -> list[str]:
    """The names of backups that `--keep` has made, without the newest."""
    return sorted(name for name in names if KEPT.fullmatch(name))[:-keep]


class LocalPlace:
    """A directory or file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, *, with_files: bool, is_kept: bool) -> tuple[str, Manifest]:
        """A backup appears under its name once it is whole."""
        if is_kept and not self._path.is_dir():
            raise BackupError(f"{self._path} is no directory. Make it; with --keep it gets a file for each backup.")
        file = self._path / f"{now():{NAME_OF_KEPT}}" if is_kept else self._path
        return str(file), backup(file, with_files=with_files)

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """As it is."""
        yield self._path

    def prune(self, keep: int) -> list[str]:
        """Other files in the directory stay."""
        paths = [self._path / name for name in superfluous([path.name for path in self._path.iterdir()], keep)]
        for path in paths:
            path.unlink()
        return [str(path) for path in paths]
