"""Bodies of uploads: broken ones, wrong parts, charsets, and the names of files (contract, section 4)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from flask import Flask, Request
from flask.testing import FlaskClient

from app.attachments import multipart as multipart_module
from app.attachments.boundaries import Decoder
from app.http.body import read_body
from app.models import Attachment, FormFill
from tests.attachments.conftest import SIGNATURE, UPLOAD, files_in, upload
from tests.conftest import World
from tests.support.answers import json_of
from tests.support.cases import cases
from tests.support.pictures import jpeg, png

#: Has a body come in two pieces, the first of so many bytes.
CutAt: TypeAlias = Callable[[int], None]

REQUIRED = "Required parameters: form_fill_id, field_name, photo"
MULTIPART = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, head: bytes = b"") -> bytes:
    """A part with a name; `head` follows it in its head."""
    return (
        b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + head + b"\r\n\r\n" + content + b"\r\n"
    )


def photo(data: bytes | None = None, head: bytes = b'; filename="a.jpg"') -> bytes:
    """The part with the photo."""
    return part("photo", jpeg() if data is None else data, head)


def multipart(form_fill: FormFill, *parts: bytes) -> bytes:
    """The body of an upload to Riser_Photo, with more parts."""
    texts = part("form_fill_id", str(form_fill.id).encode()) + part("field_name", b"Riser_Photo")
    return texts + b"".join(parts) + b"--b--\r\n"


def send(device: FlaskClient, body: bytes, content_type: str = MULTIPART, announced: int | None = None) -> Any:
    """An upload of exactly these bytes."""
    length = len(body) if announced is None else announced
    return device.post(
        UPLOAD,
        input_stream=BytesIO(body),
        content_type=content_type,
        environ_overrides={"CONTENT_LENGTH": str(length)},
    )


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, json_of(answer)["error"]


class TestMissing:
    @cases("missing", ["form_fill_id", "field_name", "photo"])
    @cases("how", ["absent", "empty"])
    def test_a_part_that_is_missing_or_empty_is_400_and_named(
        self, world: World, device: FlaskClient, form_fill: FormFill, missing: str, how: str
    ) -> None:
        form: dict[str, Any] = {"form_fill_id": str(form_fill.id), "field_name": "F", "photo": (BytesIO(jpeg()), "a")}
        if how == "absent":
            del form[missing]
        else:
            form[missing] = (BytesIO(b""), "a.jpg") if missing == "photo" else ""
        answer = device.post(UPLOAD, data=form, content_type="multipart/form-data")
        assert refusal(answer) == (400, REQUIRED)
        assert json_of(answer)["code"] == "invalid"
        assert json_of(answer)["message"].startswith(f"Missing or empty: {missing}.")
        assert world.all(Attachment) == []

    def test_a_signature_without_its_part_says_so(self, device: FlaskClient, form_fill: FormFill) -> None:
        body = multipart(form_fill)
        answer = device.post(SIGNATURE, data=body, content_type=MULTIPART)
        assert refusal(answer) == (400, "Required parameters: form_fill_id, field_name, signature")


class TestBroken:
    """Each fault has a sentence of its own, and stores nothing."""

    @pytest.fixture(autouse=True)
    def nothing_is_stored(self, app: Flask, form_fill: FormFill) -> Any:
        yield
        assert files_in(app) == []

    @cases(
        "cut",
        [lambda body: body[:-20], lambda body: body[:300], lambda body: body[:100]],
    )
    def test_a_body_that_is_cut_off_is_worth_a_retry(
        self, device: FlaskClient, form_fill: FormFill, cut: Callable[[bytes], bytes]
    ) -> None:
        answer = send(device, cut(multipart(form_fill, photo())))
        assert refusal(answer) == (400, REQUIRED)
        assert json_of(answer)["message"] == "The body ends before its closing boundary. Send it again, whole."
        assert json_of(answer)["retryable"] is True

    def test_a_body_shorter_than_announced_is_worth_a_retry(self, device: FlaskClient, form_fill: FormFill) -> None:
        body = multipart(form_fill, photo())
        answer = send(device, body[:-50], announced=len(body))
        assert refusal(answer) == (400, "The body is cut off")
        assert (json_of(answer)["code"], json_of(answer)["retryable"]) == ("bad_json", True)

    @cases("body", [b"", b"no boundary", b"--c\r\n\r\n--c--\r\n"])
    def test_a_body_without_its_boundary(self, device: FlaskClient, body: bytes) -> None:
        answer = send(device, body)
        assert refusal(answer) == (400, REQUIRED)
        assert json_of(answer)["message"] == "The boundary that Content-Type names does not occur in the body."
        assert "retryable" not in json_of(answer)

    @cases(
        "content_type",
        ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary==_Part_1.2"],
    )
    def test_a_content_type_without_a_boundary_that_can_be_read(
        self, device: FlaskClient, form_fill: FormFill, content_type: str
    ) -> None:
        answer = send(device, multipart(form_fill, photo()), content_type)
        assert refusal(answer) == (400, "Invalid parameters")
        assert json_of(answer)["message"].startswith("The Content-Type has no boundary that can be read.")

    @cases("media_type", ["application/json", "text/plain", "image/jpeg", "multipart/mixed"])
    def test_a_body_of_another_kind_is_named(self, device: FlaskClient, form_fill: FormFill, media_type: str) -> None:
        answer = send(device, multipart(form_fill, photo()), f"{media_type}; boundary=b")
        assert refusal(answer) == (400, REQUIRED)
        assert json_of(answer)["message"].startswith(f"The Content-Type is '{media_type}'.")

    def test_a_part_without_a_content_disposition(self, device: FlaskClient, form_fill: FormFill) -> None:
        head = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
        answer = send(device, head + multipart(form_fill, photo()))
        assert refusal(answer) == (400, REQUIRED)
        assert "Content-Disposition" in json_of(answer)["message"]

    def test_a_part_without_a_name(self, device: FlaskClient, form_fill: FormFill) -> None:
        answer = send(device, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + multipart(form_fill, photo()))
        assert refusal(answer) == (400, "Invalid parameters")
        assert json_of(answer)["message"].startswith("A part has no name.")

    def test_too_many_parts_are_413_with_the_limit(self, device: FlaskClient, form_fill: FormFill) -> None:
        answer = send(device, multipart(form_fill, photo(), *(part(f"x{number}", b"") for number in range(1000))))
        assert refusal(answer) == (413, "Too many parts")
        assert json_of(answer)["limit"] == 16

    @cases("size", [70_000, 600_000])
    def test_a_long_text_is_413_with_the_limit(self, device: FlaskClient, form_fill: FormFill, size: int) -> None:
        answer = send(device, multipart(form_fill, photo(), part("note", b"x" * size)))
        assert refusal(answer) == (413, "A part is too large")
        assert json_of(answer)["limit"] == 65536

    def test_a_long_head_of_a_part_is_413(self, device: FlaskClient, form_fill: FormFill) -> None:
        answer = send(device, multipart(form_fill, part("note", b"", b'; x="' + b"x" * 300_000 + b'"'), photo()))
        assert refusal(answer) == (413, "A part is too large")

    def test_any_damage_is_an_answer_and_no_failure(self, device: FlaskClient, form_fill: FormFill) -> None:
        chance = random.Random(4)
        body = multipart(form_fill, photo(b"no image"))
        for _ in range(100):
            damaged = bytearray(body)
            for _ in range(chance.randint(1, 8)):
                damaged[chance.randrange(len(body))] = chance.choice(b'\r\n-b;="\\\x00\xff:')
            assert send(device, bytes(damaged)).status_code in (400, 404, 415)


class TestOneFile:
    @cases(
        "others",
        [
            [photo(), photo(jpeg(colour="green"))],
            [photo(), part("photo", jpeg(colour="green"))],
            [photo(), part("signature", png(), b'; filename="s.png"')],
            [part("file", jpeg(), b'; filename="a.jpg"')],
            [photo(), part("note", b"text", b'; filename="note.txt"')],
        ],
    )
    def test_more_than_one_file_or_one_of_another_name_is_400_and_stores_none(
        self, app: Flask, world: World, device: FlaskClient, form_fill: FormFill, others: list[bytes]
    ) -> None:
        answer = send(device, multipart(form_fill, *others))
        assert refusal(answer) == (400, "Send one photo a request")
        assert world.all(Attachment) == []
        assert files_in(app) == []

    @pytest.mark.parametrize("size", [(64, 48), (900, 700)])
    def test_a_part_without_a_filename_is_a_file(
        self, app: Flask, device: FlaskClient, form_fill: FormFill, size: tuple[int, int]
    ) -> None:
        data = png(size) + bytes(200_000)
        answer = send(device, multipart(form_fill, photo(data, b"")))
        assert answer.status_code == 200, answer.json
        assert json_of(answer)["data"]["filename"] is None
        assert [file.read_bytes() for file in files_in(app)] == [data]

    @cases("name", ["form_fill_id", "field_name", "local_id"])
    def test_a_text_that_came_twice_is_400(self, device: FlaskClient, form_fill: FormFill, name: str) -> None:
        twice = part("local_id", b"7") + part(name, b"7")
        answer = send(device, multipart(form_fill, twice, photo()))
        assert refusal(answer) == (400, "Invalid parameters")
        assert repr(name) in json_of(answer)["message"]

    def test_a_text_that_nobody_knows_may_come_twice(self, device: FlaskClient, form_fill: FormFill) -> None:
        twice = 2 * part("exif", b"7")
        assert send(device, multipart(form_fill, twice, photo())).status_code == 200


class TestPieces:
    """A body may arrive in pieces of any size, and a boundary may lie across two of them."""

    @pytest.fixture
    def cut_at(self, monkeypatch: pytest.MonkeyPatch) -> CutAt:
        """Has the body come in a piece of so many bytes, and then another."""

        def cut(place: int) -> None:
            def cut_pieces(request: Request, limit: int) -> Iterator[bytes]:
                body = read_body(request, limit)
                yield from (body[:place], body[place:])

            monkeypatch.setattr(multipart_module, "body_pieces", cut_pieces)

        return cut

    @cases("blanks", [b"", b" \t "])
    @cases("size", [(64, 48), (500, 300)])
    def test_a_photo_is_stored_as_sent_wherever_the_body_is_cut(
        self, device: FlaskClient, form_fill: FormFill, cut_at: CutAt, size: tuple[int, int], blanks: bytes
    ) -> None:
        data = png(size) + b"\r\n--\r"
        body = multipart(form_fill, photo(data)).replace(b"--b--", b"--b" + b"--" + blanks)
        body = body.replace(b"--b\r\n", b"--b" + blanks + b"\r\n")
        for place in range(body.index(data) - 5, len(body)) if len(data) < 1000 else range(len(body) - 30, len(body)):
            cut_at(place)
            answer = send(device, body)
            assert answer.status_code == 200, (place, answer.json)
            assert answer.json["data"]["sha256"] == sha256(data).hexdigest(), place

    @cases("mark", [b"--b", b"\r\n--", b"\r\n--bb", b"\n--b-x", b"\r\n--b x\r\n"])
    def test_what_only_looks_like_a_boundary_is_a_part_of_the_photo(
        self, device: FlaskClient, form_fill: FormFill, cut_at: CutAt, mark: bytes
    ) -> None:
        data = png() + mark + bytes(40)
        body = multipart(form_fill, photo(data))
        begin = body.index(png()) + len(png())
        for place in range(begin - 3, begin + len(mark) + 3):
            cut_at(place)
            answer = send(device, body)
            assert answer.status_code == 200, (place, answer.json)
            assert answer.json["data"]["sha256"] == sha256(data).hexdigest(), place

    def test_the_parser_reads_little_more_than_the_ends_of_a_large_photo(
        self, device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rest is written as it arrives."""
        read: list[int] = []
        real = Decoder.receive_data

        def receive_data(decoder: Decoder, piece: bytes | None) -> None:
            read.append(len(piece or b""))
            real(decoder, piece)

        monkeypatch.setattr(Decoder, "receive_data", receive_data)
        answer = send(device, multipart(form_fill, photo(png().ljust(3_000_000, b"\r"))))
        assert answer.status_code == 200, answer.json
        assert sum(read) < 300_000

    def test_so_is_a_text(self, device: FlaskClient, form_fill: FormFill, cut_at: CutAt) -> None:
        body = photo() + part("field_name", b"F") + part("form_fill_id", str(form_fill.id).encode()) + b"--b--\r\n"
        body = body.replace(b"--b\r\n", b"--b \t\r\n")
        for place in range(body.index(b'"field_name"'), len(body)):
            cut_at(place)
            answer = send(device, body)
            assert answer.status_code == 200, (place, answer.json)
            assert answer.json["data"]["field_name"] == "F", place


