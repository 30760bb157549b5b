"""The log: one JSON object a line on standard error, with request, user, device, batch. Never data, passwords, tokens.

What an exception says may quote what a client sent, and so is left out: its type and where it was raised tell enough.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import structlog
from flask import Flask, Response, g, has_request_context, request
from structlog.typing import EventDict, ExcInfo, WrappedLogger

from app.config import Settings
from app.errors import StartError, StorageError

logger = logging.getLogger(__name__)

#: Marks our handler, so that a second application in the same process replaces it.
HANDLER_NAME = "fieldpost"

#: Libraries that tell at length what they do, headers and bodies included.
TALKATIVE = ("alembic", "boto3", "botocore", "s3transfer", "urllib3", "PIL")


def configure_logging(settings: Settings) -> None:
    """Send what every logger says, the libraries' too, to standard error at the level of the settings."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.ExtraAdder(),
        structlog.contextvars.merge_contextvars,
        _add_request,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(_format_exception),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(HANDLER_NAME)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if each.get_name() != HANDLER_NAME] + [handler]
    root.setLevel(settings.log_level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def init_request_log(app: Flask) -> None:
    """One line for each request, once it is answered."""
    app.before_request(_start)
    app.after_request(_log_request)
    app.teardown_request(_forget)


def _start() -> None:
    g.started = time.perf_counter()


def _forget(_error: BaseException | None) -> None:
    # What was bound to this request's lines, its batch, is not the next one's.
    structlog.contextvars.clear_contextvars()


def _log_request(response: Response) -> Response:
    logger.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path[:200],
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - g.get("started", time.perf_counter())) * 1000, 1),
            "user_id": _user_id(),
        },
    )
    return response


def _user_id() -> int | None:
    # Not `current_user`, which would ask the database.
    return getattr(g.get("_login_user"), "id", None)


def _add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if has_request_context():
        found = {"request_id": g.get("request_id"), "user_id": _user_id(), "device_id": g.get("device_id")}
        event.update({name: value for name, value in found.items() if value is not None})
    return event


def _format_exception(exc_info: ExcInfo) -> str:
    """The traceback in Python's order, the first cause first, without what the exceptions say."""
    return "\n".join(
        "".join(["Traceback (most recent call last):\n", *traceback.format_tb(each.__traceback__), _named(each)])
        for each in reversed([*_chain(exc_info[1])])
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and what led to it, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _named(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    said = _said(error)
    return f"{name}: {said}" if said else name


def _said(error: BaseException) -> str:
    """What of an exception's text is sure to quote nobody's data; empty where nothing is."""
    match error:
        case StorageError() | StartError():
            return str(error)
        case psycopg.Error():
            return " ".join(filter(None, (error.sqlstate, error.diag.constraint_name))) or _of_connection(error)
        case sqlite3.Error():
            return str(getattr(error, "sqlite_errorname", ""))
        case OSError():
            return error.strerror or ""
    return ""


def _of_connection(error: psycopg.Error) -> str:
    """Without a state, it is not the database that speaks but the way to it."""
    return str(error) if isinstance(error, psycopg.OperationalError) else ""


def _serialize(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
