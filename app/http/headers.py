"""Headers that every answer has, errors included (contract, section 0): no guessing of types, no copies, HTTPS."""

from __future__ import annotations

from flask import Flask, Response, request

from app.config import current_settings


def init_headers(app: Flask) -> None:
    """Complete every answer's headers. A view's own `X-Content-Type-Options` and `Cache-Control` stay."""
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    seconds = current_settings().hsts_seconds
    # RFC 6797, section 7.2: not over plain HTTP.
    if seconds and request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={seconds}")
    return response
