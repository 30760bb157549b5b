"""Images from strangers: verified by decoding them, within bounds on memory and time, and made small."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from threading import Lock

from PIL import Image, ImageOps, UnidentifiedImageError

#: Phone photos come as MPO: a JPEG with more pictures behind it (trap 12).
CONTENT_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png"}

#: A progressive JPEG needs a dozen scans; one with thousands takes many seconds (trap 11).
MAX_SCANS = 100
START_OF_SCAN = b"\xff\xda"

THUMBNAIL_SIDE = 1024
THUMBNAIL_QUALITY = 82

#: Decoding takes memory: one image at a time in each process (traps 11 and 30).
_decoding = Lock()


class NotAnImageError(Exception):
    """Not a JPEG or PNG, or not a whole one. The text says why, for the client."""


class ImageTooLargeError(Exception):
    """More pixels than allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """What an image is; width and height in pixels as stored, without its orientation."""

    content_type: str
    width: int
    height: int


def verify(data: bytes, max_pixels: int) -> ImageFacts:
    """Decode the image to its end. Raises `NotAnImageError`, `ImageTooLargeError`."""
    with _decoding, _faults(), Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageTooLargeError(f"{width} × {height} pixels")
        content_type = CONTENT_TYPES[image.format or ""]
        if content_type == "image/jpeg":
            _bound_scans(data)
            # At 1/8 scale the decoder reads everything and refuses what is cut off, in a few megabytes (trap 30).
            image.draft(None, (max(1, width // 8), max(1, height // 8)))
        # `verify()` passes truncated files; only decoding sees it.
        image.load()
    return ImageFacts(content_type=content_type, width=width, height=height)


def thumbnail(data: bytes) -> bytes:
    """A JPEG of a verified image, its longest side at most 1024 pixels, its orientation applied, on white."""
    with _decoding, _faults(), Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.format != "PNG":
            # Twice the size is decoded: from there the reduction looks good.
            image.draft("RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
        image.load()
        small = _on_white(image)
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        small = ImageOps.exif_transpose(small)
        out = BytesIO()
        small.save(out, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True, exif=b"")
    return out.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    """The image as RGB, its Exif kept for the orientation; what is transparent becomes white."""
    exif = image.getexif()
    if image.mode.startswith("I"):
        # 16 bits of grey: a plain conversion would clip them to white.
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", layer.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
    else:
        flat = image.convert("RGB")
    flat.info["exif"] = exif.tobytes()
    return flat


def _bound_scans(data: bytes) -> None:
    if data.count(START_OF_SCAN) > MAX_SCANS:
        raise NotAnImageError(f"it has more than {MAX_SCANS} scans.")


@contextmanager
def _faults() -> Iterator[None]:
    """Whatever Pillow raises about the data becomes `NotAnImageError`; its warnings count as errors."""
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
