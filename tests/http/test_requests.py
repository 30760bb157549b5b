"""Forms, queries, lists in headers and tokens: what strangers send of them takes little for its bytes."""

from __future__ import annotations

import tracemalloc
from base64 import urlsafe_b64encode
from collections.abc import Callable
from io import BytesIO
from urllib.parse import parse_qsl

import pytest
from flask import Flask, Request, request
from hypothesis import example, given
from hypothesis import strategies as st

from app.http.requests import ENCODED_FORM, MOST_CHOICES, MOST_FIELDS, MOST_PARTS, NO_ESCAPE, FormParser, read_fields
from app.models import User
from tests.conftest import World
from tests.pages.browser import signed_in_browser
from tests.support.answers import json_of
from tests.support.cases import cases

PIECES = [
    "%41",
    "%c3%A9",
    "%C3",
    "%3D",
    "%25",
    "%0A",
    "%00",
    "%",
    "%4",
    "%zz",
    "%\n",
    "a",
    "é",
    "&",
    "=",
    "+",
    "_",
    " ",
]


@pytest.fixture
def user(world: World) -> User:
    return world.user()


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("a=%3D41&b==41%0D%0A=\r\n&&=&c")
def test_fields_are_those_of_the_standard_library(query: str) -> None:
    fields = read_fields(NO_ESCAPE.sub(b"%25", query.encode()))
    assert list(fields) == parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote")


@pytest.mark.parametrize("piece", [b"%41", b"a%41", b"%e2%82%ac", b"+", b"=", b"%3D"])
def test_escapes_take_little_memory_for_their_bytes(piece: bytes) -> None:
    form = b"a=" + piece * 50_000
    tracemalloc.start()
    try:
        FormParser().parse(BytesIO(form), ENCODED_FORM, len(form))
        assert tracemalloc.get_traced_memory()[1] < 12 * len(form)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [MOST_FIELDS, MOST_FIELDS + 1])
def test_a_form_has_so_many_fields_at_most(app: Flask, user: User, count: int) -> None:
    client = signed_in_browser(app, user).client
    answer = client.post("/my-account/password", data=b"&".join([b"a="] * count), content_type=ENCODED_FORM)
    assert answer.status_code == (413 if count > MOST_FIELDS else 403)


def test_a_form_with_an_escape_that_is_none_is_refused(app: Flask, user: User) -> None:
    answer = app.test_client().post("/sign-in", data=b"email=100%", content_type=ENCODED_FORM)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "percent sign" in answer.text


def test_a_percent_sign_that_was_typed_into_an_address_is_one(app: Flask) -> None:
    with app.test_request_context("/?q=100%&p=%zz+%41"):
        assert request.args.to_dict() == {"q": "100%", "p": "%zz A"}


@cases("name", ["If-None-Match", "Accept", "Accept-Language", "X-Other", "Content-Type"])
@cases("separator", [",", ";"])
def test_a_header_of_too_many_parts_is_431(app: Flask, name: str, separator: str) -> None:
    for path, mimetype in (("/api/v1/", "application/json"), ("/page-files/page.css", "text/html")):
        answer = app.test_client().get(path, headers={name: separator.join(["a"] * (MOST_PARTS + 1))})
        assert (answer.status_code, answer.mimetype) == (431, mimetype)
    client = app.test_client(use_cookies=False)
    assert json_of(client.get("/api/v1/", headers={name: "a," * MOST_PARTS}))["code"] == "headers_too_large"


def test_as_many_cookies_as_a_browser_keeps_are_read(app: Flask, user: User) -> None:
    browser = signed_in_browser(app, user)
    for index in range(180):
        browser.client.set_cookie(f"a{index}", "1")
    assert browser.get("/my-account").status_code == 200


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("Accept-Language", lambda sent: sent.accept_languages),
        ("Accept", lambda sent: sent.accept_mimetypes),
    ],
)
def test_the_first_choices_are_looked_at(app: Flask, header: str, read: Callable[[Request], list[object]]) -> None:
    with app.test_request_context(headers={header: ",".join(f"a/{index}" for index in range(MOST_PARTS))}):
        assert len(read(request)) == MOST_CHOICES


def test_too_many_cookies_are_not_even_read(app: Flask) -> None:
    with app.test_request_context(headers={"Cookie": "a=1;" * (MOST_PARTS + 1)}):
        assert not request.cookies


@pytest.mark.parametrize("address", ["/api/v1/auth/refresh", "/api/v1/sync"])
def test_a_token_that_is_longer_than_any_of_ours_is_not_decoded(
    app: Flask, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("It was decoded.")

    monkeypatch.setattr("app.accounts.bearer._verified", fail)
    head = urlsafe_b64encode(b'{"alg":"HS256","a":[' + b"{}," * 400 + b"{}]}").decode()
    answer = app.test_client().post(address, headers={"Authorization": f"Bearer {head}.e30.e30"})
    assert (answer.status_code, json_of(answer)["code"]) == (401, "token_invalid")
