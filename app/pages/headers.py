"""The headers of every page: nothing from elsewhere, no inline script or style, no frame around it."""

from __future__ import annotations

from flask import Flask, Response, request

from app.pages.addresses import expects_page, is_for_machines, is_page

#: Bootstrap's icons are `data:` images in its stylesheet.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def init_page_headers(app: Flask) -> None:
    """Complete the headers of pages. `app.http.headers` adds `nosniff` and `no-store`, as it does to all answers."""
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    if is_for_machines(request.path):
        return response
    if is_page(request) or (response.mimetype == "text/html" and expects_page(request)):
        for name, value in HEADERS.items():
            # A page may not be more open than this.
            response.headers[name] = value
    return response
