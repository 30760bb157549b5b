"""Accounts: signing in, and the administration of users (contract, section 1).

The current user is Flask-Login's; it is read from the bearer token.
"""

from __future__ import annotations

from flask import Flask, Request, g
from flask_login import LoginManager

from app.accounts import bearer, own_account, routes, throttle, tokens
from app.config import Settings
from app.errors import UnauthorizedError
from app.models import User


def init_auth(app: Flask, settings: Settings, prefix: str) -> None:
    """Set up tokens, limits, the routes and Flask-Login's request loader. Raises `ConfigurationError`."""
    throttle.init_throttle(app, settings)
    bearer.init_bearer(app, settings)
    LoginManager(app).request_loader(load_user)
    app.register_blueprint(routes.blueprint, url_prefix=prefix)
    app.register_blueprint(own_account.blueprint, url_prefix=prefix)


def load_user(request: Request) -> User | None:
    """The user of the request's access token, or None; the reason is kept for the sign-in guard in `app.web`."""
    try:
        claims = bearer.read_token(bearer.bearer_token(request), bearer.ACCESS)
        user, device_id = tokens.check_access(claims)
    except UnauthorizedError as fault:
        g.token_fault = fault
        return None
    g.sign_in_id, g.device_id = claims.sign_in_id, device_id
    return user
