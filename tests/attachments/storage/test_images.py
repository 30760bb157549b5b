"""Images from strangers: which are accepted, which are refused, the time and memory it takes, and thumbnails."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile

from app.attachments.storage import jpeg as jpeg_structure
from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError
from app.attachments.storage.images import ImageFacts, thumbnail, verify
from app.attachments.storage.missing import END_IS_MISSING, OTHER_DATA, load_small
from tests.support.cases import cases
from tests.support.hostile_pictures import (
    CODES,
    END,
    PNG_START,
    PROGRESSIVE,
    SCAN,
    START,
    TABLE,
    arithmetic,
    chunk,
    frame,
    large_png,
    scans,
    segment,
    zeros,
)
from tests.support.pictures import encode, jpeg, picture, png

MAX_PIXELS = 50_000_000


def noise(size: tuple[int, int] = (320, 240), mode: str = "RGB") -> Image.Image:
    """A picture that does not compress, so that there is something to cut off."""
    return Image.effect_noise(size, 80).convert(mode)


def mpo() -> bytes:
    return encode(noise(), "MPO", save_all=True, append_images=[noise((160, 120))])


def with_segments(data: bytes, segments: bytes) -> bytes:
    return data[:2] + segments + data[2:]


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of 100 bytes whose header says anything."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_START + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def with_exif(orientation: bytes) -> bytes:
    """A JPEG whose Exif data have one entry, given by its twelve bytes."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + orientation + bytes(4)
    return with_segments(jpeg((64, 48)), segment(0xE1, exif))


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


JPEGS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: encode(noise()),
    "progressive": lambda: encode(noise(), progressive=True),
    "grey": lambda: encode(noise(mode="L")),
    "cmyk": lambda: encode(noise(mode="CMYK")),
    "rgb": lambda: encode(noise(), keep_rgb=True),
    "restart markers": lambda: encode(noise(), restart_marker_blocks=4),
    "subsampled": lambda: encode(noise((321, 241)), subsampling=2),
}
PNGS: dict[str, Callable[[], bytes]] = {
    "rgb": lambda: encode(noise(), "PNG"),
    "alpha": lambda: encode(noise(mode="RGBA"), "PNG"),
    "grey alpha": lambda: encode(noise(mode="LA"), "PNG"),
    "palette": lambda: encode(noise().quantize(16), "PNG"),
    "16 bit": lambda: encode(noise(mode="L").convert("I;16"), "PNG"),
    "1 bit": lambda: encode(noise(mode="1"), "PNG"),
}


@cache
def same(make: Callable[[], bytes]) -> bytes:
    """The one picture of this kind for many cases; otherwise it is another one each time."""
    return make()


ALL = {**{f"jpeg {name}": each for name, each in JPEGS.items()}, **{f"png {name}": each for name, each in PNGS.items()}}


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_jpeg_and_png_is_taken_with_its_size(name: str) -> None:
    data = ALL[name]()
    width, height = opened(data).size
    content_type = "image/jpeg" if name.startswith("jpeg") else "image/png"
    assert verify(data, MAX_PIXELS) == ImageFacts(content_type=content_type, width=width, height=height)


