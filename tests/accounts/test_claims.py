"""Claims that every token of ours has, and the end of a sign-in that is used again and again (contract, section 1)."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.accounts import bearer as bearer_module
from app.models import User
from tests.conftest import PASSWORD, SettableClock, World
from tests.support.answers import json_of
from tests.support.cases import cases

API = "/api/v1"


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log_in(client: FlaskClient, user: User) -> dict[str, Any]:
    tokens: dict[str, Any] = json_of(client.post(f"{API}/auth/login", json={"email": user.email, "password": PASSWORD}))
    return tokens


def signed_again(app: Flask, token: str, **changes: object) -> str:
    """A token with other claims, signed with the server's own key; None takes a claim out."""
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, app.extensions["fieldpost.settings"].secret_key, "HS256")


@cases(
    "changes",
    [
        {"type": None},
        {"type": 1},
        {"jti": None},
        {"jti": 7},
        {"sub": "\uff11"},
        {"sub": " 1"},
        {"sub": "1" + "0" * 30},
        {"aud": "x"},
    ],
)
def test_a_token_without_a_claim_of_ours_is_invalid_even_with_our_signature(
    app: Flask, client: FlaskClient, user: User, changes: dict[str, Any]
) -> None:
    token = log_in(client, user)["access_token"]
    assert client.get(f"{API}/auth/me", headers=bearer(signed_again(app, token))).status_code == 200
    answer = client.get(f"{API}/auth/me", headers=bearer(signed_again(app, token, **changes)))
    assert (answer.status_code, json_of(answer)["code"]) == (401, "token_invalid")


def test_a_sign_in_ends_a_year_after_it_began_however_often_it_was_used(
    client: FlaskClient, user: User, clock: SettableClock
) -> None:
    tokens = log_in(client, user)
    for _ in range(4):
        clock.forward(days=90, seconds=-1)
        answer = client.post(f"{API}/auth/refresh", headers=bearer(tokens["refresh_token"]))
        assert answer.status_code == 200
        tokens = json_of(answer)
    clock.forward(days=6)
    answer = client.post(f"{API}/auth/refresh", headers=bearer(tokens["refresh_token"]))
    assert (answer.status_code, json_of(answer)["code"]) == (401, "token_revoked")


def test_tokens_are_signed_and_read_as_pyjwt_does_it(app: Flask, client: FlaskClient, user: User) -> None:
    key = app.extensions["fieldpost.settings"].secret_key
    tokens = log_in(client, user)
    for kind in (bearer_module.ACCESS, bearer_module.REFRESH):
        token = tokens[f"{kind}_token"]
        claims = jwt.decode(token, key, ["HS256"], {"verify_exp": False})
        head = jwt.get_unverified_header(token)
        assert head["alg"] == "HS256"
        foreign = jwt.encode(claims, key, "HS256", {"kid": head["kid"], "cty": "JWT"})
        with app.app_context():
            assert bearer_module.read_token(foreign, kind) == bearer_module.read_token(token, kind)


def test_pyjwt_is_not_asked_about_a_token_that_is_just_ours(
    app: Flask, client: FlaskClient, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = log_in(client, user)
    monkeypatch.setattr(bearer_module._signatures, "decode_complete", None)
    assert client.post(f"{API}/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 200


def test_a_token_in_which_anything_is_changed_is_invalid(client: FlaskClient, user: User) -> None:
    token = log_in(client, user)["access_token"]
    places = {0, 5, token.index(".") + 3, token.rindex(".") - 1, token.rindex(".") + 1, len(token) - 2}
    changed = [token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in places]
    head, payload, signature = token.split(".")
    others = [
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f".{payload}.{signature}",
        f"{head}..{signature}",
        f"{head}.é.é",
    ]
    for other in (*changed, *others, f"{token}.", f"{token}.{signature}", f"{payload}.{token}"):
        answer = client.get(f"{API}/auth/me", headers=bearer(other))
        assert (answer.status_code, json_of(answer)["code"]) == (401, "token_invalid"), other
    assert client.get(f"{API}/auth/me", headers=bearer(token)).status_code == 200
