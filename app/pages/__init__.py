"""Pages: HTML for people, below `/` and never below `/api/v1` (contract, section 11).

Plugins bring pages of their own through `Plugin.pages`, and import `render` from here.
"""

from __future__ import annotations

from flask import Flask

from app.config import Settings
from app.http.errors import ERROR_PAGE
from app.pages import account, files, first_run, sign_in
from app.pages.door import init_door
from app.pages.headers import init_page_headers
from app.pages.icons import icon
from app.pages.language import gettext, init_language, ngettext
from app.pages.render import render, render_error, render_panel

__all__ = ["gettext", "init_pages", "ngettext", "render", "render_panel"]


def init_pages(app: Flask, settings: Settings) -> None:
    """Give the application the door for pages, and the core's own pages."""
    init_door(app, settings)
    init_page_headers(app)
    init_language(app)
    app.jinja_env.globals["icon"] = icon
    app.extensions[ERROR_PAGE] = render_error
    for blueprint in (files.blueprint, sign_in.blueprint, account.blueprint, first_run.blueprint):
        app.register_blueprint(blueprint)
