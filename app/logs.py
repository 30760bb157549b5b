"""The log: one JSON object a line on standard error, each with the request's id. Never data, passwords or tokens."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson
import structlog
from flask import Flask, Response, g, has_request_context, request
from structlog.typing import EventDict, WrappedLogger

from app.config import Settings

logger = logging.getLogger(__name__)

#: Marks our handler, so that a second application in the same process replaces it.
HANDLER_NAME = "fieldpost"


def configure_logging(settings: Settings) -> None:
    """Send what every logger says, the libraries' too, to standard error at the level of the settings."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.ExtraAdder(),
        _add_request_id,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
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
    # It tells of each look at the migrations, so of every `/readyz`.
    logging.getLogger("alembic").setLevel(max(logging.WARNING, root.level))


def init_request_log(app: Flask) -> None:
    """One line for each request, once it is answered."""
    app.before_request(_start)
    app.after_request(_log_request)


def _start() -> None:
    g.started = time.perf_counter()


def _log_request(response: Response) -> Response:
    user = g.get("_login_user")
    logger.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path[:200],
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - g.get("started", time.perf_counter())) * 1000, 1),
            "user_id": getattr(user, "id", None),
        },
    )
    return response


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if has_request_context() and "request_id" in g:
        event["request_id"] = g.request_id
    return event


def _serialize(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
