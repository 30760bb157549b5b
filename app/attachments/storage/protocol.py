"""What a storage is: five methods, whatever is behind them.

Keys are made by the server, never by a client. An object is written once and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from app.errors import StorageError

#: Two characters of directory, a name, perhaps a suffix: keys are made by us, and nothing else becomes a path.
#: What a write that never ended has left behind has a key too, so that it can be collected.
KEY = re.compile(r"[a-z0-9]{2}/[a-z0-9-]{1,64}(\.[a-z0-9]{1,8})?(\.[0-9a-f]{16}\.tmp)?", re.ASCII)


def checked(key: str) -> str:
    """The key, if it is one. Raises `ValueError`."""
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a storage key.")
    return key


class MissingObjectError(StorageError):
    """There is no object with this key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One object as `Storage.list` finds it."""

    key: str
    byte_size: int
    #: UTC.
    modified_at: datetime


class Pieces(Protocol):
    """The bytes of an object, piece by piece. Whoever does not read them to the end calls `close`."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Let go of the file or connection behind; a second time does nothing."""


class Storage(Protocol):
    """What every storage does; `app.attachments.storage.testing.StorageContract` says it in tests.

    All methods raise `StorageError` when the storage refuses: full, unreachable, not writable.
    """

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`: whole and durable when this returns.

        After a `StorageError` it is there wholly or not at all; where it cannot be known which, `list` tells.
        """

    def open(self, key: str, start: int = 0, end: int | None = None) -> Pieces:
        """The bytes from `start` up to, without, `end`, in pieces. Raises `MissingObjectError` at once."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""

    def list(self) -> Iterator[StoredObject]:
        """All objects, and what writes that never ended have left behind."""

    def check(self) -> None:
        """Raise `StorageError` if nothing can be written now."""


@runtime_checkable
class LinkingStorage(Storage, Protocol):
    """A storage that can be asked directly, by whoever is given an address that it has signed."""

    def link(self, key: str, *, content_type: str, disposition: str | None, caching: str) -> str:
        """An address that answers a GET with the object and these headers, for a minute or so.

        Does not look whether the object is there.
        """
