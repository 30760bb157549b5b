"""What is open to everybody, and that everything else is not."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, current_user, login_user

from app.config import API_PREFIX
from app.core.database.engine import db
from app.models import User
from app.pages.addresses import is_page_endpoint
from app.testing import World
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
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/first-run"),
    ("POST", "/first-run"),
    ("GET", "/page-files/<name>"),
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
        if getattr(view, "is_public", False) or not (address.startswith(API_PREFIX + "/") or is_page_of(app, view))
    }
    assert found == PUBLIC


def is_page_of(app: Flask, view: Any) -> bool:
    """Whether the door for pages guards a view."""
    with app.app_context():
        return any(view is found and is_page_endpoint(name) for name, found in app.view_functions.items())


def assert_closed(app: Flask, client: FlaskClient) -> None:
    """Assert that the client gets 401 for everything that is not public."""
    closed = [
        (method, address)
        for method, address, _ in routes(app)
        if address.startswith(API_PREFIX + "/") and (method, address) not in PUBLIC
    ]
    assert len(closed) > 10
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    for method, address in closed:
        rule = next(
            each for each in app.url_map.iter_rules() if each.rule == address and method in (each.methods or ())
        )
        values = {name: _example(rule, name) for name in rule.arguments}
        answer = client.open(adapter.build(rule.endpoint, values, method=method), method=method)
        assert answer.status_code == 401, (method, address)
        assert json_of(answer)["error"] == "Unauthorized"
        assert json_of(answer)["code"] == "token_missing"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_other_route_answers_401_without_a_token(app: Flask) -> None:
    assert_closed(app, app.test_client())


def test_a_browser_that_a_plugin_has_signed_in_has_no_token(app: Flask, world: World) -> None:
    """A browser sends its cookie along with requests that other sites make, and would do their bidding."""
    admin = world.user("admin@example.com", "admin")
    app.secret_key = "of the plugin"
    manager, browsers = LoginManager(app), Blueprint("browsers", __name__)
    manager.user_loader(lambda key: Visitor(db.session.get(User, int(key))))

    @browsers.get("/browser")
    def sign_in() -> str:
        """Sign a browser in, and say who that is."""
        login_user(Visitor(admin))
        return str(current_user.get_id())

    app.register_blueprint(browsers)
    client = app.test_client()
    assert client.get("/browser").text == str(admin.id)
    assert "Set-Cookie" in client.get("/browser").headers
    assert_closed(app, client)


def test_every_route_says_what_it_does(app: Flask) -> None:
    silent = [(method, address) for method, address, view in routes(app) if not (view.__doc__ or "").strip()]
    assert silent == []


class Visitor(UserMixin):  # type: ignore[misc]
    """A user as the plugin knows them."""

    def __init__(self, user: User | None) -> None:
        assert user is not None
        self.id = user.id


def _example(rule: Any, name: str) -> Any:
    converter = rule._converters[name]
    return 1 if hasattr(converter, "num_convert") else "1"
