"""Headers of every answer, and that no address is answered with a redirect to the Host header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from tests.conftest import SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases

#: No header depends on the database.
pytestmark = pytest.mark.database("sqlite")

#: Method, address, whether a token is sent, status.
ANSWERS = [
    ("GET", "/healthz", False, 200),
    ("GET", "/api/v1/auth/me", True, 200),
    ("GET", "/api/v1/inspections", True, 200),
    ("GET", "/api/v1/users", True, 403),
    ("GET", "/api/v1/openapi.json", False, 200),
    ("GET", "/api/v1/docs", False, 200),
    ("POST", "/api/v1/auth/login", False, 415),
    ("GET", "/api/v1/auth/me", False, 401),
    ("GET", "/nowhere", False, 404),
    ("DELETE", "/healthz", False, 405),
    ("OPTIONS", "/healthz", False, 200),
]


@pytest.fixture
def client(world: World, sign_in: SignIn) -> FlaskClient:
    return sign_in(world.user())


@cases(("method", "address", "is_signed_in", "status"), ANSWERS)
def test_every_answer_forbids_what_browsers_might_do_with_it(
    app: Flask, client: FlaskClient, method: str, address: str, is_signed_in: bool, status: int
) -> None:
    answer = (client if is_signed_in else app.test_client()).open(address, method=method)
    assert answer.status_code == status
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.getlist("Cache-Control") == ["no-store"]
    assert answer.headers.getlist("Referrer-Policy") == ["no-referrer"]
    (policy,) = answer.headers.getlist("Content-Security-Policy")
    assert {"base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'"} <= {*policy.split("; ")}
    assert policy.startswith("default-src 'self'" if address.endswith("/docs") else "default-src 'none'")


def test_a_bug_forbids_them_too(app: Flask) -> None:
    app.view_functions["health.healthz"] = lambda: 1 / 0  # type: ignore[assignment]
    answer = app.test_client().get("/healthz")
    assert answer.status_code == 500
    assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-store")
    body = json_of(answer)
    assert (body["success"], body["code"], body["error"]) == (False, "internal_error", "Internal error")
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert "division" not in answer.text
    assert "Traceback" not in answer.text


def test_a_view_keeps_its_own_caching(client: FlaskClient) -> None:
    first = client.get("/api/v1/sync/status")
    assert first.headers.getlist("Cache-Control") == ["private, no-cache"]
    again = client.get("/api/v1/sync/status", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.headers.getlist("Cache-Control")) == (304, ["private, no-cache"])
    assert again.headers["ETag"] == first.headers["ETag"]
    with client.get("/api/v1/docs/swagger-ui-bundle.js") as script:
        assert "max-age=3600" in script.headers["Cache-Control"]
    tag = {"If-None-Match": script.headers["ETag"]}
    with client.get("/api/v1/docs/swagger-ui-bundle.js", headers=tag) as unchanged:
        assert unchanged.status_code == 304


@pytest.fixture
def ask(environment: dict[str, str]) -> Callable[[str, str], Any]:
    def ask(seconds: str, scheme: str) -> Any:
        app = create_app({**environment, "FIELDPOST_HSTS_SECONDS": seconds})
        return app.test_client().get("/healthz", base_url=f"{scheme}://fieldpost.example")

    return ask


@pytest.mark.parametrize(("seconds", "scheme"), [("", "https"), ("0", "https"), ("60", "http")])
def test_https_is_not_demanded_by_default_nor_over_http(
    ask: Callable[[str, str], Any], seconds: str, scheme: str
) -> None:
    assert "Strict-Transport-Security" not in ask(seconds, scheme).headers


def test_https_is_demanded_for_as_long_as_the_setting_says(ask: Callable[[str, str], Any]) -> None:
    assert ask("31536000", "https").headers["Strict-Transport-Security"] == "max-age=31536000"


@cases(
    "path",
    [
        "//evil.example/api/v1/sync/types",
        "/api/v1//sync/types",
        "//api/v1/sync/types",
        "/api/v1/sync//types",
        "/api/v1/sync/types//",
        "//healthz",
        "/healthz/",
    ],
)
def test_slashes_too_many_are_404_and_no_redirect(client: FlaskClient, path: str) -> None:
    overrides = {"PATH_INFO": path, "HTTP_HOST": "evil.example"}
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answer = client.open("/", method=method, environ_overrides=overrides)
        assert (answer.status_code, answer.headers.get("Location")) == (404, None), method
    assert json_of(client.get("/", environ_overrides=overrides))["code"] == "not_found"


def test_an_address_without_its_last_slash_is_404_and_no_redirect(environment: dict[str, str]) -> None:
    app = create_app(environment)
    app.add_url_rule("/plugin/", view_func=lambda: "here", endpoint="plugin")
    assert app.test_client().get("/plugin/").status_code == 200
    answer = app.test_client().get("/plugin", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers.get("Location")) == (404, None)
