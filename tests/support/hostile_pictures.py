"""Files that are cheap to send and dear to decode, made with Pillow and bytes: a corpus for the tests.

No file of anybody else is in it. Each maker returns the bytes of one file of at most 10 MiB.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageCms

from tests.support.pictures import encode, jpeg, picture, png

START, END = b"\xff\xd8", b"\xff\xd9"
SCAN = b"\xff\xda"
#: The restart marker between the first two rows of blocks.
RESTART = b"\xff\xd0"
PNG_START = b"\x89PNG\r\n\x1a\n"

#: The start of frame of a progressive JPEG: with Huffman codes, and arithmetic-coded.
PROGRESSIVE, ARITHMETIC = 0xC2, 0xCA


def segment(code: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, code]) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(size: tuple[int, int], rows: bytes, *more: bytes, depth: int = 8, colour: int = 2, adam7: int = 0) -> bytes:
    """A PNG with this header, further chunks, and the compressed `rows`."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, adam7))
    return PNG_START + header + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """`size` compressed zeros: one compressed mebibyte of them again and again. The coder begins anew after each."""
    count, rest = divmod(size, 2**20)
    coder = zlib.compressobj(6, wbits=-15)
    piece = coder.compress(bytes(2**20)) + coder.flush(zlib.Z_FULL_FLUSH)
    end = coder.compress(bytes(rest)) + coder.flush()
    # The head of a zlib stream (RFC 1950), and the checksum that so many zeros have.
    return b"\x78\x9c" + piece * count + end + struct.pack(">HH", size % 65_521, 1)


def frame(code: int, size: tuple[int, int], *, components: int = 1, precision: int = 8) -> bytes:
    """A start of frame without subsampling."""
    width, height = size
    sampling = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return segment(code, struct.pack(">BHHB", precision, height, width, components) + sampling)


def scan(components: int, spectrum: tuple[int, int], bits: int, data: bytes) -> bytes:
    """A scan over the first `components` components."""
    selectors = b"".join(bytes([number + 1, 0]) for number in range(components))
    return segment(0xDA, bytes([components]) + selectors + bytes([*spectrum, bits])) + data


TABLE = segment(0xDB, bytes([0]) + bytes([1]) * 64)
#: Huffman tables in which every code is one zero bit, and stands for nothing at all (DC: no difference, AC: end).
CODES = b"".join(segment(0xC4, bytes([kind, 1]) + bytes(15) + b"\0") for kind in (0x00, 0x10))


def scans(code: int, size: tuple[int, int], refinements: int, *, components: int = 1, data: bytes = bytes(8)) -> bytes:
    """A progressive JPEG that refines its first colour again and again, in a few bytes a scan."""
    refined = scan(1, (1, 63), 0x10, data) * refinements
    first = scan(components, (0, 0), 1, data) + scan(1, (1, 63), 1, data)
    return START + TABLE + frame(code, size, components=components) + CODES + first + refined + END


