"""Accounts: signing in, and the administration of users (contract, section 1).

The signed-in user is the one of the access token, and nothing else signs in to the API.
"""

from __future__ import annotations

from flask import Flask, Request, g

from app.accounts import bearer, own_account, routes, throttle, tokens
from app.config import Settings
from app.models import User
from app.web import SIGN_IN


def init_auth(app: Flask, settings: Settings, prefix: str) -> None:
    """Set up tokens, limits, the routes and the check of access tokens. Raises `ConfigurationError`."""
    throttle.init_throttle(app, settings)
    bearer.init_bearer(app, settings)
    app.extensions[SIGN_IN] = user_of_token
    app.register_blueprint(routes.blueprint, url_prefix=prefix)
    app.register_blueprint(own_account.blueprint, url_prefix=prefix)


def user_of_token(request: Request) -> User:
    """The user of the request's access token, for the sign-in guard in `app.web`. Raises `UnauthorizedError`."""
    claims = bearer.read_token(bearer.bearer_token(request), bearer.ACCESS)
    user, device_id = tokens.check_access(claims)
    g.sign_in_id, g.device_id = claims.sign_in_id, device_id
    return user
