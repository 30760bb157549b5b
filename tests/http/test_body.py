"""The body reader: the bodies that it accepts and refuses, as functions and through HTTP (traps 3 to 8)."""

from __future__ import annotations

import gzip
import json
import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from flask import Flask, Request
from flask.testing import FlaskClient
from marshmallow import ValidationError
from sqlalchemy import select
from werkzeug.test import EnvironBuilder

from app.config import Settings
from app.core.database.engine import db
from app.core.values import MAX_INTEGER
from app.errors import BadJsonError, MediaTypeError, TooLargeError
from app.http.body import (
    SlowBodyError,
    body_pieces,
    decode,
    details_of,
    find_unstorable,
    read_body,
)
from app.http.json_text import needs_check, parse_json
from app.models import FormFill, Inspection, LedgerOperation, SetAside, User
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases

LIMIT = 4096
SYNC = "/api/v1/sync"


def nested(depth: int) -> bytes:
    """Arrays in arrays, `depth` of them."""
    return b"[" * depth + b"]" * depth


# Bytes to a decoded body


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_body_without_encoding_passes_as_it_is(encoding: str) -> None:
    assert decode(b"[1]", encoding, LIMIT) == b"[1]"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
def test_a_gzip_body_is_decoded(encoding: str) -> None:
    assert decode(gzip.compress(b"[1]"), encoding, LIMIT) == b"[1]"


def test_gzip_members_follow_each_other() -> None:
    """RFC 1952, section 2.2: a file is a series of members."""
    assert decode(gzip.compress(b"[1,") + gzip.compress(b"2]"), "gzip", LIMIT) == b"[1,2]"


def test_the_limit_holds_for_what_comes_out() -> None:
    assert len(decode(gzip.compress(b" " * LIMIT), "gzip", LIMIT)) == LIMIT
    with pytest.raises(TooLargeError) as caught:
        decode(gzip.compress(b" " * (LIMIT + 1)), "gzip", LIMIT)
    assert caught.value.extra == {"limit": LIMIT}


def test_the_limit_holds_for_all_members_together() -> None:
    with pytest.raises(TooLargeError):
        decode(gzip.compress(b" " * LIMIT) + gzip.compress(b" "), "gzip", LIMIT)


def test_a_bomb_takes_no_memory() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            decode(bomb, "gzip", LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_of_empty_members_takes_no_time() -> None:
    bomb = gzip.compress(b"") * 50_000
    start = time.monotonic()
    with pytest.raises(BadJsonError):
        decode(bomb, "gzip", 8 * 1024 * 1024)
    assert time.monotonic() - start < 1


@cases(
    "body",
    [
        b"[1]",
        gzip.compress(b"[1]")[:-1],
        gzip.compress(b"[1]")[:8],
        gzip.compress(b"[1]") + b"more",
        gzip.compress(b"[1]")[:-8] + b"\0" * 8,
        gzip.compress(b"[1]") + gzip.compress(b"[1]")[:5],
    ],
)
def test_what_is_no_whole_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BadJsonError):
        decode(body, "gzip", LIMIT)


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip, identity"])
def test_another_encoding_is_unsupported(encoding: str) -> None:
    with pytest.raises(MediaTypeError):
        decode(gzip.compress(b"[1]"), encoding, LIMIT)


# A body to a value


