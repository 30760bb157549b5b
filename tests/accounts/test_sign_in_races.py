"""A sign-in or a refresh, and its end, at the same moment, on two connections (contract, section 1)."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.models import SignIn, User
from tests.accounts.calls import code_of, me, refresh
from tests.conftest import PASSWORD, World
from tests.conftest import SignIn as SignInFixture
from tests.core.sync.racers import race
from tests.support.answers import json_of

API = "/api/v1"


@pytest.fixture
def user(world: World) -> User:
    return world.user()


@pytest.fixture
def office(world: World, sign_in: SignInFixture) -> FlaskClient:
    """An administrator's client."""
    return sign_in(world.user("office@example.com", "admin"))


def log_in(app: Flask, user: User) -> TestResponse:
    return app.test_client().post(f"{API}/auth/login", json={"email": user.email, "password": PASSWORD})


def reset_password(office: FlaskClient, user: User) -> TestResponse:
    return office.patch(f"{API}/users/{user.id}", json={"password": "another long one"})


def test_a_sign_in_behind_a_new_password_is_refused(app: Flask, world: World, user: User, office: FlaskClient) -> None:
    """The old password was right when it was checked: the hash is compared again under the user's lock."""
    reset, answer = race(app, lambda: reset_password(office, user), lambda: log_in(app, user))
    assert reset.status_code == 200
    assert (answer.status_code, answer.json["code"]) == (401, "wrong_credentials")
    assert [family for family in world.all(SignIn) if family.user_id == user.id] == []


def test_a_new_password_behind_a_sign_in_ends_it(app: Flask, user: User, office: FlaskClient) -> None:
    signed_in, reset = race(app, lambda: log_in(app, user), lambda: reset_password(office, user))
    assert (signed_in.status_code, reset.status_code) == (200, 200)
    headers = {"Authorization": f"Bearer {json_of(signed_in)['access_token']}"}
    answer = app.test_client().get(f"{API}/auth/me", headers=headers)
    assert (answer.status_code, json_of(answer)["code"]) == (401, "token_revoked")


@pytest.mark.parametrize("change", [{"password": "another long one"}, {"active": False}])
def test_a_refresh_behind_the_end_of_its_sign_in_is_refused(
    app: Flask, world: World, user: User, office: FlaskClient, change: dict[str, object]
) -> None:
    tokens = json_of(log_in(app, user))
    ended, answer = race(
        app,
        lambda: office.patch(f"{API}/users/{user.id}", json=change),
        lambda: refresh(app.test_client(), tokens["refresh_token"]),
    )
    assert ended.status_code == 200
    assert code_of(answer) == (401, "token_revoked")


@pytest.mark.parametrize("change", [{"password": "another long one"}, {"active": False}])
def test_the_end_of_a_sign_in_behind_its_refresh_ends_the_new_tokens(
    app: Flask, user: User, office: FlaskClient, change: dict[str, object]
) -> None:
    tokens = json_of(log_in(app, user))
    refreshed, ended = race(
        app,
        lambda: refresh(app.test_client(), tokens["refresh_token"]),
        lambda: office.patch(f"{API}/users/{user.id}", json=change),
    )
    assert (refreshed.status_code, ended.status_code) == (200, 200)
    following = json_of(refreshed)
    assert me(app.test_client(), following["access_token"]) == (401, "token_revoked")
    assert code_of(refresh(app.test_client(), following["refresh_token"])) == (401, "token_revoked")
