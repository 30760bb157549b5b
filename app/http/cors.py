"""Calls from web pages of other origins: refused by browsers, unless `FIELDPOST_CORS_ORIGINS` names the origin."""

from __future__ import annotations

import re

from flask import Flask, Response, current_app, request
from flask_cors import CORS

from app.config import API_PREFIX, Settings
from app.errors import ConfigurationError

#: An origin as a browser sends it, or a web view with a scheme of its own, such as `capacitor://localhost`. Patterns
#: are not accepted: flask-cors would use them as unanchored expressions.
ORIGIN = re.compile(r"[a-z][a-z0-9.-]*://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")

#: Response headers that a page may read, besides those that browsers always allow.
EXPOSED = ["ETag", "X-Request-ID", "Retry-After"]


def init_cors(app: Flask, settings: Settings) -> None:
    """Answer preflights of the named origins, and let their pages read the answers. Raises `ConfigurationError`.

    Credentials are not allowed: a page sends its bearer token itself, so there is no cookie to misuse. Call this
    before the sign-in guard is set up, because a browser sends no token with a preflight.
    """
    origins = [name.strip() for name in settings.cors_origins.split(",") if name.strip()]
    if not origins:
        return
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"FIELDPOST_CORS_ORIGINS: {origin!r} is no origin. Use `https://app.example.com` or "
                "`capacitor://localhost`, in lower case, without a path or wildcards, several separated by commas, or "
                "`*` for all."
            )
    app.before_request(_answer_preflight)
    CORS(
        app,
        resources={re.escape(API_PREFIX) + "/.*": {"origins": [_exactly(origin) for origin in origins]}},
        supports_credentials=False,
        expose_headers=EXPOSED,
        max_age=600,
    )


def _exactly(origin: str) -> str:
    """The origin so that flask-cors matches only it: a name with brackets would count as a regular expression."""
    return f"^{re.escape(origin)}$" if "[" in origin else origin


def _answer_preflight() -> Response | None:
    """The answer to a preflight, to which flask-cors adds its headers; None if the request is not a preflight."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_preflight or request.url_rule is None or not request.path.startswith(API_PREFIX + "/"):
        return None
    return current_app.make_default_options_response()
