"""Photos to measure with: as large as those of phones, made of noise so that they take as long to decode."""

from __future__ import annotations

import secrets
from io import BytesIO
from typing import Any

from PIL import Image

MEGABYTE = 1_000_000
MIB = 2**20


def size_of(pixels: int) -> tuple[int, int]:
    """Width and height of a phone's picture with about so many pixels: 4 to 3."""
    width = round((pixels * 4 / 3) ** 0.5)
    return width, width * 3 // 4


def jpeg(size: tuple[int, int], most: int, **options: Any) -> bytes:
    """A JPEG of this size in the highest quality that takes no more than `most` bytes."""
    image, least, greatest = _scene(size), 1, 97
    found = b""
    while least <= greatest:
        quality = (least + greatest) // 2
        data = _encoded(image, "JPEG", quality=quality, **options)
        if len(data) > most:
            greatest = quality - 1
        else:
            found, least = data, quality + 1
    return found


def png(size: tuple[int, int], most: int) -> bytes:
    """A PNG of this size; of few colours, so that it takes no more than `most` bytes."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    data = _encoded(image, "PNG", compress_level=1)
    if len(data) > most:
        raise RuntimeError(f"The PNG has {len(data)} bytes")
    return data


def distinct(photo: bytes) -> bytes:
    """The same photo as another file: a JPEG gets a comment of its own, and a PNG bytes that do not belong to it."""
    if not photo.startswith(b"\xff\xd8"):
        return photo + secrets.token_bytes(8)
    comment = secrets.token_hex(8).encode()
    # Joined at once: a client that copies its photos several times would take its time from the server.
    return b"".join([photo[:2], b"\xff\xfe", (2 + len(comment)).to_bytes(2, "big"), comment, memoryview(photo)[2:]])


def _scene(size: tuple[int, int]) -> Image.Image:
    """A smooth picture with the noise of a sensor."""
    gradient = Image.linear_gradient("L").resize(size)
    noise = Image.effect_noise(size, 24)
    return Image.merge("RGB", (Image.blend(gradient, noise, 0.5), noise, Image.blend(gradient, noise, 0.3)))


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()
