"""Pictures for others than their uploader: nothing of the metadata but orientation and time, and all of the pixels."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from app.attachments.storage.faults import NotAnImageError
from app.attachments.storage.shared import cut, shared_parts, size_of
from tests.support.pictures import encode, jpeg, picture, png

TIME = "2024:03:15 10:30:00"
XMP = b"<x:xmpmeta><exif:GPSLatitude>52,30.0N</exif:GPSLatitude></x:xmpmeta>"
#: Texts that stand in the metadata of `with_location`, each in another place.
SECRETS = (b"GPSLatitude", b"WGS-84", b"maker's note", b"a comment", b"Somebody's phone", b"behind the picture")


def exif_with_location() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Model] = "Somebody's phone"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: TIME, ExifTags.Base.OffsetTimeOriginal: "+01:00",
        ExifTags.Base.MakerNote: b"maker's note",
    }  # fmt: skip
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitude: (52.0, 30.0, 0.0), ExifTags.GPS.GPSMapDatum: "WGS-84"}
    return exif


def profile() -> bytes:
    return b"a profile of colours".ljust(200, b"\0")


def jpeg_with_location(**options: Any) -> bytes:
    return (
        jpeg((64, 48), exif=exif_with_location(), xmp=XMP, comment=b"a comment", icc_profile=profile(), **options)
        + b"behind the picture: a video with its own location"
    )


def png_with_location() -> bytes:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts.add_text("Comment", "a comment")
    texts.add_text("Raw profile type exif", "GPSLatitude", zip=True)
    data = encode(picture(), "PNG", exif=exif_with_location(), pnginfo=texts, icc_profile=profile())
    return data + b"behind the picture"


def joined(data: bytes, start: int = 0, end: int | None = None) -> bytes:
    parts = cut(shared_parts(data), start, end)
    return b"".join(part if isinstance(part, bytes) else data[slice(*part)] for part in parts)


@pytest.mark.parametrize("data", [jpeg_with_location(), jpeg_with_location(progressive=True), png_with_location()])
def test_only_orientation_time_and_colours_stay_and_every_pixel(data: bytes) -> None:
    shared = joined(data)
    assert [secret for secret in SECRETS if secret in data]
    assert [secret for secret in SECRETS if secret in shared] == []
    with Image.open(BytesIO(data)) as before, Image.open(BytesIO(shared)) as after:
        exif = after.getexif()
        assert dict(exif.get_ifd(ExifTags.IFD.Exif)) == {
            ExifTags.Base.DateTimeOriginal: TIME,
            ExifTags.Base.OffsetTimeOriginal: "+01:00",
        }
        assert set(exif) == {ExifTags.Base.Orientation, ExifTags.IFD.Exif}
        assert exif[ExifTags.Base.Orientation] == 6
        assert after.info["icc_profile"] == profile()
        assert after.tobytes() == before.tobytes()
        assert after.info.get("dpi") == before.info.get("dpi")


@pytest.mark.parametrize("data", [jpeg_with_location(), png_with_location(), jpeg(), png()])
def test_the_same_bytes_come_every_time_and_in_any_ranges(data: bytes) -> None:
    shared = joined(data)
    assert size_of(shared_parts(data)) == len(shared)
    assert joined(shared) == shared
    places = [*range(0, len(shared), 37), len(shared)]
    assert b"".join(joined(data, start, end) for start, end in pairwise(places)) == shared


@pytest.mark.parametrize("data", [jpeg(), png(), encode(picture(mode="CMYK"), "JPEG")])
def test_a_picture_without_metadata_stays_as_it_is(data: bytes) -> None:
    assert shared_parts(data) == [(0, len(data))]


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"a secret", b"II*\0\xff\xff\xff\x7fa secret", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_data_go_without_harm_to_the_picture(exif: bytes) -> None:
    body = b"Exif\0\0" + exif
    data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg()[2:]
    chunk = b"eXIf" + exif
    start = png()[:33]
    damaged = start + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png()[33:]
    for picture_with_it, plain in ((data, jpeg()), (damaged, png())):
        shared = joined(picture_with_it)
        assert b"a secret" not in shared
        with Image.open(BytesIO(shared)) as after, Image.open(BytesIO(plain)) as before:
            assert after.tobytes() == before.tobytes()


def test_a_picture_without_its_end_mark_is_cut_where_it_ends() -> None:
    data = jpeg_with_location().partition(b"behind")[0].removesuffix(b"\xff\xd9")
    shared = joined(data)
    assert [secret for secret in SECRETS if secret in shared] == []
    assert shared.endswith(data[-50:])


@pytest.mark.parametrize("data", [b"", b"GIF89a", jpeg()[:100]])
def test_bytes_that_are_no_whole_picture_are_refused(data: bytes) -> None:
    with pytest.raises(NotAnImageError):
        shared_parts(data)
