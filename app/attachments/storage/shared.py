"""A picture as others than its uploader get it: without its location and its other metadata, its pixels as they are.

What stays is named here, and everything else goes, because a location stands in many places: Exif, XMP, makers' notes,
a second picture or a video behind the first. What stays is a picture's data and colours, its orientation, and the time
at which it was taken. No pixel is decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TypeAlias

from PIL import ExifTags, Image

from app.attachments.storage import jpeg, png
from app.attachments.storage.faults import NotAnImageError

#: A part of the picture: bytes, or the first byte and the end of a part of the original.
Part: TypeAlias = bytes | tuple[int, int]

#: Codes of the segments of a JPEG that belong to applications or are comments.
APPLICATIONS = {0xFE, *range(0xE0, 0xF0)}
#: How those of them begin that say how pixels become colours.
COLOURS = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
EXIF_CODE, EXIF_START = 0xE1, b"Exif\0\0"

#: The chunks of a PNG that say how pixels become colours, beside those of its pixels.
PNG_COLOURS = {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"cICP", b"mDCV", b"cLLI"}

#: The Exif values that stay: those of the picture, and those of the directory with the time.
OF_PICTURE = (ExifTags.Base.Orientation,)
OF_TIME = (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal, ExifTags.Base.SubsecTimeOriginal)


def shared_parts(data: bytes) -> list[Part]:
    """The parts of a verified image that others get, in order. Raises `NotAnImageError`, `ImageTooLargeError`."""
    if data.startswith(jpeg.START):
        return _joined(_parts_of_jpeg(data))
    if data.startswith(png.START):
        return _joined(_parts_of_png(data))
    raise NotAnImageError("its data are damaged.")


def _parts_of_jpeg(data: bytes) -> Iterator[Part]:
    """All up to the end of the first picture but the applications' segments and comments."""
    end, kept_to, has_exif = jpeg.read_jpeg(data).end, 0, False
    for code, start, body in jpeg.segments_of(data):
        if start >= end:
            break
        content = data[body + 2 : body + jpeg.length_at(data, body)]
        if code not in APPLICATIONS or (code in COLOURS and content.startswith(COLOURS[code])):
            continue
        yield kept_to, start
        kept_to = min(body + jpeg.length_at(data, body), end)
        if code == EXIF_CODE and content.startswith(EXIF_START) and not has_exif:
            exif = EXIF_START + _kept_exif(content.removeprefix(EXIF_START))
            has_exif = True
            yield struct.pack(">BBH", 0xFF, EXIF_CODE, len(exif) + 2) + exif
    yield kept_to, end


def _parts_of_png(data: bytes) -> Iterator[Part]:
    """The chunks of pixels and colours, and an Exif chunk anew."""
    yield 0, len(png.START)
    has_exif = False
    for kind, start, end in png.chunks_of(data):
        if kind in png.PIXELS or kind in PNG_COLOURS:
            yield start, end
        elif kind == png.EXIF and end - start <= png.MAX_EXIF and not has_exif:
            exif = png.EXIF + _kept_exif(data[start + 8 : end - 4])
            has_exif = True
            yield struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
        if kind == b"IEND":
            return


def _kept_exif(tiff: bytes) -> bytes:
    """Exif data with nothing but the values that stay; if they are damaged, without any."""
    kept = Image.Exif()
    try:
        exif = Image.Exif()
        exif.load(EXIF_START + tiff)
        times = exif.get_ifd(ExifTags.IFD.Exif)
        kept.update({tag: exif[tag] for tag in OF_PICTURE if isinstance(exif.get(tag), int)})
        kept[ExifTags.IFD.Exif] = {tag: times[tag] for tag in OF_TIME if isinstance(times.get(tag), str)}
        return kept.tobytes().removeprefix(EXIF_START)
    except Exception:  # Pillow may raise anything here; the picture itself is whole.
        return Image.Exif().tobytes().removeprefix(EXIF_START)


def _joined(parts: Iterator[Part]) -> list[Part]:
    """The parts with neighbours of the original as one, and without empty ones."""
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined else b""
        if isinstance(part, tuple) and part[0] == part[1]:
            continue
        if isinstance(part, tuple) and isinstance(before, tuple) and before[1] == part[0]:
            joined[-1] = (before[0], part[1])
        else:
            joined.append(part)
    return joined


def size_of(parts: list[Part]) -> int:
    """The bytes of all parts together."""
    return sum(_length(part) for part in parts)


def cut(parts: list[Part], start: int, end: int | None) -> list[Part]:
    """The parts of the bytes from `start` up to `end`, exclusive."""
    kept: list[Part] = []
    position = 0
    for part in parts:
        length = _length(part)
        first, last = max(0, start - position), length if end is None else min(length, end - position)
        if first < last:
            kept.append(part[first:last] if isinstance(part, bytes) else (part[0] + first, part[0] + last))
        position += length
    return kept


def _length(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]
