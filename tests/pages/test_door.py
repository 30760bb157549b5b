"""Who may open a page, and that the cookie and the token never open each other's door (contract, section 11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app.accounts.users import change_user
from app.config import API_PREFIX
from app.core.ledger.record import Origin
from app.models import SignIn, User
from app.pages.addresses import is_safe_address
from app.pages.door import LONGEST_RETURN
from app.testing import World, statements_of
from tests.conftest import PASSWORD, SettableClock
from tests.conftest import SignIn as SignInClient
from tests.guards.test_routes import PUBLIC
from tests.pages.browser import HEADERS, Browser, signed_in_browser
from tests.support.answers import json_of
from tests.support.cases import cases


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def addresses(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Method, rule and a full address of everything that is not public."""
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        values = {name: _example(rule, name) for name in rule.arguments}
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if (method, rule.rule) not in PUBLIC:
                yield method, rule.rule, adapter.build(rule.endpoint, values, method=method)


def _example(rule: Rule, name: str) -> Any:
    return 1 if hasattr(rule._converters[name], "num_convert") else "1"


def test_the_cookie_opens_no_route_of_the_api_and_a_token_no_page(
    app: Flask, user: User, sign_in: SignInClient
) -> None:
    """The matrix over all routes: nobody, the cookie alone, the bearer token alone."""
    bearer = {"Authorization": sign_in(user).environ_base["HTTP_AUTHORIZATION"]}
    browser, counts = signed_in_browser(app, user), {"api": 0, "pages": 0}
    for method, rule, address in addresses(app):
        of_api = rule.startswith(API_PREFIX + "/")
        counts["api" if of_api else "pages"] += 1
        if of_api:
            refused = browser.client.open(address, method=method, headers=HEADERS)
            assert (refused.status_code, json_of(refused)["code"]) == (401, "token_missing"), (method, rule)
            assert "Set-Cookie" not in refused.headers
            continue
        refused = app.test_client().open(address, method=method, headers=HEADERS | bearer)
        assert (refused.status_code, refused.location.partition("?")[0]) == (303, "/sign-in"), (method, rule)
        if method == "GET":
            opened = browser.get(address)
            assert opened.status_code != 401, (method, rule)
            assert not str(opened.location).startswith("/sign-in"), (method, rule)
    assert browser.is_signed_in
    assert counts["api"] > 20
    assert counts["pages"] >= 5


def test_with_a_cookie_and_a_token_the_api_sees_the_tokens_user(
    app: Flask, world: World, sign_in: SignInClient
) -> None:
    browser = signed_in_browser(app, world.user("clerk@example.com", "admin"))
    bearer = sign_in(world.user()).environ_base["HTTP_AUTHORIZATION"]
    answer = browser.client.get(f"{API_PREFIX}/auth/me", headers={"Authorization": bearer})
    assert json_of(answer)["user"]["email"] == "tech@example.com"


@pytest.mark.parametrize(("scheme", "name"), [("https", "__Host-fieldpost"), ("http", "fieldpost")])
def test_the_cookie_is_bound_to_the_host_and_hidden_from_scripts(
    app: Flask, user: User, scheme: str, name: str
) -> None:
    answer = Browser(app, f"{scheme}://localhost").sign_in(user)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{name}=")
    assert "; HttpOnly; Path=/; SameSite=Lax" in cookie
    assert ("; Secure" in cookie) == (scheme == "https")
    assert "Domain" not in cookie
    assert "Expires" not in cookie, "it goes when the browser is closed"


def test_a_cookie_that_was_set_over_http_is_not_taken_over_https(app: Flask, user: User) -> None:
    """Anybody on the way can set a cookie over http."""
    browser = signed_in_browser(app, user)
    cookie = browser.client.get_cookie("fieldpost")
    assert cookie is not None
    other = Browser(app, "https://localhost")
    other.client.set_cookie("fieldpost", cookie.value)
    assert not other.is_signed_in


def test_a_sign_in_that_is_idle_ends(app: Flask, user: User, clock: SettableClock) -> None:
    browser = signed_in_browser(app, user)
    for _ in range(5):
        clock.forward(minutes=119)
        assert browser.is_signed_in
    clock.forward(minutes=121)
    assert not browser.is_signed_in


def test_a_sign_in_ends_after_half_a_day_however_much_it_is_used(app: Flask, user: User, clock: SettableClock) -> None:
    browser = signed_in_browser(app, user)
    for _ in range(11):
        clock.forward(hours=1)
        assert browser.is_signed_in
    clock.forward(minutes=61)
    assert not browser.is_signed_in


def test_using_a_page_writes_the_time_now_and_then(app: Flask, world: World, user: User, clock: SettableClock) -> None:
    browser = signed_in_browser(app, user)
    started = clock()
    clock.forward(minutes=4)
    assert browser.is_signed_in
    assert world.all(SignIn)[-1].last_used_at == started
    clock.forward(minutes=2)
    assert browser.is_signed_in
    assert world.all(SignIn)[-1].last_used_at == clock()


def test_signing_out_ends_the_sign_in_itself(app: Flask, user: User) -> None:
    browser = signed_in_browser(app, user)
    cookie = browser.client.get_cookie("fieldpost")
    assert cookie is not None
    answer = browser.send("/my-account", "/sign-out")
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert not browser.is_signed_in
    browser.client.set_cookie("fieldpost", cookie.value)
    assert not browser.is_signed_in, "a copy of the cookie is of no use"


