"""The body of a request as it arrives. Loads only gunicorn: its master imports this module."""

from __future__ import annotations

from functools import partial

from gunicorn.http.body import Body, LengthReader

#: Bytes of a piece where the whole body is asked for.
PIECE = 256 * 1024


class ArrivingBody(Body):  # type: ignore[misc]
    """A body of known length whose pieces are handed on as they were received. gunicorn copies each byte again."""

    @classmethod
    def instead_of(cls, body: Body) -> Body:
        """The same body, if its length is known and nothing of it has been read."""
        return cls(body.reader) if type(body) is Body and isinstance(body.reader, LengthReader) else body

    def read(self, size: int | None = None) -> bytes:
        """The next bytes that arrive, at most `size`; all of them without a size. None at the end."""
        if size is None or size < 0:
            return b"".join(iter(partial(self.read, PIECE), b""))
        # What a reader of lines has left over.
        if self.buf.tell():
            rest: bytes = super().read(size)
            return rest
        data = self._receive(min(size, self.reader.length))
        # A client that has ended, or was given up, is not waited for again.
        self.reader.length = self.reader.length - len(data) if data else 0
        return data

    def _receive(self, size: int) -> bytes:
        if not size:
            return b""
        unreader = self.reader.unreader
        # The beginning may have come with the head.
        data: bytes = unreader.take_buffered()
        if data:
            unreader.unread(data[size:])
            return data[:size]
        try:
            return bytes(unreader.sock.recv(size))
        except Exception:
            self.failed = True
            raise