class CountingFile(BytesIO):
    """Counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)


@cases("name", JPEGS)
def test_the_decoder_gets_a_jpeg_in_one_piece_and_makes_no_colours_of_it(name: str) -> None:
    data = JPEGS[name]()
    file = CountingFile(data)
    with Image.open(file, formats=("JPEG",)) as image:
        kind, file.reads = image.mode, 0
        image.decodermaxblock = 1024
        load_small(image, jpeg_structure.read_jpeg(data), in_grey=True)
    assert (file.reads, image.mode) == (1, "CMYK" if kind == "CMYK" else "L")


@cases("name", ALL)
@cases("cut", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_image_is_refused_wherever_it_is_cut(name: str, cut: float) -> None:
    data = same(ALL[name])
    with pytest.raises(NotAnImageError):
        verify(data[: int(len(data) * (1 - cut))], MAX_PIXELS)


@cases("name", PNGS)
@cases("cut", [1, 2, 3, 4, 8, 11, 12, 13, 20, 60, 100])
def test_a_png_without_all_of_its_end_is_refused(name: str, cut: int) -> None:
    with pytest.raises(NotAnImageError, match="truncated"):
        verify(same(PNGS[name])[:-cut], MAX_PIXELS)


#: Bytes that stand where the end mark should: nothing, half of it, a camera's trailer, zeros, a segment cut off.
ENDS = [b"", b"\xff", b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1700000000000SEFT", bytes(5000), b"\xff\xe1\x40\0Exif"]


@cases("name", JPEGS)
@cases("end", ENDS)
def test_a_jpeg_with_all_its_pixels_and_without_its_end_mark_is_an_image(name: str, end: bytes) -> None:
    whole = JPEGS[name]()
    data = whole[:-2] + end
    facts = verify(data, MAX_PIXELS)
    assert replace(facts, warning=None) == verify(whole, MAX_PIXELS)
    assert facts.warning in (None, OTHER_DATA)
    assert opened(thumbnail(data)).tobytes() == opened(thumbnail(whole)).tobytes()


@pytest.mark.parametrize("end", ENDS, ids=["nothing", "half", "trailer", "zeros", "segment"])
def test_the_last_pixels_of_a_jpeg_may_end_in_a_zero(end: bytes) -> None:
    pictures = (encode(noise((16, 16)), "JPEG") for _ in range(20_000))
    whole = next(data for data in pictures if data.endswith(b"\0\xff\xd9") and not data.endswith(b"\xff\0\xff\xd9"))
    assert replace(verify(whole[:-2] + end, MAX_PIXELS), warning=None) == verify(whole, MAX_PIXELS)


@cases("name", ["baseline", "grey", "cmyk", "restart markers", "subsampled"])
@cases("end", [b"", b"\xff", bytes(5000), b"\xff\xe1\x40\0Exif"])
def test_a_jpeg_without_its_last_bytes_is_kept_with_a_warning_where_every_row_can_be_seen(
    name: str, end: bytes
) -> None:
    whole = JPEGS[name]()
    assert verify(whole[:-102] + end, MAX_PIXELS).warning == END_IS_MISSING
    assert thumbnail(whole[:-102] + end)


@cases("end", [b"", b"\xff", bytes(5000), b"\xff\xe1\x40\0Exif"])
def test_a_jpeg_without_half_a_row_of_blocks_is_truncated(end: bytes) -> None:
    for make in JPEGS.values():
        with pytest.raises(NotAnImageError, match="truncated"):
            verify(make()[:-3000] + end, MAX_PIXELS)


def test_a_jpeg_cut_before_a_restart_marker_is_kept_or_truncated_by_its_rows() -> None:
    data = JPEGS["restart markers"]()
    last = [data.rindex(bytes([0xFF, 0xD0 + number])) for number in range(8)]
    assert verify(data[: max(last)], MAX_PIXELS).warning == END_IS_MISSING
    with pytest.raises(NotAnImageError, match="truncated"):
        verify(data[: min(last)], MAX_PIXELS)


#: A marker of its own kind, a second picture, and a marker that no scan has behind it.
FOREIGN = [b"\xff\xe1\x40\0Exif", b"PK\x03\x04 in parts \xff\xd9", b"%s", b"\xff\xc0\0\x0b more"]


@cases("trailer", FOREIGN)
@cases("name", [name for name in JPEGS if name != "progressive"])
def test_what_is_missing_before_a_foreign_trailer_is_noticed(name: str, trailer: bytes) -> None:
    whole = JPEGS[name]()
    other = trailer.replace(b"%s", jpeg()) + b"and the rest"
    with pytest.raises(NotAnImageError, match="truncated"):
        verify(whole[: len(whole) // 2] + other, MAX_PIXELS)
    assert verify(whole[:-2] + other, MAX_PIXELS).width == opened(whole).width


def test_text_behind_a_jpeg_without_its_end_mark_may_stand_in_place_of_rows_so_there_is_a_warning() -> None:
    """It can be decoded like a picture, so nobody can tell."""
    assert verify(JPEGS["baseline"]()[:-2] + b"a text" * 1000, MAX_PIXELS).warning == OTHER_DATA


def test_a_progressive_jpeg_cut_between_two_scans_is_truncated() -> None:
    data = JPEGS["progressive"]()
    with pytest.raises(NotAnImageError, match="truncated"):
        verify(data[: data.rindex(SCAN)], MAX_PIXELS)


def test_the_multi_picture_file_of_a_phone_is_a_jpeg() -> None:
    data = mpo()
    assert opened(data).format == "MPO"
    assert verify(data, MAX_PIXELS) == ImageFacts(content_type="image/jpeg", width=320, height=240)


def test_a_phone_photo_cut_in_its_first_picture_is_refused() -> None:
    data = mpo()
    first = data.index(b"\xff\xd9\xff\xd8")
    for length in (first // 2, first - 3000):
        with pytest.raises(NotAnImageError):
            verify(data[:length], MAX_PIXELS)


def test_a_phone_photo_whose_second_picture_an_editor_has_dropped_is_taken() -> None:
    data = mpo()
    first = data.index(b"\xff\xd9\xff\xd8") + 2
    assert verify(data[:first], MAX_PIXELS).width == 320
    assert opened(thumbnail(data[:first])).size == (320, 240)


def test_a_photo_with_a_video_behind_it_is_taken() -> None:
    video = random.Random(1).randbytes(9_000_000)
    assert video.count(SCAN) > jpeg_structure.MAX_SCANS
    assert verify(jpeg() + video, MAX_PIXELS).content_type == "image/jpeg"


def test_metadata_that_look_like_scans_do_not_count() -> None:
    metadata = b"".join(segment(0xE5, SCAN * 30_000) for _ in range(10))
    assert verify(with_segments(jpeg(), metadata), MAX_PIXELS).content_type == "image/jpeg"


@pytest.mark.parametrize("form", ["EPS", "PPM", "ICO", "TGA"])
def test_another_kind_of_image_is_refused(form: str) -> None:
    with pytest.raises(NotAnImageError, match="another kind"):
        verify(encode(picture(), form), MAX_PIXELS)


@cases(
    ("data", "reason"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "it is HEIC. Set the camera to “Most Compatible” (JPEG)"),
        (b"\0\0\0\x24ftypmif1\0\0\0\0mif1heic", "it is HEIC. Set the camera"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "it is AVIF. Convert it to JPEG or PNG."),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "it is a video. Send a photo."),
        (b"\0\0\0\x14ftypodd!\0\0\0\0", "it is of another kind."),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "it is JPEG XL."),
        (encode(picture(), "WEBP"), "it is WebP. Convert it to JPEG or PNG."),
        (encode(picture(), "GIF"), "it is GIF."),
        (encode(picture(), "BMP"), "it is BMP."),
        (encode(picture(), "TIFF"), "it is TIFF or a raw photo."),
        (encode(picture(), "JPEG2000"), "it is JPEG 2000."),
        (encode(picture(), "PDF"), "it is PDF. Send a photo of the page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is SVG."),
        (b"data:image/png;base64,iVBORw0KGgo", "it is a data URL. Send the bytes"),
        (b"/9j/4AAQSkZJRg", "it is base64. Send the bytes"),
    ],
)
def test_a_known_kind_is_named_with_what_to_do(data: bytes, reason: str) -> None:
    with pytest.raises(NotAnImageError) as caught:
        verify(data, MAX_PIXELS)
    assert str(caught.value).startswith(reason)


@cases("code", [0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
def test_an_arithmetic_coded_jpeg_is_refused_before_it_is_decoded(code: int) -> None:
    with pytest.raises(NotAnImageError, match="arithmetic-coded"):
        verify(arithmetic(code), MAX_PIXELS)


def lossless_jpeg(width: int, height: int) -> bytes:
    """A lossless JPEG of one grey: each pixel is the one before it, which one bit says (T.81, annex H)."""
    header = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\0"
    table = b"\0\x01" + bytes(15) + b"\0"
    scan = b"\x01\x01\0\x01\0\0"
    data = bytes(width * height // 8)
    return b"\xff\xd8" + segment(0xC3, header) + segment(0xC4, table) + segment(0xDA, scan) + data + b"\xff\xd9"


def test_a_lossless_jpeg_is_an_image_and_has_a_thumbnail() -> None:
    """It cannot be decoded smaller, which is faster."""
    data = lossless_jpeg(64, 48)
    assert verify(data, MAX_PIXELS) == ImageFacts(content_type="image/jpeg", width=64, height=48)
    assert opened(thumbnail(data)).getpixel((32, 24)) == (128, 128, 128)


def test_a_jpeg_of_twelve_bits_is_named() -> None:
    with pytest.raises(NotAnImageError, match="12 bits a colour"):
        verify(START + TABLE + frame(0xC1, (64, 48), precision=12) + CODES + END, MAX_PIXELS)


def test_scans_are_bounded_by_their_pixels() -> None:
    with pytest.raises(ImageTooLargeError, match="take too long to read"):
        verify(scans(PROGRESSIVE, (7000, 7000), 60), MAX_PIXELS)
    assert verify(scans(PROGRESSIVE, (3000, 3000), 90), MAX_PIXELS).width == 3000


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536), (1, 49_000_000)])
def test_a_side_of_more_than_65535_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError, match="each side may have 65535"):
        verify(png_that_says(*size), MAX_PIXELS)
    assert verify(png((1, 65_535)), MAX_PIXELS).height == 65_535


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"tEXt", b"a\0" + b"b" * 2_000_000),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"iCCP", b"p\0\0no profile"),
        chunk(b"tEXt", b"a\0b")[:-4] + b"odd!",
        chunk(b"acTL", b"\xff" * 8),
        chunk(b"eXIf", b"damaged"),
        chunk(b"tEXt", b"a\0b") * 10_001,
    ],
    ids=["zTXt", "tEXt", "large iCCP", "damaged iCCP", "checksum", "animation", "Exif", "number"],
)
def test_a_png_is_judged_by_its_pixels(more: bytes) -> None:
    data = png()[:33] + more + png()[33:]
    assert verify(data, MAX_PIXELS).width == 64
    assert opened(thumbnail(data)).size == (64, 48)


@cases(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0",
        b"\xff\xd8\xff\xda\xff",
        PNG_START,
        PNG_START + chunk(b"IEND", b""),
        PNG_START + bytes(1000),
        png_that_says(0, 5),
        png_that_says(64, 48),
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"<!doctype html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(NotAnImageError):
        verify(data, MAX_PIXELS)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_are_taken_or_refused_and_nothing_else_is_raised() -> None:
    chance = random.Random(7)
    for make in (jpeg, png, mpo, lambda: jpeg(progressive=True)):
        whole = make()
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 3, 30))):
                # The front has the headers, where the readers can be confused.
                reach = min(len(data), chance.choice((64, 700, len(data))))
                data[chance.randrange(2, reach)] = chance.randrange(256)
            try:
                verify(bytes(data), MAX_PIXELS)
                thumbnail(bytes(data))
            except (NotAnImageError, ImageTooLargeError):
                pass
        with pytest.raises(NotAnImageError):
            verify(whole[:8] + chance.randbytes(3000), MAX_PIXELS)


@pytest.mark.parametrize("error", [OSError, ValueError, SyntaxError, struct.error, zlib.error, IndexError, TypeError])
def test_whatever_a_reader_raises_is_about_the_image(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def load(image: object) -> None:
        raise error("odd")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(NotAnImageError, match=r"^its data are damaged\.$"):
        verify(jpeg(), MAX_PIXELS)


def test_a_progressive_jpeg_with_thousands_of_scans_is_refused_at_once() -> None:
    whole = encode(Image.new("RGB", (3000, 3000)), progressive=True)
    scan = whole[whole.rindex(SCAN) : -2]
    data = whole[:-2] + 3000 * scan + whole[-2:]
    assert len(data) < 10 * 1024 * 1024
    started = time.monotonic()
    with pytest.raises(NotAnImageError, match="more than 100 scans"):
        verify(data, MAX_PIXELS)
    assert time.monotonic() - started < 1


def test_fill_bytes_and_restart_markers_do_not_hide_scans() -> None:
    small = encode(Image.new("RGB", (64, 64)), progressive=True)
    scan = small[small.rindex(SCAN) : -2]
    for before in (b"\xff", b"\xff\xd0", b"\xff\x01", b"\0\0", b"\xff\x00"):
        with pytest.raises(NotAnImageError, match="more than 100 scans"):
            verify(small[:-2] + 200 * (before + scan) + small[-2:], MAX_PIXELS)


def test_a_hundred_scans_are_still_a_photo() -> None:
    small = encode(Image.new("RGB", (64, 64)), progressive=True)
    scan = small[small.rindex(SCAN) : -2]
    data = small[:-2] + (jpeg_structure.MAX_SCANS - small.count(SCAN)) * scan + small[-2:]
    assert data.count(SCAN) == jpeg_structure.MAX_SCANS
    assert verify(data, MAX_PIXELS).width == 64


@pytest.mark.parametrize(
    "make",
    [
        lambda: with_segments(jpeg(), segment(0xFE, b"") * 2_000_000),
        lambda: with_segments(jpeg(), b"\xff" * 9_000_000),
        lambda: with_segments(jpeg(), b"\xff\x00" * 4_500_000),
        lambda: with_segments(jpeg(), b"\xff\xd0" * 4_500_000),
        lambda: jpeg()[:-2] + segment(0xFE, b"") * 2_400_000 + jpeg()[-2:],
        lambda: jpeg()[:-2] + b"\xff" * 9_000_000 + jpeg()[-2:],
        lambda: jpeg()[:-2] + b"\xff\xd0" * 4_500_000 + jpeg()[-2:],
        lambda: png()[:33] + chunk(b"tEXt", b"a\0b") * 600_000 + png()[33:],
        lambda: png()[:-12] + chunk(b"IDAT", b"") * 700_000 + png()[-12:],
        lambda: png()[:33] + chunk(b"zTXt", b"a\0\0" + zeros(200_000_000)) + png()[33:],
    ],
    ids=[
        "comments",
        "fill",
        "stuffing",
        "restarts",
        "comments at the end",
        "fill at the end",
        "restarts at the end",
        "texts",
        "empty data",
        "inflating text",
    ],
)
def test_ten_megabytes_of_nothing_take_no_time(make: Callable[[], bytes]) -> None:
    data = make()
    started = time.thread_time()
    with suppress(NotAnImageError):
        verify(data, MAX_PIXELS)
    assert time.thread_time() - started < 1


@cases("size", [(10_001, 5000), (5000, 10_001), (14_000, 8000), (65_535, 65_535), (2**31 - 1, 1)])
def test_too_many_pixels_are_refused_by_the_header_before_decoding(size: tuple[int, int]) -> None:
    # Had it been decoded, it would have been no image: there are 100 bytes of it.
    with pytest.raises(ImageTooLargeError):
        verify(png_that_says(*size), MAX_PIXELS)


def test_the_limit_itself_is_allowed() -> None:
    for data in (jpeg((100, 50)), png((100, 50))):
        assert verify(data, 5000).height == 50
        with pytest.raises(ImageTooLargeError, match="100 × 50"):
            verify(data, 4999)


@pytest.mark.filterwarnings("default")
def test_a_bomb_that_pillow_only_warns_of_is_refused_even_where_the_limit_allows_it() -> None:
    with pytest.raises(ImageTooLargeError):
        verify(png_that_says(14_000, 8000), 10**12)
    with pytest.raises(ImageTooLargeError):
        thumbnail(png_that_says(14_000, 8000))


def test_one_image_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    real = ImageFile.ImageFile.load

    def load(image: ImageFile.ImageFile) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        found = real(image)
        inside -= 1
        return found

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    work = [lambda: verify(jpeg(), MAX_PIXELS), lambda: thumbnail(jpeg())] * 4
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_refused_image_does_not_keep_the_next_one_waiting() -> None:
    with pytest.raises(NotAnImageError):
        verify(b"", MAX_PIXELS)
    with pytest.raises(ImageTooLargeError):
        verify(jpeg(), 1)
    with pytest.raises(NotAnImageError):
        thumbnail(b"")
    assert verify(jpeg(), MAX_PIXELS).width == 64


# Memory is measured in a process of its own. Its peak is that of VmHWM, which starts anew with the program; the
# maximum that getrusage reports includes the process that started it.
MEASURE = """
import os, sys
from pathlib import Path
from app.attachments.storage.images import thumbnail, verify
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
works = {"verify": lambda data: verify(data, 50_000_000), "thumbnail": thumbnail}
for work in works.values():
    work(Path(sys.argv[1]).read_bytes())
