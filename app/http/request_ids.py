"""The id of a request: the client's `X-Request-ID` or a new one; for the log and the answer (contract, section 0)."""

from __future__ import annotations

import re
from uuid import uuid4

from flask import Flask, Response, g, request

#: An `X-Request-ID` that is taken over: at most 64 visible ASCII characters.
REQUEST_ID = re.compile(r"[!-~]{1,64}")


def init_request_ids(app: Flask) -> None:
    """Give every request an id, as `g.request_id` and in the header `X-Request-ID` of its answer."""
    app.before_request(_name_request)
    app.after_request(_answer_request_id)


def _name_request() -> None:
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if REQUEST_ID.fullmatch(sent) else uuid4().hex


def _answer_request_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id") or uuid4().hex
    return response