@pytest.mark.parametrize("values", [{"active": False}, {"password": "three words, not together"}])
def test_a_deactivated_user_and_a_new_password_end_it_at_once(app: Flask, user: User, values: dict[str, Any]) -> None:
    browser = signed_in_browser(app, user)
    with app.app_context():
        change_user(Origin(door="cli"), user.id, values)
    assert not browser.is_signed_in


def test_a_cookie_that_this_server_did_not_sign_is_nobody(app: Flask, user: User) -> None:
    browser = signed_in_browser(app, user)
    cookie = browser.client.get_cookie("fieldpost")
    assert cookie is not None
    browser.client.set_cookie("fieldpost", cookie.value[:-2] + "xx")
    assert not browser.is_signed_in


def test_a_device_s_sign_in_is_none_of_a_browser(app: Flask, world: World, user: User, sign_in: SignInClient) -> None:
    sign_in(user)
    browser = signed_in_browser(app, user)
    (device,) = [each for each in world.all(SignIn) if not each.is_browser]
    with browser.client.session_transaction(base_url=browser.base_url) as session:
        session["_user_id"] = device.id
    assert not browser.is_signed_in


def test_a_form_without_the_token_of_the_session_is_refused(app: Flask, world: World, user: User) -> None:
    browser, other = signed_in_browser(app, user), signed_in_browser(app, user)
    token = browser.get("/my-account").text.split('name="csrf_token" value="')[1].split('"')[0]
    for values in ({}, {"csrf_token": ""}, {"csrf_token": "guessed"}, {"csrf_token": token[:-2] + "xx"}):
        answer = browser.post("/sign-out", values)
        assert answer.status_code == 403
        assert "This form can no longer be sent" in answer.text
    assert other.post("/sign-out", {"csrf_token": token}).status_code == 403, "it is another session's"
    assert browser.is_signed_in
    assert other.is_signed_in
    assert browser.post("/sign-out", headers={"X-CSRFToken": token}).status_code == 303, (
        "a script may send it as a header"
    )


@cases("site", ["cross-site", "same-site", "none"])
def test_a_form_of_another_site_is_refused_even_with_a_token(app: Flask, user: User, site: str) -> None:
    browser = signed_in_browser(app, user)
    assert browser.send("/my-account", "/sign-out", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert browser.is_signed_in
    assert Browser(app).send("/sign-in", "/sign-in", headers={"Sec-Fetch-Site": site}).status_code == 403


def test_a_new_sign_in_takes_nothing_over_from_the_session_before(app: Flask, user: User) -> None:
    browser = Browser(app)
    browser.get("/sign-in")
    with browser.client.session_transaction() as session:
        before = session["csrf_token"]
        session["left"] = "by somebody"
    browser.sign_in(user)
    browser.get("/my-account")
    with browser.client.session_transaction() as session:
        assert session["csrf_token"] != before
        assert "left" not in session


def test_wrong_credentials_say_no_more_than_the_api_does(app: Flask, user: User, world: World) -> None:
    world.user("gone@example.com", active=False)
    texts = set()
    for email, password in ((user.email, "guessed"), ("nobody@example.com", PASSWORD), ("gone@example.com", PASSWORD)):
        answer = Browser(app).send("/sign-in", "/sign-in", {"email": email, "password": password})
        assert answer.status_code == 422
        assert "The e-mail address or the password is wrong." in answer.text
        assert password not in answer.text
        texts.add(answer.text.count("wrong"))
    assert len(texts) == 1


def test_pages_and_the_api_count_failed_sign_ins_together(app: Flask, user: User) -> None:
    browser = Browser(app)
    for _ in range(9):
        assert browser.sign_in(user, "guessed").status_code == 422
    body = {"email": user.email, "password": "guessed"}
    assert app.test_client().post(f"{API_PREFIX}/auth/login", json=body).status_code == 401
    answer = browser.sign_in(user)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "Too many failed sign-ins" in answer.text


def test_after_the_sign_in_the_page_opens_that_was_asked_for(app: Flask, user: User) -> None:
    browser = Browser(app)
    led = browser.get("/my-account?tab=1")
    assert (led.status_code, led.location) == (303, "/sign-in?next=/my-account?tab%3D1")
    answer = browser.send(led.location, "/sign-in", {"email": user.email, "password": PASSWORD})
    assert answer.location == "/my-account?tab=1"
    assert browser.get("/sign-in?next=/my-account").location == "/my-account", "one is signed in already"


def test_an_address_that_is_longer_than_any_of_ours_is_not_repeated(app: Flask) -> None:
    browser = Browser(app)
    query = "a" * (LONGEST_RETURN - len("/my-account?"))
    assert query in browser.get(f"/my-account?{query}").location
    assert browser.get(f"/my-account?{query}a").location == "/sign-in"


@cases(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/api/v1/auth/me",
        "",
    ],
)
def test_nobody_is_led_away_after_the_sign_in(app: Flask, user: User, address: str) -> None:
    assert not is_safe_address(address)
    browser = Browser(app)
    assert browser.sign_in(user, next=address).location == "/"
    assert browser.get(f"/sign-in?next={address}").location == "/"


def test_a_page_reads_the_visitor_in_one_statement(app: Flask, user: User) -> None:
    browser = signed_in_browser(app, user)
    browser.get("/")
    with statements_of(app) as statements:
        assert browser.get("/").status_code == 303
    assert len([each for each in statements if each != "BEGIN"]) == 1
