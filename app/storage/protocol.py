"""What a storage is: five methods, whatever is behind them.

Keys are made by the server, never by a client. An object is written once and never changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.errors import StorageError


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
    """What every storage does; `app.storage.testing.StorageContract` says it in tests.

    All methods raise `StorageError` when the storage refuses: full, unreachable, not writable.
    """

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`: whole and durable when this returns, or not at all."""

    def open(self, key: str, start: int = 0, end: int | None = None) -> Pieces:
        """The bytes from `start` up to, without, `end`, in pieces. Raises `MissingObjectError` at once."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""

    def list(self) -> Iterator[StoredObject]:
        """All objects, and what writes that never ended have left behind."""

    def check(self) -> None:
        """Raise `StorageError` if nothing can be written now."""