def arithmetic(code: int = ARITHMETIC, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small arithmetic-coded JPEG."""
    return START + TABLE + frame(code, size) + scan(1, (0, 0 if code == ARITHMETIC else 63), 0, bytes(8)) + END


def of_one_colour(size: tuple[int, int], mode: str, **options: Any) -> bytes:
    """A JPEG as Pillow would make it, with a restart marker after each row of blocks.

    Pillow makes two rows. The second, which no longer depends on the first, comes again to the height of the picture.
    """
    width, height = size
    two = encode(Image.new(mode, (width, 16)), subsampling=0, restart_marker_rows=1, **options)
    head, *rows = two.replace(struct.pack(">HH", 16, width), struct.pack(">HH", height, width), 1).split(RESTART)
    for row in rows:
        end = next(re.finditer(rb"\xff[^\x00]", row)).start()
        markers = (bytes([0xFF, 0xD0 + number % 8]) for number in range((height - 1) // 8))
        head += b"".join(marker + row[:end] for marker in markers) + row[end:]
    return head


def dense_scans(size: tuple[int, int], mode: str, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = of_one_colour(size, mode, quality=95, progressive=True)
    last = whole[whole.rindex(SCAN) : -2]
    return whole[:-2] + (count - whole.count(SCAN)) * last + END


def srgb_profile() -> bytes:
    """A colour profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_profile(profile: bytes) -> bytes:
    """A PNG with a compressed profile of any size."""
    return png_of((64, 48), zeros(64 * 48 * 3 + 48), chunk(b"iCCP", b"p\0\0" + profile))


def large_png(depth: int, colour: int, adam7: int) -> bytes:
    """A PNG of 49 megapixels."""
    samples = {0: 1, 2: 3, 6: 4}[colour]
    side = 7000
    return png_of(
        (side, side), zeros(side * (side * samples * depth // 8 + 8)), depth=depth, colour=colour, adam7=adam7
    )


#: Makers by name.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "arithmetic, 98 scans of 49 megapixels": lambda: scans(ARITHMETIC, (7000, 7000), 96, data=bytes(500)),
    "arithmetic, 99 empty scans": lambda: scans(ARITHMETIC, (7000, 7000), 97, data=b""),
    "Huffman, 100 scans of 49 megapixels": lambda: scans(PROGRESSIVE, (7000, 7000), 98),
    "Huffman, 30 scans of 49 megapixels": lambda: scans(PROGRESSIVE, (7000, 7000), 28),
    "Huffman, 100 scans of 14 megapixels": lambda: scans(PROGRESSIVE, (3700, 3700), 98),
    "CMYK, 99 scans of 49 megapixels": lambda: dense_scans((7000, 7000), "CMYK", 99),
    "RGB, 99 scans of 49 megapixels": lambda: dense_scans((7000, 7000), "RGB", 99),
    "RGB, 10 scans of 44 megapixels": lambda: dense_scans((6650, 6650), "RGB", 10),
    "RGB, 10 scans of 30 megapixels": lambda: dense_scans((5500, 5500), "RGB", 10),
    "CMYK, 14 scans of 24 megapixels": lambda: dense_scans((4900, 4900), "CMYK", 14),
    "RGB, 60 scans of 16 megapixels": lambda: dense_scans((4000, 4000), "RGB", 60),
    "baseline of 49 megapixels": lambda: of_one_colour((7000, 7000), "RGB"),
    "baseline of 49 megapixels without its end": lambda: of_one_colour((7000, 7000), "RGB")[:-2],
    "progressive of 18 megapixels without its end": lambda: dense_scans((4200, 4200), "RGB", 10)[:-2],
    "scans without their end": lambda: dense_scans((3700, 3700), "RGB", 99)[:-2],
    "one pixel wide": lambda: png_of((1, 49_000_000), zeros(49_000_000 * 4)),
    "one pixel high": lambda: png_of((49_000_000, 1), zeros(49_000_000 * 3 + 1)),
    "65 535 high": lambda: png_of((760, 65_535), zeros(65_535 * (760 * 3 + 1))),
    "65 535 wide": lambda: png_of((65_535, 760), zeros(760 * (65_535 * 3 + 1))),
    "50 000 square": lambda: png_of((50_000, 50_000), zeros(10**8)),
    "2³¹ − 1 square": lambda: png_of((2**31 - 1, 2**31 - 1), zeros(10**6)),
    "JPEG of 65 500 square": lambda: START + TABLE + frame(0xC0, (65_500, 65_500), components=3) + CODES + END,
    "16 bits, four channels": lambda: large_png(16, 6, 0),
    "interlaced": lambda: large_png(8, 6, 1),
    "interlaced, 16 bits": lambda: large_png(16, 6, 1),
    "grey of 16 bits": lambda: large_png(16, 0, 0),
    "text of 128 MiB": lambda: png_of((64, 48), zeros(10**4), chunk(b"zTXt", b"a\0\0" + zeros(2**27))),
    "international text of 128 MiB": lambda: png_of(
        (64, 48), zeros(10**4), chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(2**27))
    ),
    "profile of 128 MiB": lambda: with_profile(zeros(2**27)),
    "profile that is none": lambda: with_profile(zlib.compress(bytes(range(256)) * 64)),
    "profile that says 4 GB": lambda: with_profile(zlib.compress(b"\xff" * 128 + b"\0\xff\xff\xff" * 999)),
    "pixels of 256 MiB for ten": lambda: png_of((10, 10), zeros(2**28)),
    "ten thousand pieces of nothing": lambda: png()[:-12] + chunk(b"IDAT", b"") * 700_000 + png()[-12:],
    "texts without number": lambda: png()[:33] + chunk(b"tEXt", b"a\0b") * 600_000 + png()[33:],
    "comments without number": lambda: jpeg()[:2] + segment(0xFE, b"") * 2_400_000 + jpeg()[2:],
    "fill without end": lambda: jpeg()[:2] + b"\xff" * 9_000_000 + jpeg()[2:],
    "markers without end": lambda: jpeg()[:-2] + b"\xff\xd0" * 4_500_000,
    "truncated JPEG": lambda: jpeg((3000, 2000))[:-3000],
    "truncated PNG": lambda: png((3000, 2000))[:-3000],
    "PNG of 49 megapixels without its pixels": lambda: png_of((7000, 7000), zeros(100)),
    "a profile of print": lambda: encode(picture((4000, 3000)).convert("CMYK"), icc_profile=srgb_profile()),
}
