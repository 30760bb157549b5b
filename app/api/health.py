"""`GET /healthz` and `GET /readyz`: is the process there, and can it serve (contract, section 9)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, current_app, jsonify
from sqlalchemy import text

from app.errors import TryAgainError
from app.extensions import db
from app.storage import current_storage
from app.web import public

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)


class NotMigratedError(Exception):
    """The database is not at the version that this release needs."""


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """The process answers; nothing else is asked."""
    return jsonify({"success": True, "status": "alive"})


@blueprint.get("/readyz")
@public
def readyz() -> Response:
    """Database, migrations and storage do their work; else 503 that names the ones that do not."""
    checks = dict(_checks())
    if set(checks.values()) != {"ok"}:
        failing = ", ".join(name for name, found in checks.items() if found != "ok")
        fault = TryAgainError(f"Not ready: {failing}")
        fault.extra["checks"] = checks
        raise fault
    return jsonify({"success": True, "status": "ready", "checks": checks})


def _checks() -> Iterator[tuple[str, str]]:
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("database", _check_database),
        ("migrations", _check_migrations),
        ("storage", current_storage().check),
    )
    for name, check in steps:
        try:
            check()
        except Exception as error:  # whatever it is, it means "not ready"; the log says why
            logger.error("not ready: %s", name, exc_info=error)
            yield name, "not migrated" if isinstance(error, NotMigratedError) else "failed"
        else:
            yield name, "ok"


def _check_database() -> None:
    with db.engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _check_migrations() -> None:
    with db.engine.connect() as connection:
        present = set(MigrationContext.configure(connection).get_current_heads())
    needed = _heads(current_app.extensions["migrate"].directory)
    if present != needed:
        raise NotMigratedError(f"at {sorted(present)}, needs {sorted(needed)}; run `flask --app wsgi db upgrade`")


@cache
def _heads(directory: str) -> set[str]:
    return set(ScriptDirectory(directory).get_heads())
