"""`GET /healthz` and `GET /readyz`: whether the process runs, and whether it can serve (contract, section 9)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryFile

from flask import Blueprint, Response, current_app, jsonify, request

from app.accounts.throttle import check_store
from app.api.metrics import has_metrics_token
from app.attachments.storage import current_storage
from app.config import current_settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.done import TASKS, seconds_since
from app.core.host.drift import find_drift
from app.core.host.migrations import UPGRADE, NotMigratedError, missing
from app.core.ledger.state import require_history
from app.errors import TryAgainError
from app.openapi.shapes import OBJECT, TEXT, TRUE, obj
from app.web import described, public

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

#: The results of checks with which a server is ready. `differ`: in the tables of a plugin, so that only its items fail.
WORKING = ("ok", "differ")

#: The bytes that must still fit on the disk of a SQLite file.
ROOM = 64 * 1024

#: How long a check that writes is kept. After a failure it is soon made again, so that a server that is well again
#: gets its traffic back.
GOOD_SECONDS, BAD_SECONDS = 10, 1

#: The check whose failure leaves the server ready: people who are signed in work on, and a proxy must not end that.
SIGN_IN = "sign_in"


@blueprint.get("/healthz")
@public
@described(answer=obj(success=TRUE, status=TEXT))
def healthz() -> Response:
    """The process answers; nothing else is checked."""
    return jsonify({"success": True, "status": "alive"})


@blueprint.get("/readyz")
@public
@described(answer=obj(("checks", "seconds_since"), success=TRUE, status=TEXT, checks=OBJECT, seconds_since=OBJECT))
def readyz() -> Response:
    """Database, migrations, models and storage work. Otherwise the answer is 503.

    `checks` names each of them, to requests from the machine itself or with `FIELDPOST_METRICS_TOKEN`. For the same
    requests `seconds_since` has the ages of the last backup and maintenance of this node, null for never.
    """
    checks = dict(_checks())
    details = {"checks": checks, "seconds_since": _ages()} if _is_trusted() else {}
    failing = [name for name, result in checks.items() if result not in WORKING and name != SIGN_IN]
    if failing:
        fault = TryAgainError(f"Not ready: {', '.join(failing)}" if details else "Not ready")
        fault.extra |= details
        raise fault
    return jsonify({"success": True, "status": "ready", **details})


def _ages() -> dict[str, int | None]:
    """How many seconds ago this node has last done each task; None: never."""
    return {task: seconds_since(current_settings().data_dir, task) for task in TASKS}


def _is_trusted() -> bool:
    """Whether the request comes from this machine, or has the metrics' token."""
    with suppress(ValueError):
        if ip_address(request.remote_addr or "").is_loopback:
            return True
    return has_metrics_token()


def _checks() -> Iterator[tuple[str, str]]:
    steps: list[tuple[str, Callable[[], str | None]]] = [
        ("database", _check_database),
        ("migrations", _check_migrations),
        ("models", _check_models),
        ("storage", lambda: _keep("storage", current_storage().check)),
    ]
    if not current_settings().rate_limit_storage.startswith("memory:"):
        steps.append((SIGN_IN, lambda: _keep(SIGN_IN, check_store)))
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
        _keep("room", lambda: _check_room(directory))


def _keep(name: str, check: Callable[[], None]) -> None:
    """Run a check that costs something, or raise what it raised a moment ago, because strangers may ask, too."""
    kept: dict[str, tuple[float, Exception | None]] = current_app.extensions.setdefault("fieldpost.kept_checks", {})
    until, error = kept.get(name, (0.0, None))
    if until <= time.monotonic():
        error = _error_of(check)
        kept[name] = time.monotonic() + (GOOD_SECONDS if error is None else BAD_SECONDS), error
    if error is not None:
        raise error.with_traceback(None)


def _error_of(check: Callable[[], None]) -> Exception | None:
    try:
        check()
    except Exception as error:  # the caller keeps it and raises it
        return error
    return None


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
        require_history(connection)


def _check_models() -> str:
    """Whether the tables are those of the models. Raises `NotMigratedError` where rows cannot be read at all."""
    with db.engine.connect() as connection:
        found = find_drift(connection)
    fatal = [str(drift) for drift in found if drift.is_fatal]
    if fatal:
        raise NotMigratedError(" ".join(fatal))
    return "differ" if found else "ok"
