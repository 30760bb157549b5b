"""Fieldpost: the server that field-inspection apps sync with. `create_app` makes one application."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli, logs
from app.api import register_api
from app.api.health import blueprint as health_blueprint
from app.auth import init_auth
from app.clock import Clock, system_clock
from app.config import Settings, load_settings
from app.cors import init_cors
from app.extensions import compress, db, engine_options, limiter, migrate, prepare_engine
from app.registry import load_registry, mount_blueprints, plugin_settings
from app.storage import open_storage
from app.sync.routes import blueprint as sync_blueprint
from app.web import API_PREFIX, init_web

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def create_app(overrides: Mapping[str, str] | None = None, clock: Clock = system_clock) -> Flask:
    """A ready application. `overrides` are environment variables that win over the process's own.

    Raises `StartError` with what is wrong and what to do.
    """
    settings = load_settings({**os.environ, **(overrides or {})})
    logs.configure_logging(settings)
    app = Flask("fieldpost", static_folder=None)
    app.extensions |= {"fieldpost.settings": settings, "fieldpost.clock": clock}
    app.extensions["fieldpost.storage"] = open_storage(settings)
    _configure(app, settings)
    db.init_app(app)
    prepare_engine(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS), render_as_batch=True)
    limiter.init_app(app)
    compress.init_app(app)
    # Before the sign-in guard: a browser asks for permission without a token.
    init_cors(app, settings)
    # Errors and the sign-in guard before any route, so that none is ever without them.
    init_web(app)
    logs.init_request_log(app)
    init_auth(app, settings, API_PREFIX)
    app.register_blueprint(sync_blueprint, url_prefix=API_PREFIX)
    app.register_blueprint(health_blueprint)
    register_api(app, API_PREFIX)
    # Plugins last: what they bring must fit what is there.
    registry = load_registry(app)
    mount_blueprints(app, registry, API_PREFIX)
    app.extensions["fieldpost.plugin_settings"], unknown = plugin_settings(registry, settings.unknown)
    for name in unknown:
        logger.warning("%s is no setting of Fieldpost or an installed plugin: misspelt?", name)
    cli.register_commands(app)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings),
        RATELIMIT_STORAGE_URI=settings.rate_limit_storage,
        RATELIMIT_HEADERS_ENABLED=True,
        COMPRESS_MIMETYPES=["application/json"],
        COMPRESS_ALGORITHM=["gzip"],
    )
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
