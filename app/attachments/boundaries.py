"""Werkzeug's parser of multiparts, which need not read what is surely no boundary, and finds each that is one."""

from __future__ import annotations

from werkzeug.datastructures import Headers
from werkzeug.sansio.multipart import MultipartDecoder, State

#: White space that a boundary may have before the end of its line (RFC 2046, section 5.1.1), and how much of it is
#: looked for at the end of a piece.
BLANKS, MOST_BLANKS = b" \t\v\f", 128


class Decoder(MultipartDecoder):
    """Werkzeug's parser, with other beginnings of a boundary, and a way past it for the bytes of a file.

    Bytes in a part's head that are no UTF-8 are replaced, because file names are only shown.
    """

    def __init__(self, boundary: bytes, max_form_memory_size: int) -> None:
        super().__init__(boundary, max_form_memory_size)
        self._mark = b"--" + boundary

    @property
    def is_in_content(self) -> bool:
        """Whether the content of a part goes on."""
        return self.state == State.DATA

    def content_alone(self, piece: bytes) -> memoryview | None:
        """More of the part's content, if no boundary is in it; otherwise None, and `receive_data` must have the piece.

        What may begin a boundary at the end of `piece` is kept for the next one.
        """
        data = bytes(self.buffer) + piece
        # Up to two bytes of a line break, and all of the mark but its last byte.
        kept = len(self._mark) + 1
        if len(data) <= kept or self._mark in data:
            return None
        self.buffer[:] = data[-kept:]
        return memoryview(data)[:-kept]

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        return super()._parse_headers(data.decode("utf-8", "replace").encode())

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        """Where the bytes begin, at the end of a piece, that may begin a boundary.

        Werkzeug's own answer is wrong for a piece that ends between the two hyphens of the last boundary, or in white
        space behind one: then a byte of the line break goes to the part (trap 32).
        """
        start = data.rfind(self._mark, max(0, len(data) - len(self._mark) - MOST_BLANKS))
        if start > 0:
            before, behind = data[max(0, start - 2) : start], data[start + len(self._mark) :]
            if before.endswith((b"\r", b"\n")) and (behind == b"-" or not behind.strip(BLANKS)):
                return start - (2 if before == b"\r\n" else 1)
        return super()._last_partial_boundary_index(data)
