"""The structure of a JPEG, read before it is decoded: what it would cost, and where it ends (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError

START = b"\xff\xd8\xff"
END = b"\xff\xd9"

#: A progressive JPEG has about a dozen scans; thousands of them would take many seconds (trap 11).
MAX_SCANS = 100
#: Values that all scans decode together. A progressive photo of 50 megapixels with three full colours has 700 million.
MAX_WORK = 1_500_000_000
#: Bytes that the decoder keeps of a JPEG with several scans: two for each value. It cannot be told to keep fewer.
MAX_KEPT = 200_000_000
#: Segments of a JPEG. A real image has some thousands at most; millions of empty ones would keep Pillow busy for
#: seconds.
MAX_SEGMENTS = 10_000

#: A marker that begins a segment: not a stuffed or a fill byte, and no restart marker.
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = 0xD8, 0xD9, 0xDA
#: Codes that may follow the data of a scan: tables, another scan, the number of lines, the restart interval, comments
#: and applications' data. Any other belongs to data that stand in the end mark's place, such as a second picture.
BEHIND_A_SCAN = {0xC4, START_OF_SCAN, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
#: Start of frame: baseline, extended, progressive, lossless, each with Huffman codes.
FRAMES = range(0xC0, 0xC4)
LOSSLESS_FRAME = 0xC3
#: Other starts of frame: hierarchical ones, which nobody makes, and arithmetic-coded ones, which take very long.
OTHER_FRAMES = {0xC5, 0xC6, 0xC7}
ARITHMETIC_FRAMES = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


@dataclass(frozen=True, kw_only=True, slots=True)
class Jpeg:
    """The properties of a JPEG that its segments name."""

    width: int
    height: int
    #: Values of all components in one pass over the picture.
    samples: int
    #: Values that all scans decode together.
    work: int
    scans: int
    #: Where the picture ends: behind its end mark, or before the bytes that stand in its place.
    end: int
    has_end_mark: bool
    lossless: bool
    #: Rows of pixels that are coded together.
    block_rows: int
    #: Whether the scans bring every coefficient of every component to its last bit.
    is_refined: bool

    @property
    def whole_bytes(self) -> int:
        """Bytes that decoding takes in full size: four for each pixel, and what is kept until the last scan."""
        return 4 * self.width * self.height + (2 * self.samples if self.scans > 1 else 0)


def read_jpeg(data: bytes) -> Jpeg:
    """Walk over the segments as libjpeg does, up to the end of the image; their content may be any bytes.

    Raises `NotAnImageError`, and `ImageTooLargeError` for a picture that would take too long or too much memory.
    """
    frame: _Frame | None = None
    scans = work = 0
    refined: set[tuple[int, int]] = set()
    end, has_end_mark = len(data), False
    for code, start, body in segments_of(data):
        if code == END_OF_IMAGE:
            end, has_end_mark = body, True
            break
        if body + length_at(data, body) > len(data) or (scans and code not in BEHIND_A_SCAN):
            # The bytes look like a segment, but are cut off, or are other data in the end mark's place.
            end = start
            break
        if code in FRAMES or code in OTHER_FRAMES or code in ARITHMETIC_FRAMES:
            frame = _read_frame(code, data[body : body + length_at(data, body)], frame)
        elif code == START_OF_SCAN:
            if frame is None:
                raise NotAnImageError("its data are damaged.")
            scan = _read_scan(data[body + 2 : body + length_at(data, body)])
            scans += 1
            work += sum(frame.components.get(component, frame.samples) for component in scan.components)
            refined |= scan.refined
            _bound_scans(scans, work, frame)
    if frame is None or not scans:
        raise NotAnImageError("it is truncated.")
    return Jpeg(
        width=frame.width,
        height=frame.height,
        samples=frame.samples,
        work=work,
        scans=scans,
        end=end,
        has_end_mark=has_end_mark,
        lossless=frame.lossless,
        block_rows=frame.block_rows,
        is_refined=len(refined) >= 64 * len(frame.components),
    )


def segments_of(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Code, start, and start of the length of each segment. Raises `NotAnImageError` for very many of them."""
    position = segments = 0
    seen_scan = False
    while (marker := MARKER.search(data, position)) is not None:
        # Before the first scan libjpeg reads the bytes in gaps one by one, as if each were a segment.
        segments += 1 if seen_scan else 1 + marker.start() - position
        if segments > MAX_SEGMENTS:
            raise NotAnImageError(f"it has more than {MAX_SEGMENTS} segments.")
        code = marker[1][0]
        if code == START_OF_IMAGE and not seen_scan:
            position = marker.end()
            continue
        seen_scan = seen_scan or code == START_OF_SCAN
        yield code, marker.start(), marker.end()
        position = marker.end() + length_at(data, marker.end())


