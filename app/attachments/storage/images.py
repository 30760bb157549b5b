"""Images from strangers: verified by decoding them, within limits on memory and time, and made small."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import ceil

from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.ImageFile import ImageFile

from app.attachments.storage import jpeg, png
from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError
from app.attachments.storage.kinds import refusal
from app.attachments.storage.missing import BAND, check_end, load_small, require_all_before_end_mark, with_end
from app.attachments.storage.turns import LONGEST_WAIT, Turns

THUMBNAIL_SIDE = 1024
THUMBNAIL_QUALITY = 82

#: Modes of pictures with nothing but grey, and of pictures that a profile of each kind is for.
GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
MODES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}
SRGB = ImageCms.createProfile("sRGB")

#: Decoding takes memory, so each process decodes one image at a time (traps 11 and 30).
_decoder = Turns(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """Facts about an image; width and height in pixels as stored, before its orientation is applied."""

    content_type: str
    width: int
    height: int
    #: A sentence for the client about a picture that is kept although something of it may be missing.
    warning: str | None = None


def verify(data: bytes, max_pixels: int, wait: float = LONGEST_WAIT) -> ImageFacts:
    """Decode the image to its end; only its content counts, not its name or declared type (contract, section 4).

    Only the first picture of an MPO is decoded, because editors keep the index of the others and drop the pictures.
    Bytes after the image are ignored, because phones put a video there.
    A JPEG may lack its last bytes as long as every row can be seen; then the facts have a warning.
    Raises `NotAnImageError`, also for a truncated file, `ImageTooLargeError` above `max_pixels`, and `TryAgainError`
    if other images keep the decoder busy for `wait` seconds.
    """
    with _decoder.turn(wait), _faults():
        if data.startswith(jpeg.START):
            return _verify_jpeg(data, max_pixels)
        if data.startswith(png.START):
            return _verify_png(data, max_pixels)
        raise NotAnImageError(refusal(data))


def _verify_jpeg(data: bytes, max_pixels: int) -> ImageFacts:
    facts = jpeg.read_jpeg(data)
    _bound_pixels(facts.width, facts.height, max_pixels)
    warning = None
    if facts.has_end_mark:
        _require_decodable(data, facts)
    else:
        warning = check_end(data, facts)
    return ImageFacts(content_type="image/jpeg", width=facts.width, height=facts.height, warning=warning)


def _require_decodable(data: bytes, facts: jpeg.Jpeg) -> None:
    # Pillow's `verify()` accepts truncated JPEGs; only decoding notices (trap 12).
    with _opened(data, "JPEG") as image:
        if facts.lossless:
            image.load()
            return
        has_trailer = facts.end < len(data)
        is_compared = has_trailer and facts.is_refined and 3 * facts.work <= jpeg.MAX_WORK
        load_small(image, facts, in_grey=not is_compared)
        if is_compared:
            require_all_before_end_mark(data, facts, image)


def _verify_png(data: bytes, max_pixels: int) -> ImageFacts:
    with _opened(png.read_png(data).pixels, "PNG") as image:
        width, height = image.size
        _bound_pixels(width, height, max_pixels)
        image.load()
    return ImageFacts(content_type="image/png", width=width, height=height)


def _bound_pixels(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise ImageTooLargeError(f"It has {width} × {height} pixels, and {limit} are allowed.")


def _opened(data: bytes, form: str) -> ImageFile:
    """The image, not yet decoded. Its readers may be JPEG's, MPO's (trap 12) and PNG's, and no others."""
    return Image.open(BytesIO(data), formats=(form,))


def thumbnail(data: bytes, wait: float = LONGEST_WAIT) -> bytes:
    """A JPEG of a verified image in sRGB, on white, upright, with its longest side at most 1024 pixels.

    It is never larger than the image, and carries no metadata. Raises `NotAnImageError`, `ImageTooLargeError`, and
    `TryAgainError` if other images keep the decoder busy for `wait` seconds.
    """
    with _decoder.turn(wait), _faults(), _for_thumbnail(data) as image:
        image.load()
        small = _reduced(image)
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        small = _in_srgb(small, image.info.get("icc_profile"))
        small.getexif()[ExifTags.Base.Orientation] = _orientation(image)
        ImageOps.exif_transpose(small, in_place=True)
        out = BytesIO()
        small.save(out, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True, exif=b"", icc_profile=None)
    return out.getvalue()


def _for_thumbnail(data: bytes) -> Image.Image:
    """The image, not yet decoded; a JPEG is decoded smaller."""
    if data.startswith(png.START):
        source = png.read_png(data)
        image = _opened(source.pixels, "PNG")
        image.info["icc_profile"] = source.profile
        if source.exif:
            image.info["exif"] = b"Exif\0\0" + source.exif
        return image
    facts = jpeg.read_jpeg(data)
    image = _opened(data if facts.has_end_mark else with_end(data, facts), "JPEG")
    if not facts.lossless:
        scale = THUMBNAIL_SIDE / max(image.size)
        image.draft("RGB", (ceil(image.width * scale), ceil(image.height * scale)))
    return image


def _reduced(image: Image.Image) -> Image.Image:
    """The image on white, reduced by a whole factor to at least twice a thumbnail's size, so that scaling looks good.

    It is made in bands, because a copy of a whole large PNG takes hundreds of megabytes.
    """
    factor = max(1, max(image.size) // (2 * THUMBNAIL_SIDE))
    # The colours of print stay as they are until their profile is applied.
    mode = "CMYK" if image.mode == "CMYK" else "RGB"
    small = Image.new(mode, (ceil(image.width / factor), ceil(image.height / factor)))
    rows = max(1, BAND // (image.width * factor))
    for top in range(0, small.height, rows):
        bottom = min(image.height, (top + rows) * factor)
        band = image.crop((0, top * factor, image.width, bottom))
        small.paste((band if mode == "CMYK" else _on_white(band)).reduce(factor), (0, top))
    return small.convert("L") if image.mode in GREY else small


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


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image as RGB, in sRGB if its colour profile can be read and is for pictures of its kind."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            if MODES.get(source.profile.xcolor_space.strip()) == image.mode:
                return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            # Profiles are often damaged. The picture itself is whole, so it gets a thumbnail.
            pass
    return image.convert("RGB")


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
        raise ImageTooLargeError("It has too many pixels.") from error
    except Exception as error:  # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error, zlib.error …
        # Their texts name libraries and are for programmers.
        reason = "it is truncated." if "truncated" in str(error) else "its data are damaged."
        raise NotAnImageError(reason) from error
