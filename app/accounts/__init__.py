"""Signing in (contract, section 1). Flask-Login's current user, read from the bearer token, is the one there is."""

from __future__ import annotations

from contextlib import suppress

import limits
from flask import Flask, Request, g
from flask_login import LoginManager
from limits.errors import ConfigurationError as LimitsError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from app.accounts import bearer, tokens
from app.accounts.routes import LIMITER, blueprint
from app.config import Settings
from app.errors import ConfigurationError, UnauthorizedError
from app.models import User


def init_auth(app: Flask, settings: Settings, prefix: str) -> None:
    """Give the application its tokens, its login routes and Flask-Login's request loader."""
    try:
        limits.parse(settings.login_rate)
    except ValueError:
        raise ConfigurationError(
            f"FIELDPOST_LOGIN_RATE={settings.login_rate!r} is no rate. Use words like `10 per minute`, or unset it."
        ) from None
    # Asked by the one route that needs it: an extension would ask at every request.
    app.extensions[LIMITER] = FixedWindowRateLimiter(_open_storage(settings.rate_limit_storage))
    bearer.init_bearer(app, settings)
    LoginManager(app).request_loader(load_user)
    app.register_blueprint(blueprint, url_prefix=prefix)


def _open_storage(address: str) -> Storage:
    """Where failed sign-ins are counted."""
    with suppress(LimitsError, ValueError):
        found = storage_from_string(address)
        # There are others, for asyncio.
        if isinstance(found, Storage):
            return found
    # Not the address itself, which may have a password in it.
    kind = address.partition(":")[0]
    raise ConfigurationError(
        f"FIELDPOST_RATE_LIMIT_STORAGE cannot be used: {kind!r} is unknown, or what it needs is not installed. "
        'Set it to redis://host:6379 and run pip install "fieldpost[redis]", or unset it.'
    )


def load_user(request: Request) -> User | None:
    """The user of the request's access token. Why there is none is kept for the sign-in guard in `app.web`."""
    try:
        claims = bearer.read_token(bearer.bearer_token(request), bearer.ACCESS)
        user, device_id = tokens.check_access(claims)
    except UnauthorizedError as fault:
        g.token_fault = fault
        return None
    g.sign_in_id, g.device_id = claims.sign_in_id, device_id
    return user
