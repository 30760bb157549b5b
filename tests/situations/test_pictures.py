"""Situations of the field, in which other systems have lost or spoilt photos and signatures.

Each test is one situation, with the right outcome; `test_register.py` has their names.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from app.models import Attachment, FormFill
from app.testing import push
from tests.attachments.conftest import SIGNATURE, upload
from tests.conftest import World
from tests.support.answers import json_of
from tests.support.cases import cases
from tests.support.pictures import encode, jpeg, picture, png

API = "/api/v1"
#: The tag of the orientation in Exif data, and its value for “turned by a quarter”.
ORIENTATION, QUARTER_TURN = 0x0112, 6
#: The beginning of what phones of one maker write behind a picture, in place of its end mark.
TRAILER = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1710498600000SEFH"
#: The beginning of the video that phones write behind a motion photo.
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(range(256)) * 1000


def verified(device: FlaskClient, form_fill: FormFill, *photos: tuple[str, bytes]) -> list[str]:
    """What the server says of these photos, as a device asks before it deletes its own."""
    asked = [
        {"form_fill_id": form_fill.id, "field_name": field, "sha256": sha256(data).hexdigest()}
        for field, data in photos
    ]
    answer = device.post(f"{API}/sync/verify_attachments", json=asked)
    return [attachment["status"] for attachment in json_of(answer)["data"]["attachments"]]


def test_a_portrait_photo_is_upright_in_its_thumbnail_and_untouched_in_its_original(
    device: FlaskClient, form_fill: FormFill
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    data = encode(picture((640, 480)), "JPEG", exif=exif)
    url = upload(device, form_fill, data).json["data"]["url"]
    assert device.get(url).data == data
    assert Image.open(BytesIO(device.get(f"{url}?variant=thumbnail").data)).size == (480, 640)


@pytest.mark.parametrize("end", [b"", TRAILER, bytes(64)], ids=["nothing", "a maker's data", "zeros"])
def test_a_photo_with_all_its_pixels_is_stored_whatever_stands_in_place_of_its_end_mark(
    device: FlaskClient, form_fill: FormFill, end: bytes
) -> None:
    data = jpeg().removesuffix(b"\xff\xd9") + end
    answer = upload(device, form_fill, data)
    assert answer.status_code == 200, answer.json
    assert verified(device, form_fill, ("Riser_Photo", data)) == ["stored"]


def without_tables(data: bytes) -> bytes:
    """A JPEG as the video of a camera has it: its Huffman tables are the usual ones, and left out."""
    begin, scan = data.index(b"\xff\xc4"), data.index(b"\xff\xda")
    return data[:begin] + data[scan:]


def with_much_metadata(data: bytes) -> bytes:
    """A JPEG with more than a megabyte of metadata before its pixels, as cameras write their own notes."""
    segment = b"\xff\xe1" + (65_535).to_bytes(2, "big") + b"Exif\0\0" + bytes(65_527)
    return data[:2] + segment * 20 + data[2:]


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (without_tables(jpeg()), "image/jpeg"),
        (encode(picture(), "MPO", save_all=True, append_images=[picture((32, 24), "green")]), "image/jpeg"),
        (jpeg() + VIDEO, "image/jpeg"),
        (with_much_metadata(jpeg()), "image/jpeg"),
        (encode(picture(), "PNG", save_all=True, append_images=[picture(colour="green")]), "image/png"),
    ],
    ids=["a frame of a video", "two pictures of a phone", "a motion photo", "much metadata", "an animated PNG"],
)
def test_a_picture_of_a_rare_kind_is_stored_and_has_a_thumbnail_in_its_colours(
    device: FlaskClient, form_fill: FormFill, data: bytes, content_type: str
) -> None:
    answer = upload(device, form_fill, data).json
    assert "warning" not in answer
    url = answer["data"]["url"]
    original = device.get(url)
    assert (original.data, original.content_type) == (data, content_type)
    assert verified(device, form_fill, ("Riser_Photo", data)) == ["stored"]
    small = Image.open(BytesIO(device.get(f"{url}?variant=thumbnail").data)).convert("RGB")
    assert small.size == picture().size
    expected = picture().convert("RGB").getpixel((0, 0))
    assert small.getpixel((0, 0)) == pytest.approx(expected, abs=12)


def test_a_photo_that_was_cut_in_the_middle_is_refused_and_can_be_sent_whole(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    data = jpeg((640, 480))
    cut = upload(device, form_fill, data[: len(data) // 2], local_id="photo")
    assert (cut.status_code, cut.json["error"]) == (415, "File must be an image")
    assert world.all(Attachment) == []
    assert upload(device, form_fill, data, local_id="photo").status_code == 200


@cases(
    ("data", "name"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "HEIC"),
        (encode(picture(), "WEBP"), "WebP"),
        (b"data:image/jpeg;base64,/9j/4AAQ", "data URL"),
    ],
)
def test_a_file_that_is_called_jpg_and_is_none_is_named_with_what_to_do(
    device: FlaskClient, form_fill: FormFill, data: bytes, name: str
) -> None:
    answer = upload(device, form_fill, data, filename="photo.jpg")
    assert answer.status_code == 415
    assert name in answer.json["message"]
    assert "JPEG" in answer.json["message"] or "bytes of the picture" in answer.json["message"]


def test_a_photo_of_too_many_pixels_is_told_so_and_not_that_it_has_too_many_bytes(
    device: FlaskClient, form_fill: FormFill
) -> None:
    answer = upload(device, form_fill, encode(Image.new("1", (10_000, 6_000)), "PNG"))
    assert answer.status_code == 413
    assert "10000 × 6000 pixels" in answer.json["message"]
    assert answer.json["limit"] == 50_000_000


def test_two_signatures_at_once_are_both_stored(device: FlaskClient, form_fill: FormFill) -> None:
    signatures = [("Signature", png(colour="red")), ("Signature_Annex", png(colour="green"))]

    def sign(signature: tuple[str, bytes]) -> Any:
        field, data = signature
        return upload(device, form_fill, data, field, to=SIGNATURE, part="signature")

    with ThreadPoolExecutor(2) as pool:
        assert [answer.status_code for answer in pool.map(sign, signatures)] == [200, 200]
    assert verified(device, form_fill, *signatures) == ["stored", "stored"]


def test_one_photo_may_stand_in_two_fields(device: FlaskClient, form_fill: FormFill) -> None:
    data = jpeg()
    for field in ("Front", "Riser_Photo"):
        assert upload(device, form_fill, data, field).status_code == 200
    assert verified(device, form_fill, ("Front", data), ("Riser_Photo", data)) == ["stored", "stored"]


def test_a_photo_deleted_by_name_stays_deleted_and_one_that_was_added_meanwhile_stays(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    mine, theirs = jpeg(colour="red"), jpeg(colour="green")
    seen = upload(device, form_fill, mine).json["photo_attachment_id"]
    upload(other, form_fill, theirs)
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo", "photo_attachment_id": seen}
    (entry,) = push(device, {"type": "photo_delete", "local_id": "d", "data": data})["success"]
    assert entry["result"] == {"deleted": 1}
    assert verified(device, form_fill, ("Riser_Photo", mine), ("Riser_Photo", theirs)) == ["deleted", "stored"]