def length_at(data: bytes, position: int) -> int:
    """The length that a segment says it has, its own two bytes included."""
    return int.from_bytes(data[position : position + 2], "big")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """A start of frame: the size of the picture and of its components."""

    width: int
    height: int
    lossless: bool
    #: Rows of pixels that are coded together.
    block_rows: int
    #: Component id -> values of one pass over it.
    components: dict[int, int]

    @property
    def samples(self) -> int:
        return sum(self.components.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scan:
    """The header of a scan: its components, and the coefficients whose last bit it brings."""

    components: bytes
    refined: set[tuple[int, int]]


def _read_scan(body: bytes) -> _Scan:
    """`body` is the header without its length: count, two bytes for each component, first, last, and bit position."""
    count = body[0] if body else 0
    if not count or len(body) < 2 * count + 4:
        raise NotAnImageError("its data are damaged.")
    components = body[1 : 1 + 2 * count : 2]
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    coefficients = range(first, min(last, 63) + 1) if bits & 15 == 0 else ()
    return _Scan(
        components=components,
        refined={(component, coefficient) for component in components for coefficient in coefficients},
    )


def _read_frame(code: int, body: bytes, before: _Frame | None) -> _Frame:
    if code in ARITHMETIC_FRAMES:
        raise NotAnImageError("it is an arithmetic-coded JPEG. Save it as a usual JPEG, with Huffman codes.")
    if code in OTHER_FRAMES:
        raise NotAnImageError("it is a hierarchical JPEG. Save it as a usual JPEG.")
    if before is not None or len(body) < 8 or len(body) < 8 + 3 * body[7] or not body[7]:
        raise NotAnImageError("its data are damaged.")
    if body[2] != 8:
        raise NotAnImageError(f"it is a JPEG of {body[2]} bits a colour. Save it with 8 bits.")
    height, width = int.from_bytes(body[3:5], "big"), int.from_bytes(body[5:7], "big")
    if not height or not width:
        raise NotAnImageError("it is a JPEG that does not say its size at its beginning. Save it as a usual JPEG.")
    described = body[8 : 8 + 3 * body[7]]
    return _Frame(
        width=width,
        height=height,
        lossless=code == LOSSLESS_FRAME,
        block_rows=8 * max(factors & 15 for factors in described[1::3]),
        components=_components(described, width * height),
    )


def _components(body: bytes, pixels: int) -> dict[int, int]:
    """Component id -> its values: the pixels, less what it is subsampled by."""
    factors = {body[at]: (body[at + 1] >> 4, body[at + 1] & 15) for at in range(0, len(body), 3)}
    if 3 * len(factors) < len(body):
        raise NotAnImageError("its data are damaged.")
    widest = max(across for across, _ in factors.values())
    highest = max(down for _, down in factors.values())
    if not widest or not highest:
        raise NotAnImageError("its data are damaged.")
    return {
        component: pixels * across * down // (widest * highest) + 1 for component, (across, down) in factors.items()
    }


def _bound_scans(scans: int, work: int, frame: _Frame) -> None:
    if scans > MAX_SCANS:
        raise NotAnImageError(f"it has more than {MAX_SCANS} scans. Save it as a usual JPEG.")
    size = f"{frame.width} × {frame.height} pixels in {scans} scans"
    if work > MAX_WORK or (scans > 1 and 2 * frame.samples > MAX_KEPT):
        raise ImageTooLargeError(
            f"It has {size}, which take too long to read; save it as a JPEG that is not progressive."
        )
