"""Requests that are refused before the application sees them, as JSON like all errors (contract, section 0).

Loads only gunicorn: its master imports this module.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any, Protocol
from uuid import uuid4

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHeader,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from app.errors import RequestError

#: A host and perhaps a port (RFC 9110, section 7.2; RFC 3986, section 3.2.2).
HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?", re.ASCII)

#: The refusals that are not 400 `bad_request`: status, code, sentence and advice.
OTHERS: dict[type[Exception], tuple[int, str, str, str]] = {
    LimitRequestLine: (414, "uri_too_long", "The address is too long", "Send a shorter query."),
    LimitRequestHeaders: (431, "headers_too_large", "The headers are too large", "Send fewer or shorter headers."),
    ExpectationFailed: (417, "bad_request", "The expectation cannot be met", "Leave the header Expect out."),
    UnsupportedTransferCoding: (
        501,
        "bad_request",
        "The transfer coding is not supported",
        "Send the body with Content-Length, or with `Transfer-Encoding: chunked` alone.",
    ),
}


class Head(Protocol):
    """The part of gunicorn's request that is used here. Names of headers are in capitals."""

    version: tuple[int, int]
    headers: list[tuple[str, str]]
    #: Reads its body.
    body: Any


def check_head(head: Head) -> None:
    """Refuse what gunicorn lets through. Raises its own `InvalidHeader` or `UnsupportedTransferCoding`."""
    host = None
    for name, value in head.headers:
        if name == "HOST":
            host = value
        elif name == "TRANSFER-ENCODING" and value.lower() != "chunked":
            # gunicorn would read `gzip, chunked` and not decode it.
            raise UnsupportedTransferCoding(value)
    if host is None and head.version < (1, 1):
        return
    # RFC 9112, section 3.2.
    if host is None or not HOST.fullmatch(host):
        raise InvalidHeader("HOST")


def is_refusal(error: Exception) -> bool:
    """Whether the client's request is at fault, and not the server."""
    return isinstance(error, ParseException) and not isinstance(
        error, InvalidResponseHeader | InvalidResponseHeaderName
    )


def answer_of(error: Exception) -> bytes:
    """The whole answer to a request that cannot be read, or that failed outside of the application."""
    fault = _fault_of(error)
    request_id = uuid4().hex
    body = json.dumps(fault.body(request_id), separators=(",", ":")).encode()
    lines = [
        f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        f"X-Request-ID: {request_id}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _fault_of(error: Exception) -> RequestError:
    if not is_refusal(error):
        status, code = 500, "internal_error"
        sentence, advice = "Internal error", "Send the request again later; report the request id."
    elif type(error) in OTHERS:
        status, code, sentence, advice = OTHERS[type(error)]
    else:
        status, code = 400, "bad_request"
        sentence = "The request is not readable as HTTP"
        advice = "Correct its first line and its headers, Host, Content-Length and Transfer-Encoding among them."
    fault = RequestError(sentence, advice, code=code)
    fault.status = status
    return fault
