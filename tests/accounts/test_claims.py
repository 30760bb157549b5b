"""Claims that every token of ours has, and the end of a sign-in that is used again and again (contract, section 1)."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

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
