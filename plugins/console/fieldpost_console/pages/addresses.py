"""The address of the page that is shown, with other arguments."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from flask import request


def this_page(**changes: str | None) -> str:
    """The present address with these arguments in place of those with their names; None leaves one out.

    Made without `url_for`, to which some names of arguments, such as `_scheme`, are orders.
    """
    kept = [(name, text) for name, text in request.args.items(multi=True) if name not in changes]
    given = [(name, text) for name, text in changes.items() if text is not None]
    query = urlencode([*kept, *given])
    path = quote(request.root_path + request.path)
    return f"{path}?{query}" if query else path
