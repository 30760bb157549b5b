"""The end of a JPEG that may lack something. A decoder fills what is missing without a word.

So the image is decoded with several fillers in place of its end mark: what differs is missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from PIL import Image
from PIL.ImageFile import ImageFile

from app.attachments.storage import jpeg
from app.attachments.storage.faults import NotAnImageError

#: Pixels of the image that are copied at a time.
BAND = 2**20

#: More bytes of a filler than the blocks of one unit take, some of which may lie outside of the picture.
FILLER_BYTES = 512
#: Bytes that may stand in place of missing ones, with all restart markers: a picture that lacks nothing looks the same
#: with each of them.
TAILS = [
    b"".join(bytes([filler]) * FILLER_BYTES + bytes([0xFF, 0xD0 + number]) for number in range(8))
    for filler in (0x00, 0x55, 0xAA)
]

#: How many of the zeros at the end of a file may belong to the image.
MOST_LAST_ZEROS = 2
#: Without this many of its last bytes, a JPEG that ends where its data end looks different.
LAST_BYTES = 16
#: Rows above the lowest blocks whose colours the decoder smooths with theirs.
SMOOTHED_ROWS = 2

END_IS_MISSING = "The end of the file is missing, and with it a part of the lowest row of blocks. The rest was stored."
OTHER_DATA = "The file has no end mark, and other data follow. If the lower part looks wrong, send the photo again."


class _Looks(NamedTuple):
    """Checksums of a decoded image."""

    #: All of it but the right half of the lowest row of blocks.
    most: int
    #: That half.
    corner: int


def check_end(data: bytes, facts: jpeg.Jpeg) -> str | None:
    """A warning for the client if a JPEG without its end mark can be kept, but lacks more than that.

    It may lack the right half of its lowest row of blocks, so that every row of pixels can be seen. Raises
    `NotAnImageError` if more is missing.
    """
    can_tell = facts.whole_bytes <= jpeg.MAX_KEPT and 2 * len(TAILS) * facts.work <= jpeg.MAX_WORK
    if not can_tell or facts.lossless or not facts.is_refined:
        raise NotAnImageError("it is truncated.")
    whole = _picture(data, facts)
    first, *others = (_looks(whole + tail, facts) for tail in TAILS)
    if any(looks.most != first.most for looks in others):
        raise NotAnImageError("it is truncated.")
    if any(looks.corner != first.corner for looks in others):
        return END_IS_MISSING
    if all(_looks(whole[:-LAST_BYTES] + tail, facts) == first for tail in TAILS):
        return OTHER_DATA
    return None


def require_all_before_end_mark(data: bytes, facts: jpeg.Jpeg, image: Image.Image) -> None:
    """Raise `NotAnImageError` if an end mark with other data behind it seems to be theirs, not the image's.

    `image` is the file as it is, decoded small, which takes little time and memory. In place of what is missing, the
    decoder has put blocks without content; these fillers put others.
    """
    body, checksum = data[: facts.end - len(jpeg.END)], zlib.crc32(image.tobytes())
    if any(_small_checksum(body + tail, facts) != checksum for tail in TAILS[1:]):
        raise NotAnImageError("it is truncated.")


def with_end(data: bytes, facts: jpeg.Jpeg) -> bytes:
    """A JPEG without its end mark, with one."""
    return _picture(data, facts) + jpeg.END


def _picture(data: bytes, facts: jpeg.Jpeg) -> bytes:
    """The image up to its last byte. Many zeros behind it are no part of it, and a last byte 0xFF is half a marker."""
    image = data[: facts.end].rstrip(b"\0")
    # The first zeros may be the last bytes of the image, for example the stuffed zero behind a byte 0xFF.
    image += data[len(image) : min(len(image) + MOST_LAST_ZEROS, facts.end)]
    return image.rstrip(b"\xff")


def _looks(data: bytes, facts: jpeg.Jpeg) -> _Looks:
    most = corner = 0
    with Image.open(BytesIO(data + jpeg.END), formats=("JPEG",)) as image:
        image.load()
        lowest = max(0, (image.height - 1) // facts.block_rows * facts.block_rows - SMOOTHED_ROWS)
        middle = (image.width + 1) // 2
        for band in _bands(image, lowest):
            most = zlib.crc32(band.tobytes(), most)
        most = zlib.crc32(image.crop((0, lowest, middle, image.height)).tobytes(), most)
        if middle < image.width:
            corner = zlib.crc32(image.crop((middle, lowest, image.width, image.height)).tobytes())
    return _Looks(most, corner)


def _bands(image: Image.Image, bottom: int) -> Iterator[Image.Image]:
    """The rows above `bottom`, some at a time."""
    rows = max(1, BAND // image.width)
    for top in range(0, bottom, rows):
        yield image.crop((0, top, image.width, min(bottom, top + rows)))


def _small_checksum(data: bytes, facts: jpeg.Jpeg) -> int:
    with Image.open(BytesIO(data + jpeg.END), formats=("JPEG",)) as image:
        load_small(image, facts)
        return zlib.crc32(image.tobytes())


def load_small(image: ImageFile, facts: jpeg.Jpeg, *, in_grey: bool = False) -> None:
    """Decode a JPEG at 1/8 scale: the decoder still reads everything, but takes only a few megabytes (trap 30).

    `in_grey`: it makes no colours of what it has read, for a picture at which nobody looks.
    """
    # At the end of each block Pillow's decoder goes back, and reads its last bytes once more.
    image.decodermaxblock = max(image.decodermaxblock, facts.end)
    image.draft("L" if in_grey else None, (max(1, facts.width // 8), max(1, facts.height // 8)))
    image.load()
