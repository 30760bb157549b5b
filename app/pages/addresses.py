"""Which requests are for pages."""

from __future__ import annotations

from flask import Request

from app.config import API_PREFIX
from app.core.host.registry import current_registry

#: The first part of every address of the API. Nothing below it is ever a page, and nothing reads a cookie there.
MACHINES = API_PREFIX.split("/")[1]

#: The blueprints of the core's own pages; the registry knows those of plugins.
OWN = frozenset({"page_files", "sign_in", "my_account", "first_run"})


def is_for_machines(path: str) -> bool:
    """Whether an address is of the API, or looks like one."""
    return path.partition("?")[0].strip("/").partition("/")[0] == MACHINES


def is_page(request: Request) -> bool:
    """Whether a page answers the request."""
    if request.endpoint is None or is_for_machines(request.path):
        return False
    return is_page_endpoint(request.endpoint)


def is_page_endpoint(endpoint: str) -> bool:
    """Whether an endpoint is one of the core's pages, or of a plugin's."""
    blueprint = endpoint.partition(".")[0]
    return blueprint in OWN or blueprint in current_registry().pages


def expects_page(request: Request) -> bool:
    """Whether an error is best told as a page: by a page, or to a browser that looks for one."""
    if is_for_machines(request.path):
        return False
    return is_page(request) or any(kind == "text/html" for kind, _ in request.accept_mimetypes)


def is_safe_address(text: str) -> bool:
    """Whether a browser that is sent to this address stays on this server, and on a page.

    Browsers read a backslash as a slash and leave control characters out, so that `/\\evil.example` leads away.
    """
    is_local = text.startswith("/") and not text.startswith("//")
    return is_local and "\\" not in text and text.isprintable() and not is_for_machines(text)
