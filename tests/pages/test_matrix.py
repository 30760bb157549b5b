"""Every page of the core and of all installed plugins × everybody: generated, so that a new page is covered at once.

The rows have the id 1, and each text in them is markup. Where a page asks for something that is not there, it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app.attachments import current_storage
from app.models import User
from app.pages.addresses import is_page_endpoint
from app.testing import World, statements_of
from tests.conftest import SignIn
from tests.pages.browser import HEADERS, Browser
from tests.pages.reading import INJECTED, Reading

#: Whatever people could type: each kind of place in a page has another way out of it.
MARKUP = f"'\"></title></textarea><i {INJECTED}>"

#: Somebody's work, which only those concerned see.
SECRET = "Harbour Warehouse"

SAFE = {"GET", "HEAD", "OPTIONS"}


class Address(NamedTuple):
    """A method and an address of a page."""

    method: str
    rule: str
    text: str
    is_public: bool
    #: Whether the address names no row, or one of those that there are.
    is_there: bool


class Everybody(NamedTuple):
    """The people of the matrix."""

    admin: User
    owner: User
    technician: User
    stranger: User


@pytest.fixture
def people(world: World) -> Everybody:
    """Everybody, and the work of the owner and the technician."""
    names = {"name": f"Theo {MARKUP}"}
    admin, owner, technician, stranger = (
        world.user(f"{label}-in-secret@example.com", role, **names)
        for label, role in (("admin", "admin"), ("owner", "user"), ("tech", "technician"), ("stranger", "technician"))
    )
    structure = [
        {"name": "Location", "type": "text", "label_name": f"Location {MARKUP}"},
        {"name": "Riser_Photo", "type": "photo", "label_name": f"Photo {MARKUP}"},
        {"name": "Signature", "type": "signature"},
    ]
    template = world.template(name=f"Template {MARKUP}", form_structure=structure)
    texts = {"property": {"property_name": SECRET + MARKUP, "address": SECRET + MARKUP}, "notes": SECRET + MARKUP}
    inspection = world.inspection(owner, technician, customer={"name": SECRET + MARKUP}, **texts)
    attachment = world.attachment(world.form_fill(inspection, template, data={"Location": SECRET + MARKUP}))
    with world.app.app_context():
        current_storage().put(attachment.storage_key, b"x")
    return Everybody(admin, owner, technician, stranger)


def pages(app: Flask) -> Iterator[Address]:
    """Every method and address of a page."""
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        rules = [rule for rule in app.url_map.iter_rules() if is_page_endpoint(rule.endpoint)]
    for rule in rules:
        values = {name: _example(rule, name) for name in rule.arguments}
        is_public = getattr(app.view_functions[rule.endpoint], "is_public", False)
        is_there = all(value == 1 for value in values.values())
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Address(method, rule.rule, adapter.build(rule.endpoint, values, method=method), is_public, is_there)


def _example(rule: Rule, name: str) -> Any:
    return 1 if hasattr(rule._converters[name], "num_convert") else "1"


def shown(browser: Browser) -> Iterator[tuple[Address, Any]]:
    """Each page that one may look at, with its answer to this browser."""
    for address in pages(browser.client.application):
        if address.method == "GET":
            yield address, browser.get(address.text)


def browser_of(app: Flask, user: User) -> Browser:
    browser = Browser(app)
    assert browser.sign_in(user).status_code == 303
    return browser


@pytest.mark.parametrize("role", Everybody._fields)
def test_every_page_is_sound_shows_what_one_may_see_and_writes_nothing(
    app: Flask, world: World, people: Everybody, role: str
) -> None:
    browser = browser_of(app, getattr(people, role))
    recorded, seen, exports = world.recorded(), {}, 0
    with statements_of(app) as statements:
        for address, answer in shown(browser):
            assert_sound(address, answer, role)
            assert_headers(address, answer)
            exports += answer.status_code == 200 and answer.headers.get("Content-Disposition", "").startswith("attach")
            seen[address] = answer.get_data().decode(errors="replace")
    assert len(seen) >= 5
    written = [each for each in statements if re.search(r"\b(INSERT|UPDATE|DELETE)\b", each)]
    # Who takes a list out is noted in the audit log.
    assert [each for each in written if not re.match(r'INSERT INTO "audit_entries"', each)] == []
    assert len(written) == exports
    assert world.recorded() == recorded
    assert_seen(seen, people, role)


def assert_sound(address: Address, answer: Any, role: str) -> None:
    """The page opens, to administrators in any case, and is well-formed."""
    assert answer.status_code < 500, address
    if role == "admin" and address.is_there and not address.is_public:
        assert answer.status_code < 400, address
    if answer.mimetype == "text/html" and answer.status_code != 303:
        reading = Reading(answer.text)
        assert (reading.faults, reading.headings) == ([], 1), address
        assert address.is_public or answer.status_code >= 400 or 'action="/sign-out"' in answer.text, address


def assert_headers(address: Address, answer: Any) -> None:
    """It has the headers of a page."""
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy, address
    assert "unsafe" not in policy, address
    assert answer.headers["X-Content-Type-Options"] == "nosniff", address
    assert answer.mimetype != "text/html" or answer.headers["Cache-Control"] == "no-store", address


def assert_seen(seen: Mapping[Address, str], people: Everybody, role: str) -> None:
    """Only those concerned see the work, and only administrators see people."""
    text, others = "".join(seen.values()), {user.email for user in people} - {getattr(people, role).email}
    assert role == "admin" or not any(email in text for email in others)
    if role == "stranger":
        assert SECRET not in text
    elif any(address.rule == "/console/inspections" for address in seen):
        assert SECRET in text


@pytest.mark.database("sqlite")
def test_without_a_sign_in_of_a_browser_no_page_opens(app: Flask, people: Everybody, sign_in: SignIn) -> None:
    bearer = {"Authorization": sign_in(people.admin).environ_base["HTTP_AUTHORIZATION"]}
    for address in pages(app):
        for headers in (HEADERS, HEADERS | bearer):
            if not address.is_public:
                answer = app.test_client().open(address.text, method=address.method, headers=headers, buffered=True)
                assert answer.status_code == 303, address
                assert answer.headers["Location"].startswith("/sign-in"), address


@pytest.mark.database("sqlite")
def test_no_form_counts_that_a_page_of_ours_did_not_make(app: Flask, world: World, people: Everybody) -> None:
    browser = browser_of(app, people.admin)
    token = form_of(browser)
    recorded, count = world.recorded(), 0
    for address in (each for each in pages(app) if each.method not in SAFE):
        count += 1
        for values, headers in (
            ({}, {}),
            ({"csrf_token": "guessed"}, {}),
            (token, {"Sec-Fetch-Site": "cross-site"}),
            (token, {"Sec-Fetch-Site": "same-site"}),
        ):
            assert send(browser, address, values, headers).status_code == 403, address
    assert count >= 4
    assert world.recorded() == recorded
    assert browser.is_signed_in


@pytest.mark.database("sqlite")
def test_a_stranger_s_forms_change_nothing(app: Flask, world: World, people: Everybody) -> None:
    recorded = world.recorded()
    for address in (each for each in pages(app) if each.method not in SAFE):
        browser = browser_of(app, people.stranger)
        assert send(browser, address, form_of(browser), {}).status_code < 500, address
        assert world.recorded() == recorded, address


def form_of(browser: Browser) -> Mapping[str, str]:
    """The token of this browser's forms."""
    token = browser.get("/my-account").text.split('name="csrf_token" value="')[1].split('"')[0]
    return {"csrf_token": token}


def send(browser: Browser, address: Address, values: Mapping[str, str], headers: Mapping[str, str]) -> Any:
    """Send a form with these values alone."""
    return browser.client.open(
        address.text, method=address.method, data=values, headers=HEADERS | dict(headers), buffered=True
    )
