"""The log: one JSON object a line on standard error, with request, user, device and batch.

It never contains data, passwords or tokens. The message of an exception may quote a client's data, so it is left out;
the exception's type and its traceback are enough.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterator

import orjson
import psycopg
import structlog
from flask import Flask, Response, g, has_request_context, request
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from app.config import Settings
from app.errors import NoFieldError, StartError, StorageError

logger = logging.getLogger(__name__)
security = logging.getLogger("fieldpost.security")

#: Marks our handler, so that a second application in the same process replaces it.
HANDLER_NAME = "fieldpost"

#: Libraries whose loggers write at length, headers and bodies included.
TALKATIVE = ("alembic", "boto3", "botocore", "s3transfer", "urllib3", "PIL")


def configure_logging(settings: Settings) -> None:
    """Send the records of all loggers, the libraries' too, to standard error at the level of the settings."""
    shared: list[Processor] = [
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
    root.handlers = [other for other in root.handlers if other.get_name() != HANDLER_NAME] + [handler]
    root.setLevel(settings.log_level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def init_request_log(app: Flask) -> None:
    """Log a line for each request once it is answered."""
    app.before_request(_start)
    app.after_request(_log_request)
    app.teardown_request(_forget)


def log_security_event(event: str, level: int = logging.WARNING, **facts: object) -> None:
    """Log something that an attack brings about, with the client's address, for operators and for fail2ban.

    Never log what was typed as an e-mail address, because it may be a password.
    """
    security.log(level, event, extra={"address": request.remote_addr, **facts})


def _start() -> None:
    g.started = time.perf_counter()


def _forget(_error: BaseException | None) -> None:
    # The batch that was bound to this request's lines must not appear in the next request's.
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
    return getattr(g.get("user"), "id", None)


def _add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if has_request_context():
        ids = {"request_id": g.get("request_id"), "user_id": _user_id(), "device_id": g.get("device_id")}
        event.update({name: value for name, value in ids.items() if value is not None})
    return event


def _format_exception(exc_info: ExcInfo) -> str:
    """The traceback in Python's order, the first cause first, without the exceptions' messages."""
    return "\n".join(
        "".join(["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__), _name_of(error)])
        for error in reversed([*_chain(exc_info[1])])
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and its causes, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _name_of(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = _safe_message(error)
    return f"{name}: {message}" if message else name


def _safe_message(error: BaseException) -> str:
    """The part of an exception's message that cannot quote anybody's data; empty if no part is safe."""
    match error:
        case StorageError() | StartError() | NoFieldError():
            return str(error)
        case psycopg.Error():
            return " ".join(filter(None, (error.sqlstate, error.diag.constraint_name))) or _connection_message(error)
        case sqlite3.Error():
            return str(getattr(error, "sqlite_errorname", ""))
        case OSError():
            return error.strerror or ""
    return ""


def _connection_message(error: psycopg.Error) -> str:
    """The message of a failed connection: an error without an SQL state does not come from the database."""
    return str(error) if isinstance(error, psycopg.OperationalError) else ""


def _serialize(event: object, **_options: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
