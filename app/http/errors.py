"""Errors as answers: the one JSON error body of `app.errors` (contract, section 0), or a page (section 11)."""

from __future__ import annotations

import errno
import logging

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

from app.config import current_settings
from app.core.ledger.unit import is_outside_unit, is_repeatable
from app.errors import RequestError, StorageError, TooLargeError, TryAgainError
from app.http.logs import log_security_event

logger = logging.getLogger(__name__)

#: Where the application keeps the function `RequestError -> Response | None` that answers with a page.
ERROR_PAGE = "fieldpost.error_page"

#: Status -> code, for the errors that Werkzeug raises itself.
CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "too_slow",
    411: "length_required",
    412: "precondition_failed",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid",
    429: "too_many_requests",
    431: "headers_too_large",
}

#: Errors of the system that say that no file can grow.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}

#: Statuses below 500 at which the same request may succeed later.
RETRYABLE = {408, 425, 429}

#: Status -> advice, where Werkzeug's own sentence does not say what to do.
MESSAGES = {
    404: "Check the address and the id; the API is below /api/v1.",
    405: "Use one of the methods in the Allow header.",
    413: "Send less at once.",
    429: "Wait for the time in Retry-After, then send the same request again.",
}


def init_errors(app: Flask) -> None:
    """Answer every exception: to the API's clients as JSON, to people as a page."""
    app.register_error_handler(RequestError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def _answer_error(error: RequestError) -> Response:
    if error.status == 403:
        log_security_event("forbidden", method=request.method, path=request.path[:200])
    response = _page_of(error) or jsonify(error.body(g.get("request_id")))
    response.status_code = error.status
    response.headers.extend(error.headers)
    return response


def _page_of(error: RequestError) -> Response | None:
    """The error as a page, where a browser asked for one."""
    page: Response | None = current_app.extensions[ERROR_PAGE](error)
    return page


def _answer_http_exception(error: HTTPException) -> Response:
    """Werkzeug's own errors in our shape. The headers that they set (Allow, Retry-After) stay."""
    status = error.code or 500
    if status < 400 and error.response is not None:
        return error.response  # type: ignore[return-value]  # a redirect, which is no error
    if status == 413:
        return _answer_error(TooLargeError(current_settings().max_batch_bytes))
    response = _answer_error(_fault_of(error, status))
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _fault_of(error: HTTPException, status: int) -> RequestError:
    fault = RequestError(
        error.name if status != 500 else "Internal error",
        MESSAGES.get(status, error.description or "Correct the request and send it again."),
        code=CODES.get(status, "internal_error" if status >= 500 else "bad_request"),
    )
    fault.status = status
    fault.retryable = status in RETRYABLE or status >= 500
    return fault


def _answer_unexpected(error: Exception) -> Response:
    """All other exceptions: 503 if disk, storage or database are full or unavailable, otherwise 500, a bug of ours.

    After a 503 nothing was recorded.
    """
    is_full = isinstance(error, OSError) and error.errno in NO_ROOM
    if is_full or isinstance(error, StorageError) or (is_repeatable(error) and not is_outside_unit(error)):
        logger.error("unavailable: %s", type(error).__name__, exc_info=error)
        return _answer_error(TryAgainError())
    logger.error("unexpected error", exc_info=error)
    fault = RequestError(
        "Internal error", "Send the request again later; report the request id.", code="internal_error"
    )
    fault.status, fault.retryable = 500, True
    return _answer_error(fault)