for task in sys.argv[2:]:
    if not (process := os.fork()):
        name, _, path = task.partition(" ")
        data = Path(path).read_bytes()
        before = peak()
        works[name](data)
        print(peak() - before, flush=True)
        os._exit(0)
    if os.waitpid(process, 0)[1]:
        sys.exit("The process for the picture has failed.")
"""

#: What is measured, and the most megabytes that it may take.
LARGE = {
    ("verify", "large.jpg"): 60,
    ("verify", "phone.jpg"): 60,
    ("thumbnail", "large.jpg"): 60,
    ("thumbnail", "phone.jpg"): 60,
    # Its pixels are 192 MB, and there must be no second copy of them.
    ("thumbnail", "large.png"): 300,
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """48 megapixels or a few more, each way."""
    directory = tmp_path_factory.mktemp("large")
    image = Image.radial_gradient("L").resize((8000, 6000)).convert("RGB")
    paths = {name: directory / name for name in ("small.jpg", "large.jpg", "phone.jpg", "large.png")}
    picture().save(paths["small.jpg"])
    image.save(paths["large.jpg"])
    image.save(paths["phone.jpg"], format="MPO", save_all=True, append_images=[picture()])
    paths["large.png"].write_bytes(large_png(8, 6, 0))
    yield paths
    for path in paths.values():
        path.unlink()


def test_a_photo_of_48_megapixels_takes_little_memory(large: dict[str, Path]) -> None:
    tasks = [f"{work} {large[name]}" for work, name in LARGE]
    command = [sys.executable, "-c", MEASURE, str(large["small.jpg"]), *tasks]
    run = subprocess.run(command, cwd=Path.cwd(), check=True, capture_output=True, text=True)
    peaks = dict(zip(LARGE, map(int, run.stdout.split()), strict=True))
    assert {task: peak for task, peak in peaks.items() if peak >= LARGE[task] * 1024} == {}


@pytest.mark.parametrize("name", ALL)
def test_every_kind_has_a_thumbnail(name: str) -> None:
    data = ALL[name]()
    small = opened(thumbnail(data))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", opened(data).size)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 48), (64, 48)),
        ((1024, 768), (1024, 768)),
        ((1025, 768), (1024, 767)),
        ((4032, 3024), (1024, 768)),
        ((3000, 4500), (683, 1024)),
        ((9000, 1), (1024, 1)),
        ((1, 9000), (1, 1024)),
    ],
)
def test_a_thumbnail_has_at_most_1024_pixels_a_side_and_is_never_larger_than_the_image(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    for form in ("JPEG", "PNG"):
        assert opened(thumbnail(encode(Image.new("RGB", size, "red"), form))).size == expected


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - other) < 12 for one, other in zip(pixel, colour, strict=True))


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def corners(image: Image.Image) -> list[str]:
    """The colours of the four corners: top left, top right, bottom left, bottom right."""
    right, bottom = image.width - 5, image.height - 5
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    pixels = [image.getpixel(point) for point in ((4, 4), (right, 4), (4, bottom), (right, bottom))]
    return [next((name for name, colour in names.items() if near(pixel, colour)), "?") for pixel in pixels]


def quarters(size: tuple[int, int]) -> Image.Image:
    """Red and green above blue and white."""
    image = Image.new("RGB", (2, 2))
    for place, colour in zip(((0, 0), (1, 0), (0, 1), (1, 1)), (RED, GREEN, BLUE, WHITE), strict=True):
        image.putpixel(place, colour)
    return image.resize(size, Image.Resampling.NEAREST)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(320, 240), (2400, 1800)])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, ["red", "green", "blue", "white"]),
        (2, ["green", "red", "white", "blue"]),
        (3, ["white", "blue", "green", "red"]),
        (4, ["blue", "white", "red", "green"]),
        (5, ["red", "blue", "green", "white"]),
        (6, ["blue", "red", "white", "green"]),
        (7, ["white", "green", "blue", "red"]),
        (8, ["green", "white", "red", "blue"]),
    ],
)
def test_a_thumbnail_is_upright_in_every_exif_orientation(
    form: str, size: tuple[int, int], orientation: int, expected: list[str]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    small = opened(
        thumbnail(encode(quarters(size), form, exif=exif, **({"compress_level": 1} if form == "PNG" else {})))
    )
    assert corners(small) == expected
    assert (small.height > small.width) == (orientation > 4)


def test_the_facts_are_those_of_the_stored_pixels_whatever_the_orientation() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    facts = verify(jpeg((64, 48), exif=exif), MAX_PIXELS)
    assert (facts.width, facts.height) == (64, 48)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHI4s", 0x112, 2, 4, b"abc\0"),
        struct.pack("<HHI4s", 0x112, 3, 1, b"\xff\xff\0\0"),
        struct.pack("<HHI4s", 0x112, 3, 2**32 - 1, b"\xff\xff\xff\xff"),
        b"",
    ],
    ids=["text", "out of range", "beyond the end", "cut off"],
)
def test_a_photo_with_damaged_exif_data_is_taken_and_has_a_thumbnail(entry: bytes) -> None:
    data = with_exif(entry)
    assert verify(data, MAX_PIXELS).width == 64
    assert opened(thumbnail(data)).size == (64, 48)


def test_a_thumbnail_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "A camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    for form in ("JPEG", "PNG"):
        more = {"comment": b"secret comment"} if form == "JPEG" else {}
        data = encode(picture(), form, exif=exif, icc_profile=b"secret profile", **more)
        assert b"A camera" in data
        small = thumbnail(data)
        assert not {"exif", "comment", "icc_profile", "xmp"} & set(opened(small).info)
        assert b"A camera" not in small
        assert b"secret" not in small


@pytest.mark.parametrize("size", [(64, 48), (5000, 100)])
def test_what_is_transparent_becomes_white(size: tuple[int, int]) -> None:
    palette = Image.new("P", size, 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    transparent = [
        encode(Image.new("RGBA", size, (255, 0, 0, 0)), "PNG"),
        encode(Image.new("LA", size, (0, 0)), "PNG"),
        encode(palette, "PNG", transparency=1),
        encode(palette, "PNG", transparency=b"\xff\0"),
        encode(Image.new("RGB", size, (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        encode(Image.new("L", size, 7), "PNG", transparency=7),
    ]
    for data in transparent:
        assert corners(opened(thumbnail(data))) == ["white"] * 4


def test_half_transparent_red_is_pink() -> None:
    small = opened(thumbnail(encode(Image.new("RGBA", (64, 48), (255, 0, 0, 128)), "PNG")))
    assert near(small.getpixel((30, 20)), (255, 127, 127))


def test_sixteen_bits_of_grey_keep_their_brightness() -> None:
    for value in (0, 16_384, 40_000, 65_535):
        small = opened(thumbnail(encode(Image.new("I;16", (64, 48), value), "PNG")))
        assert near(small.getpixel((30, 20)), (value // 256,) * 3)


def test_the_colours_of_print_keep_their_look() -> None:
    for colour in (RED, BLUE, WHITE):
        small = opened(thumbnail(encode(Image.new("RGB", (64, 48), colour).convert("CMYK"))))
        assert near(small.getpixel((30, 20)), colour)


def swapped_profile() -> bytes:
    """A profile of RGB in which red and green have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[:] = data.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")
    return bytes(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_thumbnail_is_in_srgb(form: str, mode: str) -> None:
    if (form, mode) == ("JPEG", "RGBA"):
        form = "MPO"
    image = Image.new(mode if form == "PNG" else "RGB", (64, 48), (255, 0, 0))
    small = opened(thumbnail(encode(image, form, icc_profile=swapped_profile())))
    assert near(small.getpixel((30, 20)), (0, 255, 0))
    assert "icc_profile" not in small.info


def test_a_profile_of_another_kind_of_picture_changes_nothing() -> None:
    for mode in ("L", "CMYK", "1"):
        form = "JPEG" if mode == "CMYK" else "PNG"
        data = encode(Image.new("RGB", (64, 48), "white").convert(mode), form, icc_profile=swapped_profile())
        assert near(opened(thumbnail(data)).getpixel((30, 20)), WHITE)


def test_a_large_png_is_whole_in_its_thumbnail() -> None:
    # It is made smaller in bands: rows must neither be missing nor come twice.
    image = Image.linear_gradient("L").resize((700, 9001)).convert("RGB")
    small = opened(thumbnail(encode(image, "PNG", compress_level=1)))
    expected = image.resize(small.size, Image.Resampling.BOX)
    for y in range(small.height):
        assert near(small.getpixel((20, y)), expected.getpixel((20, y)))  # type: ignore[arg-type]


def test_warnings_of_others_are_left_alone() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        verify(jpeg(), MAX_PIXELS)
        warnings.warn("still heard", UserWarning, stacklevel=1)
    assert [str(each.message) for each in seen] == ["still heard"]
