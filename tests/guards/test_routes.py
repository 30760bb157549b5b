"""What is open to everybody, and that everything else is not."""

from __future__ import annotations

from typing import Any

from flask import Flask

from app.config import API_PREFIX
from tests.support.answers import json_of

#: Method and address of everything that answers without a token.
PUBLIC = {
    ("GET", "/api/v1/"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/docs"),
    ("GET", "/api/v1/docs/<name>"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
}


def routes(app: Flask) -> list[tuple[str, str, Any]]:
    """Every method and address with its view."""
    return [
        (method, rule.rule, app.view_functions[rule.endpoint])
        for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def test_only_these_routes_are_open(app: Flask) -> None:
    found = {
        (method, address)
        for method, address, view in routes(app)
        if getattr(view, "is_public", False) or not address.startswith(API_PREFIX + "/")
    }
    assert found == PUBLIC


def test_every_other_route_answers_401_without_a_token(app: Flask) -> None:
    closed = [(method, address) for method, address, _ in routes(app) if (method, address) not in PUBLIC]
    assert len(closed) > 10
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    for method, address in closed:
        rule = next(
            each for each in app.url_map.iter_rules() if each.rule == address and method in (each.methods or ())
        )
        values = {name: _example(rule, name) for name in rule.arguments}
        answer = app.test_client().open(adapter.build(rule.endpoint, values, method=method), method=method)
        assert answer.status_code == 401, (method, address)
        assert json_of(answer)["error"] == "Unauthorized"
        assert json_of(answer)["code"] == "token_missing"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_route_says_what_it_does(app: Flask) -> None:
    silent = [(method, address) for method, address, view in routes(app) if not (view.__doc__ or "").strip()]
    assert silent == []


def _example(rule: Any, name: str) -> Any:
    converter = rule._converters[name]
    return 1 if hasattr(converter, "num_convert") else "1"
