"""Templates as pages: the layout with its menu, and errors (contract, section 11)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flask import Response, g, make_response, render_template, request, url_for
from markupsafe import Markup

from app.clock import to_wire
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.host.watch import is_interrupt
from app.errors import RequestError
from app.models import User
from app.pages.addresses import expects_page
from app.pages.door import TOKEN_FIELD, form_token
from app.pages.files import file_address
from app.pages.language import functions_of_page, gettext
from app.plugin_api import MenuEntry, Pages

logger = logging.getLogger(__name__)


class Link(NamedTuple):
    """An entry of the menu, for one user."""

    label: str
    address: str
    is_current: bool
    endpoint: str
    #: A text beside the label, such as a number; None: the plugin counts nothing here.
    number: str | None


def render(template: str, status: int = 200, **values: Any) -> Response:
    """A page made of a template, which usually extends `pages/layout.html`.

    Besides `values`, templates get `user` (None before the sign-in), `menu`, `form_token()`, `file_address(name)` and
    `to_wire`.
    """
    user: User | None = g.get("user")
    common = {
        "user": user,
        "menu": list(menu_of(user)) if user is not None else [],
        "token_field": TOKEN_FIELD,
        "form_token": form_token,
        "file_address": file_address,
        "to_wire": to_wire,
        **functions_of_page(),
    }
    return make_response(render_template(template, **common | values), status)


def render_panel(panel: str, **values: Any) -> Markup | None:
    """The part of a page that a plugin draws for its row (`Entity.panel`); None where that fails, which is logged."""
    try:
        return Markup(render_template(panel, **values))
    except BaseException as error:  # a plugin's code may raise anything
        if is_interrupt(error):
            raise
        logger.exception("panel failed", extra={"panel": panel})
        return None


def menu_of(user: User) -> Iterator[Link]:
    """The menu entries that all plugins bring for this user, in the order of the plugins' names."""
    for pages in _pages():
        counts = _counts(pages, user)
        for entry in _entries(pages, user):
            is_current = request.endpoint == entry.endpoint
            number = counts.get(entry.endpoint)
            yield Link(entry.label, url_for(entry.endpoint), is_current, entry.endpoint, number)


def first_address(user: User) -> str | None:
    """The address of the first page in the user's menu; None: it is empty."""
    entries = (entry for pages in _pages() for entry in _entries(pages, user))
    return next((url_for(entry.endpoint) for entry in entries), None)


def _pages() -> Iterator[Pages]:
    plugins = sorted(current_registry().plugins.items())
    return (plugin.pages for _, plugin in plugins if plugin.pages is not None)


def _entries(pages: Pages, user: User) -> Iterator[MenuEntry]:
    """The entries of a plugin's menu that the user sees."""
    return (entry for entry in pages.menu if entry.who is None or entry.who(user))


def _counts(pages: Pages, user: User) -> Mapping[str, str]:
    """The texts beside a plugin's menu entries; none where that fails, which is logged."""
    if pages.counts is None:
        return {}
    try:
        return dict(pages.counts(user))
    except BaseException as error:  # a plugin's code may raise anything
        if is_interrupt(error):
            raise
        db.session.rollback()
        logger.exception("counts failed", extra={"pages": pages.blueprint.name})
        return {}


def render_error(error: RequestError) -> Response | None:
    """An error as a page; None if the client gets JSON."""
    if not expects_page(request):
        return None
    # Nothing is read for it: the database itself may be the fault.
    page = render_template(
        "pages/error.html",
        error=error,
        title=gettext(error.error),
        message=gettext(error.message),
        request_id=g.get("request_id"),
        user=None,
        menu=[],
        file_address=file_address,
    )
    return make_response(page, error.status)
