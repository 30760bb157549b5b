"""The protocol of a storage: six methods for objects under keys.

The server makes the keys, never a client. An object is written once and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from app.errors import StorageError

#: A directory of two characters, a name, and perhaps a suffix. Only keys become paths. The draft of a write that never
#: ended has a key too, so that it can be collected.
KEY = re.compile(r"[a-z0-9]{2}/[a-z0-9-]{1,64}(\.[a-z0-9]{1,8})?(\.[0-9a-f]{16}\.tmp)?", re.ASCII)

#: The end of the name of a draft.
DRAFT = re.compile(r"\.[0-9a-f]{16}\.tmp$")


def checked(key: str) -> str:
    """The given key. Raises `ValueError` if the text is not a key."""
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a storage key.")
    return key


class MissingObjectError(StorageError):
    """There is no object with this key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object in the list of a storage."""

    key: str
    byte_size: int
    #: UTC.
    modified_at: datetime

    @property
    def is_draft(self) -> bool:
        """Whether it is a draft, of which no row tells yet."""
        return DRAFT.search(self.key) is not None


class Pieces(Protocol):
    """The bytes of an object, piece by piece. A caller that does not read them to the end must call `close`."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Release the file or connection. A second call does nothing."""


class Draft(Protocol):
    """An object that is being written, piece by piece. Nobody can read it under its key before it is kept."""

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes at the end."""

    def content(self) -> bytes:
        """All bytes that have been written."""

    def keep(self) -> None:
        """Make it the object under its key, as `put` does; called once, at the end."""


class Storage(Protocol):
    """A storage. `app.attachments.storage.testing.StorageContract` tests what is written here.

    All methods raise `StorageError` if the storage is full, unreachable or not writable.
    """

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. When this returns, the object is whole and durable.

        After a `StorageError` the object is there as a whole or not at all; `list` shows which.
        """

    def draft(self, key: str) -> AbstractContextManager[Draft]:
        """A draft of the object under `key`. Unless it is kept, nothing is left of it after the block."""

    def open(self, key: str, start: int = 0, end: int | None = None) -> Pieces:
        """The bytes from `start` up to `end`, exclusive, in pieces. Raises `MissingObjectError` at once."""

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""

    def list(self) -> Iterator[StoredObject]:
        """All objects, and the drafts of writes that never ended."""

    def check(self) -> None:
        """Raise `StorageError` if nothing can be written at present."""


@runtime_checkable
class LinkingStorage(Storage, Protocol):
    """A storage that clients can read directly, with an address that it has signed."""

    def link(self, key: str, *, content_type: str, disposition: str | None, caching: str) -> str:
        """An address that answers a GET with the object and these headers, for about a minute.

        Does not check whether the object is there.
        """
