"""`GET /healthz` and `GET /readyz`: is the process there, and can it serve (contract, section 9)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

from flask import Blueprint, Response, jsonify
from sqlalchemy import text

from app.attachments.storage import current_storage
from app.core.database import database_of
from app.core.database.engine import db
from app.core.host.migrations import UPGRADE, NotMigratedError, missing
from app.errors import TryAgainError
from app.openapi.shapes import OBJECT, TEXT, TRUE, obj
from app.web import described, public

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

#: Bytes that must fit beside a SQLite file.
ROOM = 64 * 1024


@blueprint.get("/healthz")
@public
@described(answer=obj(success=TRUE, status=TEXT))
def healthz() -> Response:
    """The process answers; nothing else is asked."""
    return jsonify({"success": True, "status": "alive"})


@blueprint.get("/readyz")
@public
@described(answer=obj(success=TRUE, status=TEXT, checks=OBJECT))
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
    directory = database_of(db.engine).directory(db.engine)
    if directory is not None:
        # It is ours, and need not be the storage's; a server's disk is its operator's.
        _check_room(directory)


def _check_room(directory: Path) -> None:
    """Whether what a small transaction writes would fit. Nobody waits for it, as for a write to the database."""
    with TemporaryFile(dir=directory) as file:
        file.write(bytes(ROOM))
        file.flush()
        os.fsync(file.fileno())


def _check_migrations() -> None:
    with db.engine.connect() as connection:
        found = missing(connection)
    if found:
        raise NotMigratedError(f"{' '.join(found)} Run `{UPGRADE}`.")