@pytest.mark.parametrize("more", ["", "12345678901234567890"], ids=["orjson", "json"])
class TestBothReaders:
    """Two readers take turns (a suspicious text goes through the slower one): they must refuse the same."""

    @pytest.fixture
    def parse(self, more: str) -> Callable[[bytes], Any]:
        # A text that is suspect only because of a number elsewhere.
        def parse(text: bytes) -> Any:
            value, _ = parse_json(b'[%b, "%b"]' % (text, more.encode()), depth=33)
            return value[0]

        return parse

    @cases("text", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf"])
    def test_a_number_that_is_none_is_no_json(self, parse: Callable[[bytes], Any], text: bytes) -> None:
        with pytest.raises(BadJsonError):
            parse(text)

    @cases(
        "text", [b"", b"{", b"'a'", b"[1,]", b"{1: 2}", b"01", b"+1", b".5", b"tru", b'"\t"', b'"\\x"', b"1 2", b"//"]
    )
    def test_what_is_no_json_is_refused(self, parse: Callable[[bytes], Any], text: bytes) -> None:
        with pytest.raises(BadJsonError):
            parse(text)

    @cases("text", [b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"'])
    def test_what_is_no_utf8_is_refused_without_quoting_it(self, parse: Callable[[bytes], Any], text: bytes) -> None:
        with pytest.raises(BadJsonError) as caught:
            parse(text)
        assert "xff" not in caught.value.message

    def test_the_last_of_two_equal_keys_wins(self, parse: Callable[[bytes], Any]) -> None:
        assert parse(b'{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}

    @cases(
        "text",
        [
            b'{"a":1,"b":2,"a":3}',
            b'{"b":{},"a":1,"a":1}',
            b'{"a" : 1, "a"\r\n\t: 3}',
            b'{"a":1,"\\u0061":3}',
            b'{"a":{"a":1},"a":3}',
        ],
    )
    def test_a_key_that_comes_twice_is_found(self, parse: Callable[[bytes], Any], text: bytes) -> None:
        assert find_unstorable(parse(text)) == "a: the key comes twice. Send it once."

    @cases(
        "text",
        [b'{"a":{"b":1,"b":2}}', b'{"a":{"a":{"a":1}}}', b'{"a":"\\"b\\":1","b":":","c":"\\\\"}', b'[":",":"]'],
    )
    def test_a_key_of_which_there_is_one_in_an_object_refuses_nothing(
        self, parse: Callable[[bytes], Any], text: bytes
    ) -> None:
        assert find_unstorable(parse(text)) is None

    @cases("text", [b"1e20", b"1e300", b"-0.0", b"0.1", b"5e-324", b"123456789012345"])
    def test_numbers_keep_their_value_and_kind(self, parse: Callable[[bytes], Any], text: bytes) -> None:
        assert repr(parse(text)) == repr(json.loads(text))

    def test_text_comes_through_unchanged(self, parse: Callable[[bytes], Any]) -> None:
        assert parse('"é \\u00e9 \\ud83d\\ude00 😀 \\n"'.encode()) == "é é 😀 😀 \n"

    def test_depth_32_passes_and_33_does_not(self, parse: Callable[[bytes], Any]) -> None:
        assert find_unstorable(parse(nested(32)), depth=32) is None
        reason = find_unstorable(parse(nested(33)), depth=32)
        assert reason is not None
        assert "nested too deep" in reason

    @pytest.mark.parametrize("depth", [1000, 1025, 100_000])
    def test_extreme_nesting_is_read_without_recursion(self, parse: Callable[[bytes], Any], depth: int) -> None:
        assert find_unstorable(parse(nested(depth)), depth=32) is not None
        with pytest.raises(BadJsonError):
            parse(b"[" * depth)

    @cases("number", [b"1e999", b"-1e999", b"9" * 400 + b".0", b"9" * 5000, b"-" + b"9" * 5000])
    def test_a_number_that_cannot_be_kept_is_read_and_found(self, parse: Callable[[bytes], Any], number: bytes) -> None:
        reason = find_unstorable(parse(b'{"n":%b}' % number))
        assert reason is not None
        assert reason.startswith("n: ")


@pytest.mark.parametrize("number", [1, MAX_INTEGER], ids=["orjson", "json"])
def test_one_byte_order_mark_before_the_document_is_skipped(number: int) -> None:
    assert parse_json(b"\xef\xbb\xbf[%d]" % number, depth=32)[0] == [number]
    for body in (b"\xef\xbb\xbf" * 2 + b"[1]", b"[1]\xef\xbb\xbf", b"\xef\xbb\xbf", b"\xff\xfe[\0]\0"):
        with pytest.raises(BadJsonError):
            parse_json(body, depth=32)


def test_the_depth_is_measured_without_a_copy_of_the_values() -> None:
    body = b"[" + b"0," * 100_000 + b"%d]" % MAX_INTEGER
    tracemalloc.start()
    try:
        parse_json(body, depth=32)
        # The text takes one byte for each of the body, and the array four, with some more while it grows.
        assert tracemalloc.get_traced_memory()[1] < 7 * len(body)
    finally:
        tracemalloc.stop()


def test_objects_count_as_nesting_too() -> None:
    for levels, is_suspect in ((32, False), (33, True)):
        value, found = parse_json(b'{"a":' * levels + b"1" + b"}" * levels, depth=32)
        assert found is is_suspect
        assert (find_unstorable(value, depth=32) is not None) is is_suspect


@cases("inner", [b"", b'"\\u0000"'])
def test_what_is_nested_too_deep_has_no_content(inner: bytes) -> None:
    """Otherwise a value could be read that cannot be written: orjson reads 1024 levels, and writes 254."""
    for levels in (33, 100, 254, 255, 300, 900, 1024, 1500, 100_000):
        value, is_suspect = parse_json(b"[" * levels + inner + b"]" * levels, depth=32)
        assert is_suspect
        assert orjson.dumps(value) == nested(33)
        assert find_unstorable(value, depth=32) is not None


def test_large_integers_stay_exact_until_they_are_judged() -> None:
    for number in (MAX_INTEGER, 2**53, 2**63, 2**64, 10**30, -(2**64)):
        (found,), is_suspect = parse_json(json.dumps([number]).encode(), depth=32)
        assert is_suspect
        assert found == number
        assert isinstance(found, int)


def test_an_integer_of_a_million_digits_is_read_in_no_time() -> None:
    start = time.monotonic()
    parse_json(b"[" + b"9" * 1_000_000 + b"]", depth=32)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "deep",
    [
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'[{"a":["]}", ' * 3000 + b'"]"' + b"]}]" * 3000,
        b'["\\"", ' * 3000 + b"1" + b"]" * 3000,
    ],
    ids=["objects", "brackets in strings", "escapes"],
)
def test_what_stands_beside_a_deep_value_is_read(deep: bytes) -> None:
    value, is_suspect = parse_json(b'[{"before":1},%b,{"after":[%b]}, "\xc3\xa9"]' % (deep, deep), depth=4)
    assert is_suspect
    assert (value[0], list(value[2]), value[3]) == ({"before": 1}, ["after"], "é")
    assert [find_unstorable(child, depth=3) is None for child in value] == [True, False, False, True]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"[[1]," * 200_000,
        b"[" * 2000 + b'["a"],' * 200_000,
        b"[" * 2000 + b'"' + b'\\"' * 500_000,
        b"[" * 2000 + b"]" * 1999 + b"}",
        b"[" * 2000 + b"]" * 2001,
    ],
    ids=["open", "open with arrays", "arrays", "an open string", "another bracket", "one too many"],
)
def test_a_deep_text_that_is_no_json_is_refused_in_little_time(body: bytes) -> None:
    start = time.process_time()
    with pytest.raises(BadJsonError):
        parse_json(body, depth=32)
    assert time.process_time() - start < 2


# A value to a judgement


@cases(
    "value",
    [None, True, 0, MAX_INTEGER, -MAX_INTEGER, 1.5, 1e300, 1e20, "", "é😀\n\t", "\u0001", {"é": [{"": None}]}, []],
)
def test_clean_values_have_no_fault(value: Any) -> None:
    assert find_unstorable(value) is None


@cases(
    "fault",
    ["a\0", "\0", "\ud800", "a\udfffb", "\udc00\ud800", MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**64, math.inf, math.nan],
)
@cases(
    ("wrap", "path"),
    [
        (lambda each: each, "the value"),
        (lambda each: {"a": each}, "a"),
        (lambda each: {"a": [1, {"b": [each]}]}, "a[1].b[0]"),
    ],
)
def test_a_fault_is_found_and_its_place_named(fault: Any, wrap: Callable[[Any], Any], path: str) -> None:
    found = find_unstorable(wrap(fault))
    assert found is not None
    assert found.startswith(f"{path}: ")
    found.encode()  # the sentence itself can be sent


LONG_KEY = "K" * 200_000


@pytest.mark.parametrize(
    "value",
    [
        {LONG_KEY: [0] * 1000},
        {LONG_KEY: {f"{index}": 0 for index in range(1000)}},
        {LONG_KEY: [[]] * 1000},
        {"n": [0] * 100_000},
    ],
    ids=["an array", "an object", "arrays in it", "a long array"],
)
def test_the_search_for_a_fault_takes_no_memory_for_clean_values(value: Any) -> None:
    tracemalloc.start()
    try:
        assert find_unstorable(value) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_first_fault_is_named_in_the_order_of_the_document() -> None:
    found = find_unstorable({"a": [1, {"b": "\0"}], "c": "\0"})
    assert found is not None
    assert found.startswith("a[1].b: ")


@pytest.mark.parametrize("value", [{LONG_KEY: "\0"}, {LONG_KEY: {LONG_KEY: ["\0"]}}, {"\u00e9" * 1000: "\0"}])
def test_a_path_is_cut(value: Any) -> None:
    found = find_unstorable(value)
    assert found is not None
    assert len(found) < 400


@pytest.mark.parametrize("key", ["a\0", "\ud800"], ids=ascii)
def test_keys_are_looked_at_too(key: str) -> None:
    found = find_unstorable({"a": {key: 1}})
    assert found is not None
    assert found.startswith("a: a key: ")
    nested_below = find_unstorable({key: {"b": "\0"}})
    assert nested_below is not None
    nested_below.encode()


def test_whatever_has_a_fault_is_suspect() -> None:
    """`find_unstorable` runs only on suspicious texts: none may be missed."""
    for fault in ("a\0", "\ud800", "\udbff", "\udc00", "\udfff", MAX_INTEGER + 1, -MAX_INTEGER - 1):
        for text in (json.dumps(fault), json.dumps(fault).upper().replace("\\U", "\\u")):
            assert needs_check(text.encode()), text


def test_usual_texts_are_not_suspect() -> None:
    """Otherwise each batch would be looked at value by value."""
    usual = {"id": MAX_INTEGER // 10, "text": "naïve \\ \n", "key": "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"}
    assert not needs_check(json.dumps(usual).encode())


# A request to a body


def request_with(stream: Any, **headers: str) -> Request:
    builder = EnvironBuilder(method="POST", input_stream=stream, headers=[*headers.items()])
    builder.content_length = int(headers["Content_Length"]) if "Content_Length" in headers else None
    environ = builder.get_environ()
    if "Content_Length" not in headers:
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    return Request(environ)


class BrokenStream(BytesIO):
    """Some bytes, and then a WSGI server's own exception for a malformed chunk."""

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        if not piece:
            raise OSError("Invalid chunk size: b'zz'")
        return piece


def test_a_body_of_exactly_the_limit_passes(app: Flask) -> None:
    for headers in ({}, {"Content_Length": str(LIMIT)}):
        with app.app_context():
            assert len(read_body(request_with(BytesIO(b" " * LIMIT), **headers), LIMIT)) == LIMIT


def test_a_chunked_body_over_the_limit_is_too_large_and_not_read_to_its_end(app: Flask) -> None:
    stream = BytesIO(b" " * LIMIT * 100)
    with app.app_context(), pytest.raises(TooLargeError):
        read_body(request_with(stream), LIMIT)
    assert stream.tell() <= LIMIT + 1


def test_a_declared_length_over_the_limit_is_refused_before_it_is_read(app: Flask) -> None:
    stream = BytesIO(b" " * (LIMIT + 1))
    with app.app_context(), pytest.raises(TooLargeError):
        read_body(request_with(stream, Content_Length=str(LIMIT + 1)), LIMIT)
    assert stream.tell() == 0


@pytest.mark.parametrize(("stream", "headers"), [(BytesIO, {"Content_Length": str(LIMIT)}), (BrokenStream, {})])
def test_a_body_whose_client_was_given_up_is_too_slow_after_the_bytes_that_came(
    app: Flask, stream: type[BytesIO], headers: dict[str, str]
) -> None:
    request = request_with(stream(b'{"sync_items":['), **headers)
    request.environ["gunicorn.socket"] = SimpleNamespace(is_too_slow=True)
    with app.app_context():
        pieces = body_pieces(request, LIMIT)
        assert next(pieces) == b'{"sync_items":['
        with pytest.raises(SlowBodyError):
            next(pieces)


def test_a_body_whose_memory_others_needed_is_sent_again_later(app: Flask) -> None:
    request = request_with(BytesIO(b'{"sync_items":['), Content_Length=str(LIMIT))
    request.environ["gunicorn.socket"] = SimpleNamespace(is_too_slow=True, is_crowded_out=True)
    with app.app_context(), pytest.raises(SlowBodyError) as caught:
        read_body(request, LIMIT)
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (503, "try_again", True)
    assert caught.value.headers == {"Retry-After": "5"}


def test_no_connection_to_the_database_is_held_while_a_body_arrives(app: Flask) -> None:
    counts: list[int] = []

    class Watching(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            counts.append(pool.checkedout())
            return super().read(size)

    with app.app_context():
        pool: Any = db.engine.pool
        db.session.scalar(select(User.id).limit(1))
        assert pool.checkedout() == 1
        read_body(request_with(Watching(b"{}")), LIMIT)
    assert set(counts) == {0}


def test_a_broken_chunk_is_a_bad_body(app: Flask) -> None:
    with app.app_context(), pytest.raises(BadJsonError):
        read_body(request_with(BrokenStream(b'{"sync_items":[')), LIMIT)


# Through HTTP


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "FIELDPOST_MAX_BATCH_BYTES": str(LIMIT), "FIELDPOST_MAX_BATCH_ITEMS": "3"}


@pytest.fixture
def form_fill(world: World) -> FormFill:
    return world.form_fill(world.inspection(world.user("owner@example.com", "user"), world.user()))


@pytest.fixture
def device(world: World, form_fill: FormFill, sign_in: SignIn) -> FlaskClient:
    return sign_in(next(each for each in world.all(type(world.user("x@example.com"))) if each.role == "technician"))


@pytest.fixture
def batch(form_fill: FormFill) -> bytes:
    """A batch that would be applied."""
    item = {"type": "form_fill", "local_id": "a", "data": {"id": form_fill.id, "changes": {"a": 1}}}
    return json.dumps({"sync_items": [item]}).encode()


def post(client: FlaskClient, body: bytes, content_type: str = "application/json", **more: Any) -> Any:
    return client.post(SYNC, data=body, content_type=content_type, **more)


#: These bodies are refused before a unit of work begins, so that the database plays no part.
before_the_database = pytest.mark.database("sqlite")


def assert_refused(world: World, answer: Any, status: int, code: str) -> dict[str, Any]:
    """The one JSON error, and nothing of the batch applied."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.json
    assert answer.json.keys() >= {"success", "error", "code", "message", "request_id"}
    assert answer.json["success"] is False
    assert all(each.door != "sync" for each in world.all(LedgerOperation))
    found: dict[str, Any] = answer.json
    return found


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/x+json"])
def test_a_batch_is_taken_plain_and_as_gzip(device: FlaskClient, batch: bytes, content_type: str) -> None:
    assert len(post(device, batch, content_type).json["results"]["success"]) == 1
    packed = post(device, gzip.compress(batch), content_type, headers={"Content-Encoding": "gzip"})
    assert packed.json["results"]["success"][0]["replayed"] is True


@before_the_database
@cases("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_another_media_type_is_415(world: World, device: FlaskClient, batch: bytes, content_type: str) -> None:
    assert_refused(world, post(device, batch, content_type), 415, "unsupported_media_type")


@before_the_database
def test_another_encoding_is_415(world: World, device: FlaskClient, batch: bytes) -> None:
    answer = post(device, batch, headers={"Content-Encoding": "br"})
    assert_refused(world, answer, 415, "unsupported_media_type")


@before_the_database
@cases("body", [b"", b"{", b"\xff", b"NaN", b"[" * 1500])
def test_what_is_no_json_is_400(world: World, device: FlaskClient, body: bytes) -> None:
    assert_refused(world, post(device, body), 400, "bad_json")


@before_the_database
@cases(
    "body",
    [b"[]", b"{}", b"null", b'"a"', b'{"sync_items": {}}', b'{"sync_items": null}', b"1e999", nested(33), nested(1500)],
)
def test_json_that_is_no_batch_is_an_invalid_envelope(world: World, device: FlaskClient, body: bytes) -> None:
    assert_refused(world, post(device, body), 400, "invalid_envelope")


@before_the_database
def test_a_gzip_that_is_none_is_400(world: World, device: FlaskClient, batch: bytes) -> None:
    for body in (batch, gzip.compress(batch)[:-1], gzip.compress(batch) + b"x"):
        assert_refused(world, post(device, body, headers={"Content-Encoding": "gzip"}), 400, "bad_json")


@before_the_database
def test_a_body_over_the_limit_is_413_with_the_limit(world: World, device: FlaskClient, batch: bytes) -> None:
    body = batch + b" " * LIMIT
    assert assert_refused(world, post(device, body), 413, "too_large")["limit"] == LIMIT
    packed = post(device, gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert assert_refused(world, packed, 413, "too_large")["limit"] == LIMIT


@before_the_database
def test_a_chunked_body_over_the_limit_is_413(world: World, device: FlaskClient, batch: bytes) -> None:
    # Cut at the limit, it would still be a whole batch: the rest is blanks.
    answer = device.post(
        SYNC,
        input_stream=BytesIO(batch + b" " * LIMIT),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert assert_refused(world, answer, 413, "too_large")["limit"] == LIMIT


@before_the_database
def test_a_body_shorter_than_declared_is_400(world: World, device: FlaskClient, batch: bytes) -> None:
    answer = device.post(
        SYNC,
        input_stream=BytesIO(batch),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(len(batch) + 1)},
    )
    assert answer.status_code == 400
    assert_refused(world, answer, 400, json_of(answer)["code"])


@before_the_database
def test_a_malformed_chunk_is_400(world: World, device: FlaskClient, batch: bytes) -> None:
    answer = device.post(
        SYNC,
        input_stream=BrokenStream(batch),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert_refused(world, answer, 400, "bad_json")


@before_the_database
def test_too_many_items_are_413_with_the_limit(world: World, device: FlaskClient, batch: bytes) -> None:
    items = json.loads(batch)["sync_items"] * 4
    answer = post(device, json.dumps({"sync_items": items}).encode())
    assert assert_refused(world, answer, 413, "too_many_items")["limit"] == 3
    assert len(post(device, json.dumps({"sync_items": items[:3]}).encode()).json["results"]["success"]) == 3


def test_the_default_limits_are_those_of_the_contract() -> None:
    assert (Settings.max_batch_items, Settings.max_batch_bytes, Settings.max_json_depth) == (1000, 8 * 1024 * 1024, 32)
    assert Settings.max_public_bytes == 8 * 1024


def test_a_batch_with_a_byte_order_mark_is_taken(device: FlaskClient, batch: bytes) -> None:
    assert len(post(device, b"\xef\xbb\xbf" + batch).json["results"]["success"]) == 1


def test_a_value_that_cannot_be_kept_is_refused_for_its_item_only(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def item(local_id: str, value: bytes) -> bytes:
        parts = (local_id.encode(), form_fill.id, value)
        return b'{"type":"form_fill","local_id":"%b","data":{"id":%d,"changes":{"a":%b}}}' % parts

    numbers = (b"9007199254740992", b"-9007199254740992", b"18446744073709551616", b"9" * 99, b"1e999", b"-1e999")
    for bad in (b'"\\u0000"', b'"\\ud800"', *numbers, *map(nested, (28, 253, 300, 900, 1500))):
        body = b'{"sync_items":[%b]}' % b",".join((item("good", b"1"), item("bad", bad), item("more", b"2")))
        results = post(device, body).json["results"]
        assert [entry["local_id"] for entry in results["success"]] == ["good", "more"]
        (entry,) = results["errors"]
        assert (entry["local_id"], entry["code"], entry["retryable"]) == ("bad", "invalid", False)
        assert entry["message"].startswith("data.changes.a")


def test_a_value_beside_the_items_refuses_nothing(device: FlaskClient, batch: bytes) -> None:
    for bad in (b'"\\u0000"', b"1e999", nested(1500)):
        body = b'{"more":%b,%b' % (bad, batch[1:])
        assert len(post(device, body).json["results"]["success"]) == 1


# PostgreSQL answers the whole numbers up to 2**64 as integers, although they were sent as floats.
@pytest.mark.parametrize(
    "number", [b"1e16", b"-1e18", b"1.8e19", b"1e20", b"1e300", b"9007199254740991", b"0.1", b"123456789012345.5"]
)
def test_numbers_are_stored_and_answered_as_sent(
    world: World, device: FlaskClient, form_fill: FormFill, number: bytes
) -> None:
    body = b'{"sync_items":[{"type":"form_fill","local_id":"n","data":{"id":%d,"data":{"n":%b}}}]}'
    (entry,) = post(device, body % (form_fill.id, number)).json["results"]["success"]
    assert repr(entry["data"]["n"]) == repr(world.get(FormFill, form_fill.id).data["n"]) == repr(json.loads(number))


@pytest.mark.parametrize("name", ["type", "local_id", "data", "of_the_app"])
def test_an_item_that_has_a_key_of_its_own_twice_is_invalid(
    world: World, device: FlaskClient, batch: bytes, name: str
) -> None:
    (good,) = json.loads(batch)["sync_items"]
    bad = json.dumps({"of_the_app": 1, **good, "local_id": "b"}).encode()
    bad = b'{"%b": {"id": 1, "changes": {"lost": 1}}, %b' % (name.encode(), bad[1:])
    body = b'{"sync_items": [%b, %b]}' % (bad, json.dumps(good).encode())
    results = post(device, body).json["results"]
    assert [(entry["local_id"], entry["code"], entry["retryable"]) for entry in results["errors"]] == [
        ("b", "invalid", False)
    ]
    assert results["errors"][0]["message"] == f"{name}: the key comes twice. Send it once."
    (row,) = world.all(SetAside)
    assert row.item is None, "it cannot be kept whole, and nobody shall apply a half of it"
    assert [entry["local_id"] for entry in results["success"]] == ["a"]


def test_a_body_that_has_a_key_twice_is_refused_whole(
    world: World, device: FlaskClient, office: FlaskClient, batch: bytes, form_fill: FormFill
) -> None:
    for body in (b'%b,"sync_items":[]}' % batch[:-1], b'{"device":{},"device":null,%b' % batch[1:]):
        refusal = assert_refused(world, post(device, body), 400, "bad_json")
        assert refusal["error"] == "A key comes twice"
    assert world.get(FormFill, form_fill.id).data == {}
    address = f"/api/v1/inspections/{form_fill.inspection_id}"
    answer = office.patch(address, data=b'{"notes":"a","notes":"b"}', content_type="application/json")
    assert_refused(world, answer, 400, "bad_json")
    assert world.get(Inspection, form_fill.inspection_id).notes is None


def test_of_two_equal_keys_in_form_data_the_last_counts(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    body = b'{"sync_items":[{"type":"form_fill","local_id":"n","data":{"id":%d,"changes":{"a":1,"a":2}}}]}'
    assert len(post(device, body % form_fill.id).json["results"]["success"]) == 1
    assert world.get(FormFill, form_fill.id).data == {"a": 2}


def test_details_name_twenty_keys_and_cut_them() -> None:
    messages = {f"{index:05}" + "k" * 1000: ["Unknown field."] for index in range(1000)}
    details = details_of(ValidationError(messages))
    assert list(details) == [f"{index:05}" + "k" * 95 for index in range(20)]


def test_details_count_the_keys_of_all_levels() -> None:
    details = details_of(ValidationError({"rows": {index: {"a": ["No."], "b": ["No."]} for index in range(1000)}}))
    assert details == {"rows": {str(index): {"a": ["No."], "b": ["No."]} for index in range(6)} | {"6": {}}}


def test_details_with_few_keys_are_whole() -> None:
    messages = {"a": ["No."], "b": {0: {"c": ["No.", "Never."]}}, "_schema": ["No."]}
    assert details_of(ValidationError(messages)) == messages | {"b": {"0": {"c": ["No.", "Never."]}}}


def test_a_long_key_above_a_long_array_takes_no_memory(app: Flask, device: FlaskClient) -> None:
    """The path of every value was built: 210 kB of JSON took 1.4 GB."""
    item = b'{"%b":[%b],"n":1234567890123456}' % (b"K" * 100_000, b"0," * 1000 + b"0")
    body = b'{"sync_items":[%b]}' % item
    app.extensions["fieldpost.settings"] = replace(app.extensions["fieldpost.settings"], max_batch_bytes=1_000_000)
    tracemalloc.start()
    try:
        answer = post(device, gzip.compress(body), headers={"Content-Encoding": "gzip"})
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert answer.json["results"]["errors"][0]["code"] == "invalid"


def test_signing_in_reads_its_body_through_the_gate_too(world: World, app: Flask) -> None:
    client = app.test_client()
    email = b'{"email":%b,"password":"x"}'
    faults = [email % value for value in (b'"\\u0000"', b"1e999", nested(32), nested(1500), b"9" * 99)]
    for body, status in ((b"{", 400), *((fault, 400) for fault in faults), (b" " * (LIMIT + 1), 413)):
        answer = client.post("/api/v1/auth/login", data=body, content_type="application/json")
        assert answer.status_code == status
        assert json_of(answer)["success"] is False
