"""The page that makes the first administrator, while there is no user at all."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from app.models import User
from app.pages.first_run import first_token, tell_first_run
from app.testing import World
from tests.pages.browser import Browser

FORM = {"name": "Ada", "email": "Ada@example.com", "password": "three words, not together"}


@pytest.fixture
def token(app: Flask, caplog: pytest.LogCaptureFixture) -> str:
    """The token, from the log."""
    with caplog.at_level(logging.WARNING):
        tell_first_run(app)
    (line,) = [record.getMessage() for record in caplog.records if "/first-run" in record.getMessage()]
    return line.split()[-1]


def test_the_token_of_the_log_makes_the_first_administrator(app: Flask, world: World, token: str) -> None:
    browser = Browser(app)
    assert browser.get("/sign-in").location == "/first-run"
    answer = browser.send("/first-run", "/first-run", FORM | {"token": token})
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert "You are the first administrator" in browser.get("/sign-in").text
    (user,) = world.all(User)
    assert (user.email, user.role) == ("ada@example.com", "admin")
    assert browser.sign_in(user, FORM["password"]).status_code == 303


def test_without_the_token_or_a_good_password_nobody_is_made(app: Flask, world: World, token: str) -> None:
    for wrong, sentence in (
        ({"token": "guessed"}, "This is not the token"),
        ({"password": "qwertyuiop"}, "easy to guess"),
        ({"email": "ada"}, "no e-mail address"),
        ({"email": "a\0da@example.com"}, "no e-mail address"),
        ({"name": "A\0da"}, "1 to 255 characters"),
        ({"name": " "}, "A name has"),
    ):
        answer = Browser(app).send("/first-run", "/first-run", FORM | {"token": token} | wrong)
        assert answer.status_code == 422
        assert sentence in answer.text
    assert world.all(User) == []


def test_it_is_gone_once_there_is_a_user(
    app: Flask, world: World, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser(app)
    browser.get("/first-run")
    with browser.client.session_transaction() as session:
        assert "csrf_token" in session
    page = browser.get("/first-run").text
    form_token = page.split('name="csrf_token" value="')[1].split('"')[0]
    world.user()
    assert browser.get("/first-run").status_code == 404
    assert browser.post("/first-run", FORM | {"token": token, "csrf_token": form_token}).status_code == 404
    assert len(world.all(User)) == 1
    caplog.clear()
    tell_first_run(app)
    assert caplog.records == []


def test_another_installation_has_another_token(app: Flask, token: str) -> None:
    with app.app_context():
        assert first_token() == token
    assert len(token) == 32
