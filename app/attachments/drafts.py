"""Images on their way into the storage: written and hashed as they arrive, and kept once they are verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from uuid import uuid4

from app.attachments.storage import Draft, current_storage


class ImageDraft:
    """The bytes of an image, which is nobody's yet."""

    def __init__(self, storage_key: str, draft: Draft) -> None:
        self.storage_key = storage_key
        self.byte_size = 0
        self._draft = draft
        self._digest = hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes at the end. Raises `StorageError`."""
        self._draft.write(piece)
        self._digest.update(piece)
        self.byte_size += len(piece)

    def content(self) -> bytes:
        """All bytes that have been written. Raises `StorageError`."""
        return self._draft.content()

    def keep(self) -> None:
        """Make it an object of the storage, durable and under its key. Raises `StorageError`."""
        self._draft.keep()

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of all bytes, in hexadecimal digits."""
        return self._digest.hexdigest()


@contextmanager
def image_draft() -> Iterator[ImageDraft]:
    """A draft under a new key. Unless it is kept, nothing is left of it after the block."""
    key = new_key()
    with current_storage().draft(key) as draft:
        yield ImageDraft(key, draft)


def new_key(suffix: str = "") -> str:
    """The key of a new object in the storage."""
    name = str(uuid4())
    return f"{name[:2]}/{name}{suffix}"
