"""Images from strangers: verified by decoding them, within limits on memory and time, and made small."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from threading import Lock

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

#: Phone photos come as MPO: a JPEG followed by more pictures (trap 12).
CONTENT_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png"}

#: A progressive JPEG has about a dozen scans; thousands of them would take many seconds (trap 11).
MAX_SCANS = 100
#: Segments of a JPEG, chunks of a PNG. A real image has some thousands at most; millions of empty ones would keep
#: Pillow busy for seconds.
MAX_SEGMENTS = 10_000

JPEG_START = b"\xff\xd8\xff"
#: A marker that begins a segment: not a stuffed or a fill byte, and no marker that stands alone.
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd8])", re.DOTALL)
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"

PNG_START, END_OF_PNG = b"\x89PNG\r\n\x1a\n", b"IEND"
#: Length, kind and checksum of a chunk, in bytes.
CHUNK_FRAME = 12

THUMBNAIL_SIDE = 1024
THUMBNAIL_QUALITY = 82

#: Rows of the reduced picture that are made at a time.
BAND = 64

#: Decoding takes memory, so each process decodes one image at a time (traps 11 and 30).
_decoding = Lock()


class NotAnImageError(Exception):
    """Not a whole JPEG or PNG. The message gives the client the reason."""


class ImageTooLargeError(Exception):
    """More pixels than allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """Facts about an image; width and height in pixels as stored, before its orientation is applied."""

    content_type: str
    width: int
    height: int


def verify(data: bytes, max_pixels: int) -> ImageFacts:
    """Decode the image to its end; only its content counts, not its name or declared type (contract, section 4).

    Only the first picture of an MPO is decoded, because editors keep the index of the others and drop the pictures.
    Bytes after the image are ignored, because phones put a video there.
    Raises `NotAnImageError`, also for a truncated file, and `ImageTooLargeError` above `max_pixels`.
    """
    with _decoding, _faults():
        if data.startswith(JPEG_START):
            _bound_segments(data)
        elif data.startswith(PNG_START):
            _bound_chunks(data)
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageTooLargeError(f"{width} × {height} pixels")
            content_type = CONTENT_TYPES[image.format or ""]
            if content_type == "image/jpeg":
                # At 1/8 scale the decoder still reads everything and refuses a truncated file, but takes only a few
                # megabytes (trap 30).
                image.draft(None, (max(1, width // 8), max(1, height // 8)))
            # Pillow's `verify()` accepts truncated JPEGs; only decoding notices (trap 12).
            image.load()
    return ImageFacts(content_type=content_type, width=width, height=height)


def thumbnail(data: bytes) -> bytes:
    """A JPEG of a verified image, on white, with its orientation applied and its longest side at most 1024 pixels.

    It is never larger than the image, and carries no metadata. Raises `NotAnImageError`.
    """
    with _decoding, _faults(), Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.format != "PNG":
            scale = THUMBNAIL_SIDE / max(image.size)
            image.draft("RGB", (ceil(image.width * scale), ceil(image.height * scale)))
        image.load()
        small = _reduced(image)
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        small.getexif()[ExifTags.Base.Orientation] = _orientation(image)
        ImageOps.exif_transpose(small, in_place=True)
        out = BytesIO()
        small.save(out, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True, exif=b"")
    return out.getvalue()


def _reduced(image: Image.Image) -> Image.Image:
    """The image on white, reduced by a whole factor to at least twice a thumbnail's size, so that scaling looks good.

    It is made in bands, because a copy of a whole large PNG takes hundreds of megabytes.
    """
    factor = max(1, max(image.size) // (2 * THUMBNAIL_SIDE))
    small = Image.new("RGB", (ceil(image.width / factor), ceil(image.height / factor)))
    for top in range(0, small.height, BAND):
        bottom = min(image.height, (top + BAND) * factor)
        band = image.crop((0, top * factor, image.width, bottom))
        small.paste(_on_white(band).reduce(factor), (0, top))
    return small


def _orientation(image: Image.Image) -> int:
    """The Exif orientation, 1 to 8; 1 (upright) if the Exif data are damaged or have another value."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow may raise anything here; the picture itself is whole, so it gets a thumbnail.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _on_white(image: Image.Image) -> Image.Image:
    """The image as RGB; transparent parts become white."""
    if image.mode.startswith("I"):
        # 16 bits of grey: a plain conversion would clip them to white.
        image = image.point(lambda value: value / 256).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    flat = Image.new("RGB", layer.size, "white")
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


def _bound_segments(data: bytes) -> None:
    """Refuse a JPEG that would take long to decode, before it is decoded (trap 11), or that is truncated.

    Walks over the segments as libjpeg does, up to the end of the image; their content may be any bytes.
    """
    scans = segments = position = 0
    while segments <= MAX_SEGMENTS:
        marker = MARKER.search(data, position)
        if marker is None:
            raise NotAnImageError("it is truncated.")
        if marker[1] == END_OF_IMAGE:
            return
        # Before the first scan libjpeg reads the bytes in gaps one by one, as if each were a segment.
        segments += 1 if scans else 1 + marker.start() - position
        scans += marker[1] == START_OF_SCAN
        if scans > MAX_SCANS:
            raise NotAnImageError(f"it has more than {MAX_SCANS} scans.")
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise NotAnImageError(f"it has more than {MAX_SEGMENTS} segments.")


def _bound_chunks(data: bytes) -> None:
    """Refuse a PNG with very many chunks, or without its end, which decoding does not reach."""
    position = len(PNG_START)
    for _ in range(MAX_SEGMENTS):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        position += CHUNK_FRAME + length
        if position > len(data):
            raise NotAnImageError("it is truncated.")
        if kind == END_OF_PNG:
            return
    raise NotAnImageError(f"it has more than {MAX_SEGMENTS} chunks.")


@contextmanager
def _faults() -> Iterator[None]:
    """Turn all exceptions of Pillow about the data into `NotAnImageError`; its warnings count as errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (NotAnImageError, ImageTooLargeError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(str(error)) from error
    except Exception as error:  # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error, zlib.error …
        reason = "it is of another kind" if isinstance(error, UnidentifiedImageError) else str(error)
        raise NotAnImageError(f"{reason or type(error).__name__}.") from error
