"""Which pages of other origins may call the API from a browser: none, unless `FIELDPOST_CORS_ORIGINS` names them."""

from __future__ import annotations

import re

from flask import Flask, Response, current_app, request
from flask_cors import CORS

from app.config import API_PREFIX, Settings
from app.errors import ConfigurationError

#: An origin as a browser sends it. Not a pattern: flask-cors would take one for a regular expression, unanchored.
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")

#: Headers of an answer that a page may read, besides the few that it always may.
EXPOSED = ["ETag", "X-Request-ID", "Retry-After"]


def init_cors(app: Flask, settings: Settings) -> None:
    """Answer the named origins' preflights, and tell browsers that they may read the answers.

    Without credentials: a page sends its bearer token itself, so there is no cookie to misuse. To be called before
    the sign-in guard is set up: a browser sends no token with a preflight. Raises `ConfigurationError`.
    """
    origins = [each.strip() for each in settings.cors_origins.split(",") if each.strip()]
    if not origins:
        return
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"FIELDPOST_CORS_ORIGINS: {origin!r} is no origin. Use `https://app.example.com`, lower case, "
                "without a path or wildcards, several separated by commas, or `*` for all."
            )
    app.before_request(_answer_preflight)
    CORS(
        app,
        resources={re.escape(API_PREFIX) + "/.*": {"origins": [_exactly(each) for each in origins]}},
        supports_credentials=False,
        expose_headers=EXPOSED,
        max_age=600,
    )


def _exactly(origin: str) -> str:
    """flask-cors takes what has brackets for a regular expression; then it must mean only itself."""
    return f"^{re.escape(origin)}$" if "[" in origin else origin


def _answer_preflight() -> Response | None:
    """A preflight's answer, to which flask-cors adds its headers; None: this request is none."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_preflight or request.url_rule is None or not request.path.startswith(API_PREFIX + "/"):
        return None
    return current_app.make_default_options_response()