class Body(BytesIO):
    """A body that calls somebody when the server asks for more of it."""

    def __init__(self, data: bytes, look: Callable[[], None]) -> None:
        super().__init__(data)
        self.look = look

    def read(self, size: int | None = -1, /) -> bytes:
        self.look()
        return super().read(size)

    def readinto(self, buffer: Any, /) -> int:
        self.look()
        return super().readinto(buffer)


@pytest.mark.parametrize("sent", ["whole", "cut off", "too large", "no image"])
def test_a_photo_is_written_beside_its_place_as_it_arrives_and_what_is_refused_leaves_nothing(
    app: Flask, device: FlaskClient, form_fill: FormFill, sent: str
) -> None:
    found: list[Path] = []
    sizes: list[int] = []

    def look() -> None:
        for path in files_in(app):
            found.append(path)
            sizes.append(path.stat().st_size)

    data = (b"no image" if sent == "no image" else jpeg()).ljust(11 * 2**20 if sent == "too large" else 2**20, b"\0")
    body = multipart(form_fill, photo(data))
    length = len(body) + (sent == "cut off")
    answer = device.post(
        UPLOAD,
        input_stream=Body(body, look),
        content_type=MULTIPART,
        # Without a length nothing is known before the body has arrived.
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        if sent == "too large"
        else {"CONTENT_LENGTH": str(length)},
    )
    assert answer.status_code == {"whole": 200, "cut off": 400, "too large": 413, "no image": 415}[sent]
    drafts = {path for path in found if path.suffix == ".tmp"}
    assert len(drafts) == 1, "it is written while it arrives"
    assert max(sizes) > 200_000
    if sent == "whole":
        (stored,) = files_in(app)
        assert stored.read_bytes() == data
        assert drafts.pop().parent == stored.parent
    else:
        assert files_in(app) == []


