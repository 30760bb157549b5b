"""The structure of a PNG, read before it is decoded: its size, and its pixels without anything else (RFC 2083)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError

START = b"\x89PNG\r\n\x1a\n"

#: Chunks that hold pixels. There are some thousands at most; millions of empty ones would take Pillow seconds.
MAX_CHUNKS = 10_000
#: Pixels of a side. The decoder keeps a pointer for each row, which takes several times as much as one pixel.
MAX_SIDE = 65_535

#: Chunks without which there are no pixels, in the right order of the standard; tRNS says which are transparent.
PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
#: Chunks of use for a thumbnail: orientation and colours. A profile is taken up to this size.
EXIF, PROFILE = b"eXIf", b"iCCP"
MAX_EXIF, MAX_PROFILE = 2**16, 2**22


@dataclass(frozen=True, kw_only=True, slots=True)
class Png:
    """A PNG that holds its pixels and nothing else."""

    pixels: bytes
    exif: bytes
    profile: bytes


def read_png(data: bytes) -> Png:
    """The PNG without its ancillary chunks, which are not read, because they may be damaged or expand without end.

    Raises `NotAnImageError`, also where the last chunk is missing, and `ImageTooLargeError` for a side that is too
    long.
    """
    kept, exif, profile, count = [START], b"", b"", 0
    for kind, start, end in chunks_of(data):
        if kind == b"IHDR":
            _bound_sides(data[start + 8 : end])
        if kind in PIXELS:
            count += 1
            kept.append(data[start:end])
        elif kind[:1].isupper():
            raise NotAnImageError("its data are damaged.")
        elif kind == EXIF and end - start <= MAX_EXIF:
            exif = data[start + 8 : end - 4]
        elif kind == PROFILE and end - start <= MAX_PROFILE:
            profile = _profile(data[start + 8 : end - 4])
        if count > MAX_CHUNKS:
            raise NotAnImageError(f"it has more than {MAX_CHUNKS} chunks of pixels.")
        if kind == b"IEND":
            return Png(pixels=b"".join(kept), exif=exif, profile=profile)
    raise NotAnImageError("it is truncated.")


def chunks_of(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each whole chunk. Length, kind and checksum take 12 bytes."""
    position = len(START)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            return
        yield kind, position, end
        position = end


def _bound_sides(header: bytes) -> None:
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    if max(width, height) > MAX_SIDE:
        raise ImageTooLargeError(f"It has {width} × {height} pixels, and each side may have {MAX_SIDE}.")


def _profile(body: bytes) -> bytes:
    """The colour profile, or nothing if it is damaged or too large."""
    _, _, compressed = body.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(compressed[1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""
