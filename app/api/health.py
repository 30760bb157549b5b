"""`GET /healthz` and `GET /readyz`: whether the process runs, and whether it can serve (contract, section 9)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

from flask import Blueprint, Response, jsonify

from app.attachments.storage import current_storage
from app.core.database import database_of
from app.core.database.engine import db
from app.core.host.drift import find_drift
from app.core.host.migrations import UPGRADE, NotMigratedError, missing
from app.errors import TryAgainError
from app.openapi.shapes import OBJECT, TEXT, TRUE, obj
from app.web import described, public

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

#: The results of checks with which a server is ready. `differ`: in the tables of a plugin, so that only its items fail.
WORKING = ("ok", "differ")

#: The bytes that must still fit on the disk of a SQLite file.
ROOM = 64 * 1024


@blueprint.get("/healthz")
@public
@described(answer=obj(success=TRUE, status=TEXT))
def healthz() -> Response:
    """The process answers; nothing else is checked."""
    return jsonify({"success": True, "status": "alive"})


@blueprint.get("/readyz")
@public
@described(answer=obj(success=TRUE, status=TEXT, checks=OBJECT))
def readyz() -> Response:
    """Database, migrations, models and storage work. Otherwise 503, which names those that do not."""
    checks = dict(_checks())
    failing = ", ".join(name for name, result in checks.items() if result not in WORKING)
    if failing:
        fault = TryAgainError(f"Not ready: {failing}")
        fault.extra["checks"] = checks
        raise fault
    return jsonify({"success": True, "status": "ready", "checks": checks})


def _checks() -> Iterator[tuple[str, str]]:
    steps: tuple[tuple[str, Callable[[], str | None]], ...] = (
        ("database", _check_database),
        ("migrations", _check_migrations),
        ("models", _check_models),
        ("storage", current_storage().check),
    )
    for name, check in steps:
        try:
            yield name, check() or "ok"
        except Exception as error:  # any error means "not ready"; the log has the reason
            logger.error("not ready: %s", name, exc_info=error)
            yield name, "not migrated" if isinstance(error, NotMigratedError) else "failed"


def _check_database() -> None:
    with db.engine.connect() as connection:
        database_of(db.engine).check(connection)
    directory = database_of(db.engine).directory(db.engine)
    if directory is not None:
        # PostgreSQL's operator watches its disk. This disk is ours, and may be another than the storage's.
        _check_room(directory)


def _check_room(directory: Path) -> None:
    """Raise `OSError` unless a small transaction would fit. Unlike a write to the database, this waits for no lock."""
    with TemporaryFile(dir=directory) as file:
        file.write(bytes(ROOM))
        file.flush()
        os.fsync(file.fileno())


def _check_migrations() -> None:
    with db.engine.connect() as connection:
        findings = missing(connection)
    if findings:
        raise NotMigratedError(f"{' '.join(findings)} Run `{UPGRADE}`.")


def _check_models() -> str:
    """Whether the tables are those of the models. Raises `NotMigratedError` where rows cannot be read at all."""
    with db.engine.connect() as connection:
        found = find_drift(connection)
    fatal = [str(drift) for drift in found if drift.is_fatal]
    if fatal:
        raise NotMigratedError(" ".join(fatal))
    return "differ" if found else "ok"
