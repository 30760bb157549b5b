"""Calls from pages of other origins: off, unless the origins are named."""

from __future__ import annotations

from typing import Any

import pytest

from app import create_app
from app.errors import ConfigurationError
from tests.support.cases import cases

#: What is asked here is answered before the database.
pytestmark = pytest.mark.database("sqlite")

ORIGIN = "https://app.example.com"

PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


def client(environment: dict[str, str], origins: str) -> Any:
    return create_app({**environment, "FIELDPOST_CORS_ORIGINS": origins}).test_client()


def preflight(browser: Any, origin: str, path: str = "/api/v1/sync") -> Any:
    return browser.options(path, headers={"Origin": origin, **PREFLIGHT})


def test_by_default_no_page_may_call(environment: dict[str, str]) -> None:
    answer = preflight(client(environment, ""), ORIGIN)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.status_code == 401


def test_a_preflight_needs_no_token(environment: dict[str, str]) -> None:
    answer = preflight(client(environment, f"https://other.example.com, {ORIGIN}"), ORIGIN)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_the_call_itself_still_needs_a_token(environment: dict[str, str]) -> None:
    browser = client(environment, ORIGIN)
    for answer in (
        browser.post("/api/v1/sync", json={"sync_items": []}, headers={"Origin": ORIGIN}),
        # An OPTIONS that asks for no permission is an ordinary request.
        browser.options("/api/v1/sync", headers={"Origin": ORIGIN}),
    ):
        assert answer.status_code == 401


def test_a_page_may_read_the_error_and_the_headers_that_it_needs(environment: dict[str, str]) -> None:
    answer = client(environment, ORIGIN).get("/api/v1/auth/me", headers={"Origin": ORIGIN})
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = {each.strip() for each in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed == {"ETag", "X-Request-ID", "Retry-After"}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{ORIGIN}.evil.example", "https://appXexample.com", "http://app.example.com"]
)
def test_another_origin_gets_no_permission(environment: dict[str, str], origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(client(environment, ORIGIN), origin).headers


def test_an_ipv6_origin_is_no_pattern(environment: dict[str, str]) -> None:
    browser = client(environment, "http://[::1]:3000")
    assert preflight(browser, "http://[::1]:3000").headers["Access-Control-Allow-Origin"] == "http://[::1]:3000"
    for origin in ("http://::3000", "http://[::1]:30001", "http://[::1]:3000.evil.example"):
        assert "Access-Control-Allow-Origin" not in preflight(browser, origin).headers


@pytest.mark.parametrize("origin", ["capacitor://localhost", "ionic://localhost", "http://localhost:8100"])
def test_an_app_in_a_web_view_may_be_named(environment: dict[str, str], origin: str) -> None:
    browser = client(environment, f"{ORIGIN}, {origin}")
    assert preflight(browser, origin).headers["Access-Control-Allow-Origin"] == origin
    for other in (f"{origin}.evil.example", origin.replace("://", "://x."), origin.replace("://", "s://")):
        assert "Access-Control-Allow-Origin" not in preflight(browser, other).headers


def test_what_is_not_the_api_stays_closed(environment: dict[str, str]) -> None:
    answer = client(environment, ORIGIN).get("/healthz", headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


@cases(
    "origins", ["https://*.example.com", "app.example.com", "https://app.example.com/", "null", "x:y", "capacitor://"]
)
def test_what_is_no_origin_stops_the_start(environment: dict[str, str], origins: str) -> None:
    with pytest.raises(ConfigurationError, match="FIELDPOST_CORS_ORIGINS"):
        client(environment, origins)