class TestTexts:
    def upload(self, device: FlaskClient, form_fill: FormFill, *parts: bytes) -> Any:
        return send(device, part("form_fill_id", str(form_fill.id).encode()) + b"".join(parts) + photo() + b"--b--\r\n")

    @cases("name", [b"Gr\xf6\xdfe", b"Gr\xf6\xe4e", "Größe".encode()[:-2]])
    def test_bytes_that_are_no_utf_8_are_400_and_never_replaced(
        self, world: World, device: FlaskClient, form_fill: FormFill, name: bytes
    ) -> None:
        answer = self.upload(device, form_fill, part("field_name", name))
        assert (answer.status_code, answer.json["code"]) == (400, "invalid")
        assert set(answer.json["details"]) == {"field_name"}
        assert world.all(Attachment) == []

    @cases("name", ["form_fill_id", "local_id"])
    def test_so_are_those_of_the_other_texts(self, device: FlaskClient, form_fill: FormFill, name: str) -> None:
        form = {"form_fill_id": str(form_fill.id).encode(), "field_name": b"F", name: b"1\xff"}
        answer = send(device, b"".join(part(*each) for each in form.items()) + photo() + b"--b--\r\n")
        assert (answer.status_code, set(answer.json["details"])) == (400, {name})

    def test_a_replacement_character_that_was_sent_is_kept(self, device: FlaskClient, form_fill: FormFill) -> None:
        answer = self.upload(device, form_fill, part("field_name", "Gr\ufffde".encode()))
        assert answer.json["data"]["field_name"] == "Gr\ufffde"

    @pytest.mark.parametrize(
        ("charset", "name"),
        [("iso-8859-1", b"Gr\xf6\xdfe"), ("Windows-1252", b"Gr\xf6\xdfe"), ("UTF-16LE", "Größe".encode("utf-16le"))],
    )
    @pytest.mark.parametrize("place", ["own", "first", "last"])
    def test_a_charset_is_respected_whether_the_part_names_it_or_another_part_does(
        self, device: FlaskClient, form_fill: FormFill, charset: str, name: bytes, place: str
    ) -> None:
        own = f"\r\nContent-Type: text/plain; charset={charset}".encode() if place == "own" else b""
        parts = [part("field_name", name, own)]
        if place != "own":
            id_part = part("form_fill_id", str(form_fill.id).encode(), b"\r\nContent-Type: text/plain; charset=utf-8")
            parts += [id_part]
            parts.insert(0 if place == "first" else 2, part("_charset_", charset.encode()))
            answer = send(device, b"".join(parts) + photo() + b"--b--\r\n")
        else:
            answer = self.upload(device, form_fill, *parts)
        assert answer.json["data"]["field_name"] == "Größe"

    @cases("charset", ["punycode", "rot13", "windows-9999", "no such", "\N{SNOWMAN}"])
    def test_a_charset_that_is_unknown_is_400_and_named(
        self, device: FlaskClient, form_fill: FormFill, charset: str
    ) -> None:
        answer = self.upload(device, form_fill, part("_charset_", charset.encode()), part("field_name", b"F"))
        assert answer.status_code == 400
        assert answer.json["details"]

    def test_a_blank_field_name_is_taken_as_in_data(self, device: FlaskClient, form_fill: FormFill) -> None:
        answer = self.upload(device, form_fill, part("field_name", "\u2028".encode()))
        assert answer.json["data"]["field_name"] == "\u2028"


