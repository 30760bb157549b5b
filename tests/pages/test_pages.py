"""The core's own pages: my account, errors, headers and files."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine

from app.errors import StorageError, TryAgainError
from app.models import LedgerOperation, User
from app.pages.files import FILES
from app.testing import World
from tests.conftest import PASSWORD, SignIn
from tests.guards.sources import ROOT
from tests.pages.browser import Browser, signed_in_browser
from tests.support.answers import json_of
from tests.support.cases import cases

NEW = "three words, not together"

TEMPLATES = [path for place in ("app", "plugins", "examples") for path in (ROOT / place).rglob("*.html")]

FILES_OF_OURS = [
    path
    for place in ("app", "plugins", "examples")
    for path in (ROOT / place).rglob("*")
    if path.suffix in {".css", ".js", ".svg"} and "node_modules" not in path.parts
]


@pytest.fixture
def user(world: World) -> User:
    return world.user()


@pytest.fixture
def browser(app: Flask, user: User) -> Browser:
    return signed_in_browser(app, user)


def change(browser: Browser, current: str = PASSWORD, new: str = NEW, repeated: str | None = None) -> tuple[int, str]:
    values = {"current_password": current, "new_password": new, "repeated_password": repeated or new}
    answer = browser.send("/my-account", "/my-account/password", values)
    return answer.status_code, answer.text


def test_the_start_page_leads_to_the_sign_in_and_then_to_the_first_page_of_the_menu(
    app: Flask, browser: Browser
) -> None:
    assert Browser(app).get("/").location == "/sign-in"
    assert (browser.get("/").location or "").startswith("/console/")


def test_without_a_menu_the_start_page_is_my_account(app: Flask, browser: Browser) -> None:
    current_registry = app.extensions["fieldpost.registry"]
    current_registry.installed.clear()
    assert browser.get("/").location == "/my-account"


def test_a_new_password_counts_at_once_and_ends_the_other_sign_ins(
    app: Flask, world: World, browser: Browser, user: User, sign_in: SignIn
) -> None:
    other, device = signed_in_browser(app, user), sign_in(user)
    assert change(browser)[0] == 303
    assert "Your password is changed" in browser.get("/my-account").text
    assert "Your password is changed" not in browser.get("/my-account").text
    assert not other.is_signed_in
    assert device.get("/api/v1/auth/me").status_code == 401
    assert Browser(app).sign_in(user).status_code == 422
    assert Browser(app).sign_in(user, NEW).status_code == 303
    assert world.all(LedgerOperation)[-1].door == "page"


def test_a_password_that_cannot_be_set_is_told_at_its_field(browser: Browser) -> None:
    for arguments, sentence in (
        ({"current": "guessed"}, "This is not your password."),
        ({"new": "qwertyuiop"}, "This password is easy to guess."),
        ({"new": "short"}, "A password has 8 to 128 characters."),
        ({"repeated": "another one, not the same"}, "The two new passwords differ."),
    ):
        status, text = change(browser, **arguments)
        assert status == 422
        assert sentence in text
        assert 'aria-invalid="true"' in text
        assert NEW not in text, "no password is ever sent back"
    assert change(browser)[0] == 303


def test_fields_for_passwords_hide_them_and_serve_managers(app: Flask, browser: Browser) -> None:
    for address, count in (("/sign-in", 1), ("/my-account", 3)):
        page = (Browser(app) if address == "/sign-in" else browser).get(address).text
        fields = re.findall(r"<input[^>]*password[^>]*>", page)
        assert len(fields) == count
        assert all(
            'type="password"' in field and "-password" in field.partition("autocomplete=")[2] for field in fields
        )
        assert "onpaste" not in page


def test_guesses_of_the_current_password_are_limited(browser: Browser) -> None:
    for _ in range(10):
        assert change(browser, current="guessed")[0] == 422
    assert change(browser)[0] == 429


def test_people_see_and_end_their_sign_ins_and_no_others(
    app: Flask, world: World, browser: Browser, user: User, sign_in: SignIn
) -> None:
    device = sign_in(user, "0d2f8e6c-8d7b-4d0e-9a53-1f2e3d4c5b6a")
    sign_ins = json_of(device.get("/api/v1/auth/sign_ins"))["data"]["sign_ins"]
    assert {each["is_browser"] for each in sign_ins} == {True, False}
    page = browser.get("/my-account").text
    assert "This browser" in page
    assert "App on the device 0d2f8e6c-8d7b-4d0e-9a53-1f2e3d4c5b6a" in page
    of_device, of_browser = (
        next(each["id"] for each in sign_ins if each["is_browser"] is kind) for kind in (False, True)
    )
    stranger = signed_in_browser(app, world.user("stranger@example.com"))
    token = re.findall(r'name="csrf_token" value="([^"]+)"', stranger.get("/my-account").text)[0]
    assert stranger.post(f"/my-account/sign-ins/{of_device}/end", {"csrf_token": token}).status_code == 404
    assert browser.send("/my-account", f"/my-account/sign-ins/{of_device}/end").status_code == 303
    assert device.get("/api/v1/auth/me").status_code == 401
    assert browser.send("/my-account", f"/my-account/sign-ins/{of_browser}/end").location == "/sign-in"
    assert not browser.is_signed_in


def test_the_api_ends_the_sign_in_of_a_browser(browser: Browser, user: User, sign_in: SignIn) -> None:
    device = sign_in(user)
    sign_ins = json_of(device.get("/api/v1/auth/sign_ins"))["data"]["sign_ins"]
    (of_browser,) = (each["id"] for each in sign_ins if each["is_browser"])
    assert device.delete(f"/api/v1/auth/sign_ins/{of_browser}").status_code == 200
    assert not browser.is_signed_in


def test_names_are_text_on_every_page(app: Flask, world: World) -> None:
    user = world.user(name="<script>alert(1)</script>")
    page = signed_in_browser(app, user).get("/my-account").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    answer = Browser(app).send("/sign-in", "/sign-in", {"email": '"><script>@example.com', "password": "x"})
    assert "<script" not in answer.text


def test_every_page_has_the_headers_of_a_page(app: Flask, browser: Browser) -> None:
    for answer in (browser.get("/my-account"), browser.get("/nowhere"), Browser(app).get("/sign-in"), browser.get("/")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
    of_machines = app.test_client().get("/healthz").headers
    assert "script-src 'self'" not in of_machines["Content-Security-Policy"], "an answer for machines opens nothing"
    assert "Cookie" not in of_machines.get("Vary", ""), "it reads no cookie"


def test_errors_are_pages_for_browsers_alone(app: Flask, browser: Browser) -> None:
    for answer, status in (
        (browser.get("/nowhere"), 404),
        (browser.get("/sign-out"), 405),
        (browser.post("/my-account/password"), 403),
    ):
        assert (answer.status_code, answer.mimetype) == (status, "text/html")
        assert "<h1" in answer.text
        assert answer.headers["X-Request-ID"] in answer.text
    assert browser.get("/api/v1/nowhere").mimetype == "application/json"
    assert browser.get("/api/nowhere").mimetype == "application/json"
    assert app.test_client().get("/nowhere").mimetype == "application/json"


def test_a_form_that_is_too_large_is_refused_before_it_is_read(app: Flask, user: User) -> None:
    answer = Browser(app).send("/sign-in", "/sign-in", {"email": "a" * 9000})
    assert (answer.status_code, answer.mimetype) == (413, "text/html")


def test_before_the_sign_in_a_form_has_few_fields_and_no_parts(app: Flask) -> None:
    """Each field takes many times the memory of its bytes, and each part much time."""
    for count, status in ((20, 403), (21, 413)):
        answer = app.test_client().post(
            "/sign-in", data=b"&".join([b"a="] * count), content_type="application/x-www-form-urlencoded"
        )
        assert (answer.status_code, answer.mimetype) == (status, "text/html")
    form = BytesIO(b"--b\r\nContent-Disposition: form-data; name=email\r\n\r\n\r\n--b--\r\n")
    answer = app.test_client().post("/sign-in", input_stream=form, content_type="multipart/form-data; boundary=b")
    assert (answer.status_code, answer.mimetype, form.tell()) == (415, "text/html", 0)


def test_nobodys_form_is_not_read(app: Flask) -> None:
    """A form of 8 MiB takes half a gigabyte, while its escapes are read."""
    for address in ("/my-account/password", "/sign-out"):
        form = BytesIO(b"a=" + b"%41" * 1_000_000)
        answer = app.test_client().post(
            address, input_stream=form, content_length=3_000_002, content_type="application/x-www-form-urlencoded"
        )
        assert (answer.status_code, form.tell()) == (303, 0)
        assert answer.location == "/sign-in"


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("our bug"), 500), (TryAgainError(), 503), (StorageError(), 503)],
)
def test_a_fault_is_a_page_that_needs_no_database(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Engine, "connect", fail)
    answer = browser.get("/my-account")
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "our bug" not in answer.text


def test_files_are_named_and_nothing_else_is_served(app: Flask, user: User) -> None:
    page = Browser(app).get("/sign-in").text
    links = re.findall(r'href="(/page-files/[^"]+)"', page)
    assert len(links) >= len(FILES)
    for link in links:
        answer = Browser(app).get(link)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert "Set-Cookie" not in answer.headers
        assert Browser(app).get(link, {"If-None-Match": answer.headers["ETag"]}).status_code == 304
        assert Browser(app).get(link.partition("?")[0]).headers["Cache-Control"] == "no-cache"
    for name in ("bootstrap.js", "..%2f__init__.py", "css/bootstrap.min.css"):
        assert Browser(app).get(f"/page-files/{name}").status_code == 404


@cases("template", TEMPLATES)
def test_templates_have_no_inline_code_and_nothing_from_elsewhere(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", text)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", text)
    assert "|safe" not in text.replace(" ", "")
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", text, re.DOTALL):
        assert "form_token()" in form


@cases("file", FILES_OF_OURS)
def test_stylesheets_and_scripts_fetch_nothing_from_elsewhere_and_make_no_code_of_text(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert not re.search(r"https?://|url\(['\"]?//|@import", text)
    assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)
