"""Real images for tests, made with Pillow."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image


def picture(size: tuple[int, int] = (64, 48), colour: str = "red", mode: str = "RGB") -> Image.Image:
    """A picture with a gradient, so that its bytes are more than a header."""
    image = Image.new(mode, size, colour if mode in ("RGB", "RGBA") else 0)
    gradient = Image.linear_gradient("L").resize(size)
    if mode in ("RGB", "RGBA"):
        image.paste("blue", mask=gradient)
    else:
        image.paste(gradient.convert(mode) if mode != "P" else gradient.quantize(16))
    return image


def encode(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def jpeg(size: tuple[int, int] = (64, 48), colour: str = "red", **options: Any) -> bytes:
    """A JPEG; another colour, other bytes."""
    return encode(picture(size, colour), "JPEG", **options)


def png(size: tuple[int, int] = (64, 48), colour: str = "red") -> bytes:
    """A PNG."""
    return encode(picture(size, colour), "PNG")
