"""One application, made in the steps of a start. `app.create_app` calls `create_app` here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from flask import Flask
from flask_compress import Compress
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli
from app.accounts import init_auth
from app.api import register_api
from app.api.health import blueprint as health_blueprint
from app.api.metrics import blueprint as metrics_blueprint
from app.attachments.storage import open_storage
from app.clock import Clock, system_clock
from app.config import API_PREFIX, Settings, load_settings, names_of_settings
from app.core.database.engine import db, engine_options, prepare_engine
from app.core.host.findings import refuse
from app.core.host.load import load_plugins
from app.core.host.migrations import wrong_migrations
from app.core.host.mount import mount_blueprints, mount_commands
from app.core.host.registry import Registry
from app.core.host.settings import read_settings
from app.core.sync.examples import wrong_examples
from app.core.sync.routes import blueprint as sync_blueprint
from app.feed.routes import blueprint as feed_blueprint
from app.http import logs
from app.http.cors import init_cors
from app.http.metrics import init_metrics
from app.http.requests import MOST_FIELDS, BoundedRequest
from app.moving.commands import move_command
from app.pages import init_pages
from app.serving.permissions import keep_private
from app.web import init_web

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parent.parent
#: The core's migrations. A wheel has them in the package (see `setup.py`), the repository has them at its top.
MIGRATIONS = PACKAGE / "_migrations" if (PACKAGE / "_migrations").exists() else PACKAGE.parent / "migrations"


#: Whether a function is asynchronous. Flask asks that of some twenty functions at each request.
is_asynchronous = lru_cache(maxsize=1024)(iscoroutinefunction)


class Fieldpost(Flask):
    """Flask's application, which keeps what it has learnt about functions, and bounds its requests."""

    request_class = BoundedRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """As Flask's."""
        return self.async_to_sync(func) if is_asynchronous(func) else func


def create_app(overrides: Mapping[str, str] | None, clock: Clock | None, makes_data: bool) -> Flask:
    """A ready application: see `app.create_app`."""
    settings = load_settings({**os.environ, **(overrides or {})}, makes_data=makes_data)
    app = create_core(settings, clock)
    # Plugins last, because the checks compare them with everything else.
    install_plugins(app, settings)
    return app


def create_core(settings: Settings, clock: Clock | None = None) -> Flask:
    """The application without plugins."""
    logs.configure_logging(settings)
    app = Fieldpost("fieldpost", static_folder=None, template_folder=None)
    app.extensions |= {"fieldpost.settings": settings, "fieldpost.clock": clock or system_clock}
    app.extensions["fieldpost.storage"] = open_storage(settings)
    _configure(app, settings)
    db.init_app(app)
    prepare_engine(app)
    keep_private(app, settings)
    Migrate(app, db, directory=str(MIGRATIONS), render_as_batch=True)
    Compress(app)
    # Before the sign-in guard: a browser asks for permission without a token.
    init_cors(app, settings)
    # Errors and the sign-in guard before any route, so that none is ever without them.
    init_web(app)
    logs.init_request_log(app)
    init_metrics(app)
    init_auth(app, settings, API_PREFIX)
    init_pages(app, settings)
    app.register_blueprint(sync_blueprint, url_prefix=API_PREFIX)
    app.register_blueprint(feed_blueprint, url_prefix=API_PREFIX)
    app.register_blueprint(health_blueprint)
    app.register_blueprint(metrics_blueprint)
    register_api(app, API_PREFIX)
    cli.register_commands(app)
    app.cli.add_command(move_command)
    return app


def install_plugins(app: Flask, settings: Settings) -> None:
    """Give the application everything that plugins bring. Raises `PluginError` with everything wrong with them."""
    registry = app.extensions["fieldpost.registry"] = Registry()
    findings = [*load_plugins(registry), *mount_blueprints(app, registry, API_PREFIX), *mount_commands(app, registry)]
    wrong_settings, unknown = read_settings(app, registry, settings.unknown, names_of_settings())
    with app.app_context():
        refuse([*findings, *wrong_settings, *wrong_migrations(registry), *wrong_examples(registry)])
    for name in unknown:
        logger.warning("%s is no setting of Fieldpost or an installed plugin: misspelt?", name)


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings),
        MAX_FORM_PARTS=MOST_FIELDS,
        # Not pages: the size of a compressed page would tell about the secrets in it (BREACH).
        COMPRESS_MIMETYPES=["application/json", "text/css"],
        COMPRESS_ALGORITHM=["gzip"],
    )
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
