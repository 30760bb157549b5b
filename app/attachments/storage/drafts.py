"""Drafts for a storage that takes an object as a whole: in temporary files of this node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from tempfile import SpooledTemporaryFile

from app.errors import StorageError

#: Bytes of a draft that are held in memory, and the rest in a file.
IN_MEMORY = 64 * 1024


class TemporaryDraft:
    """A draft that `put` puts into its storage when it is kept."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (`close` closes it)

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes at the end."""
        with _refusals():
            self._file.write(piece)

    def content(self) -> bytes:
        """All bytes that have been written."""
        with _refusals():
            self._file.seek(0)
            return self._file.read()

    def keep(self) -> None:
        """Put the content into the storage."""
        self._put(self.content())

    def close(self) -> None:
        """Let the file go. On a full disk its last bytes cannot be written; nobody needs them then."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"An upload could not be written to a temporary file: {error.strerror or error}.") from error
