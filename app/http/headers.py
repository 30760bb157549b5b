"""Headers that every answer has, errors included (contract, section 0).

A browser guesses no types, keeps no copies, runs and embeds nothing, and tells no other server the address.
"""

from __future__ import annotations

from flask import Flask, Response, request

from app.config import current_settings

#: Header -> value, unless a view has set its own.
DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def init_headers(app: Flask) -> None:
    """Complete every answer's headers. Those that a view has set stay."""
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)
    seconds = current_settings().hsts_seconds
    # RFC 6797, section 7.2: not over plain HTTP.
    if seconds and request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={seconds}")
    return response
