"""Files and directories that only their owner may read. Everything that a server keeps is somebody's data, or a key."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE
from typing import BinaryIO

#: The permissions of a directory and of a file.
DIRECTORY, FILE = 0o700, 0o600

#: The permissions of everybody except the owner.
OTHERS = 0o077


def create_private(path: Path) -> BinaryIO:
    """A new file, open for writing, and for reading what was written. Raises `FileExistsError`."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE), "w+b")


def write_private(path: Path, data: bytes) -> None:
    """Write a new file, durably. Raises `FileExistsError`, and after any error leaves what it has written."""
    with create_private(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_private_directory(path: Path) -> None:
    """Make the directory if it is not there. Directories that it stands in are made for everybody."""
    path.mkdir(DIRECTORY, parents=True, exist_ok=True)


def hand_over(path: Path) -> None:
    """Give what root has made to the owner of the directory that it stands in; without it a server could not go on.

    SQLite does the same with the log beside its file. Of a link it gives the link away, and not what that leads to.
    """
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def create_before_sqlite(path: Path) -> None:
    """Make an empty file for SQLite if there is none: it would make one that everybody may read.

    SQLite gives its log beside the file the same permissions.
    A file that is there is not opened, because closing it would end the locks that this process has on it.
    SQLite itself tells why a file cannot be made.
    """
    with suppress(OSError):
        create_private(path).close()


def is_open_to_others(path: Path) -> bool:
    """Whether other users of the machine have any rights on it. False if it is not there, or out of reach."""
    try:
        return bool(S_IMODE(path.stat().st_mode) & OTHERS)
    except OSError:
        return False


def close_to_others(path: Path) -> None:
    """Take all rights of other users away. Raises `OSError`, if it is somebody else's."""
    path.chmod(S_IMODE(path.stat().st_mode) & ~OTHERS)
