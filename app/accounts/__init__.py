"""Accounts: signing in, and the administration of users (contract, section 1).

The signed-in user is the one of the access token, and nothing else signs in to the API.
"""

from __future__ import annotations

from contextlib import suppress

import limits
from flask import Flask, Request, g
from limits.errors import ConfigurationError as LimitsError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from app.accounts import bearer, tokens
from app.accounts.routes import LIMITER, blueprint
from app.config import Settings
from app.errors import ConfigurationError
from app.models import User
from app.web import SIGN_IN


def init_auth(app: Flask, settings: Settings, prefix: str) -> None:
    """Set up tokens, the login routes and the check of access tokens. Raises `ConfigurationError`."""
    try:
        limits.parse(settings.login_rate)
    except ValueError:
        raise ConfigurationError(
            f"FIELDPOST_LOGIN_RATE={settings.login_rate!r} is no rate. Use words like `10 per minute`, or unset it."
        ) from None
    # Called by the one route that needs it; an extension would check at every request.
    app.extensions[LIMITER] = FixedWindowRateLimiter(_open_storage(settings.rate_limit_storage))
    bearer.init_bearer(app, settings)
    app.extensions[SIGN_IN] = user_of_token
    app.register_blueprint(blueprint, url_prefix=prefix)


def _open_storage(address: str) -> Storage:
    """The store in which failed sign-ins are counted."""
    with suppress(LimitsError, ValueError):
        storage = storage_from_string(address)
        # Stores for asyncio are of another class.
        if isinstance(storage, Storage):
            return storage
    # The message leaves out the address, which may contain a password.
    kind = address.partition(":")[0]
    raise ConfigurationError(
        f"FIELDPOST_RATE_LIMIT_STORAGE cannot be used: {kind!r} is unknown, or its package is not installed. "
        'Set it to redis://host:6379 and run pip install "fieldpost[redis]", or unset it.'
    )


def user_of_token(request: Request) -> User:
    """The user of the request's access token, for the sign-in guard in `app.web`. Raises `UnauthorizedError`."""
    claims = bearer.read_token(bearer.bearer_token(request), bearer.ACCESS)
    user, device_id = tokens.check_access(claims)
    g.sign_in_id, g.device_id = claims.sign_in_id, device_id
    return user