class TestFileNames:
    @pytest.mark.parametrize(
        ("head", "name"),
        [
            (b'; filename="Gr\xf6\xdfe.jpg"', "Gr\ufffd\ufffde.jpg"),
            (b"; filename*=UTF-8''Pr%C3%BCfung.png; filename=\"Prufung.png\"", "Prüfung.png"),
            (b"; filename=\"Prufung.png\"; filename*=UTF-8''Pr%C3%BCfung.png", "Prüfung.png"),
            (b'; filename*0="Pruef"; filename*1="ung.png"', "Pruefung.png"),
            (b'; filename="C:\\Users\\me\\a.png"', "a.png"),
            (b'; filename="C:\\\\Users\\\\me\\\\a.png"', "a.png"),
            (b'; filename="/tmp/a.png"', "a.png"),
            (b'; filename="a%22b%0D%0Ac.png"', 'a"bc.png'),
            (b'; filename="a\\"b.png"', 'a"b.png'),
            (b'; filename="a; filename=b.png"', "a; filename=b.png"),
            (b"; filename=a.png", "a.png"),
            (b'; filename=""', None),
        ],
    )
    def test_a_file_name_is_shown_as_it_was_meant(
        self, device: FlaskClient, form_fill: FormFill, head: bytes, name: str | None
    ) -> None:
        answer = send(device, multipart(form_fill, photo(head=head)))
        assert answer.status_code == 200, answer.json
        assert answer.json["data"]["filename"] == name

    @pytest.mark.parametrize("filename", ["../../etc/pass\u202ewd.jpg", "..\\..\\etc\\passwd.jpg"])
    def test_a_hostile_file_name_is_for_display_only(
        self, app: Flask, device: FlaskClient, form_fill: FormFill, filename: str
    ) -> None:
        answer = upload(device, form_fill, filename=filename)
        assert answer.json["data"]["filename"] == "passwd.jpg"
        root = app.extensions["fieldpost.storage"].root
        assert all(each.is_relative_to(root) for each in files_in(app))
