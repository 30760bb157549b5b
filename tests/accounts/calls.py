"""Calls of an app that signs in and out."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.models import User
from tests.conftest import PASSWORD
from tests.support.answers import json_of

LOGIN, REFRESH, LOGOUT, ME = (f"/api/v1/auth/{each}" for each in ("login", "refresh", "logout", "me"))

DEVICE = "0D2F8E6C-8d7b-4d0e-9a53-1f2e3d4c5b6a"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log_in(client: FlaskClient, user: User, **more: object) -> dict[str, Any]:
    answer = client.post(LOGIN, json={"email": user.email, "password": PASSWORD, **more})
    assert answer.status_code == 200, answer.json
    tokens: dict[str, Any] = json_of(answer)
    return tokens


def code_of(answer: TestResponse) -> tuple[int, str]:
    """Status and code of a 401, its fixed parts checked."""
    body = json_of(answer)
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert body["success"] is False
        assert body["error"] == "Unauthorized"
        assert body["message"]
    return answer.status_code, body.get("code")


def me(client: FlaskClient, token: str) -> tuple[int, str]:
    return code_of(client.get(ME, headers=bearer(token)))


def refresh(client: FlaskClient, token: str) -> TestResponse:
    return client.post(REFRESH, headers=bearer(token))
