"""What every route uses, the core's and the plugins': the current user, who may go on, bodies, answers, errors as JSON.

flask-smorest carries no types; here its decorators get some.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

import flask_smorest
import orjson
from flask import Flask, Response, current_app, g, jsonify, request
from flask.json.provider import JSONProvider
from flask_login import current_user
from marshmallow import RAISE, Schema
from werkzeug.exceptions import HTTPException

from app.clock import now, to_wire
from app.config import API_PREFIX, current_settings
from app.core.ledger.record import Origin, record
from app.core.ledger.unit import is_outside_unit, is_repeatable, unit_of_work
from app.errors import RequestError, StorageError, TooLargeError, TryAgainError, UnauthorizedError
from app.http.body import CutOffError, JsonParser, SlowBodyError, body_pieces
from app.models import User
from app.openapi.description import described
from app.openapi.faults import Fault

__all__ = [
    "CutOffError",
    "Fault",
    "Origin",
    "RestBlueprint",
    "SlowBodyError",
    "answer",
    "body_pieces",
    "described",
    "init_web",
    "public",
    "record",
    "rest_origin",
    "signed_in_user",
    "unit_of_work",
]

logger = logging.getLogger(__name__)

View = TypeVar("View", bound=Callable[..., Any])

#: What `X-Request-ID` may be (contract, section 0): at most 64 visible ASCII characters.
REQUEST_ID = re.compile(r"[!-~]{1,64}")

#: Codes of the errors that Werkzeug raises itself.
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

MESSAGES = {
    404: "Check the address and the id; the API is below /api/v1.",
    405: "Use one of the methods in the Allow header.",
    413: "Send less at once.",
    429: "Wait for the time in Retry-After, then send the same request again.",
}


class OrjsonProvider(JSONProvider):
    """Flask's JSON through orjson, which is several times as fast and refuses what is not JSON."""

    def dumps(self, obj: Any, **_kwargs: Any) -> str:
        """JSON text."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_kwargs: Any) -> Any:
        """A JSON value. Request bodies do not come this way but through `app.http.body`."""
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """A response with the JSON of `args` and `kwargs`."""
        return current_app.response_class(
            orjson.dumps(self._prepare_response_obj(args, kwargs)), mimetype="application/json"
        )


class Decorator(Protocol):
    """Gives a view back as it is typed."""

    def __call__(self, view: View, /) -> View: ...


class RestBlueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A flask-smorest blueprint: what its decorators say is in the OpenAPI document."""

    ARGUMENTS_PARSER = JsonParser()

    def get(self, rule: str, **options: Any) -> Decorator:
        """Register a view that reads."""
        return cast(Decorator, super().get(rule, **options))

    def post(self, rule: str, **options: Any) -> Decorator:
        """Register a view that creates."""
        return cast(Decorator, super().post(rule, **options))

    def patch(self, rule: str, **options: Any) -> Decorator:
        """Register a view that changes."""
        return cast(Decorator, super().patch(rule, **options))

    def delete(self, rule: str, **options: Any) -> Decorator:
        """Register a view that deletes."""
        return cast(Decorator, super().delete(rule, **options))

    def body(self, schema: type[Schema]) -> Decorator:
        """Give the view the JSON body as `schema` makes it; 400 `invalid` names its faults."""
        return cast(Decorator, self.arguments(schema, error_status_code=400))

    def query(self, schema: type[Schema]) -> Decorator:
        """Give the view the query parameters as `schema` makes them; unknown ones are refused, as in a body."""
        return cast(Decorator, self.arguments(schema, location="query", unknown=RAISE, error_status_code=400))


def public(view: View) -> View:
    """Mark a view as open to everybody. All other routes below `/api/v1` need a bearer token."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def signed_in_user() -> User:
    """The signed-in user as of the token check. A unit of work reads the row again: `recorder.user`."""
    user: User = current_user._get_current_object()
    return user


def rest_origin(door: str = "rest") -> Origin:
    """Who writes, for the ledger: the signed-in user and the device named at sign-in."""
    return Origin(door=door, user_id=signed_in_user().id, device_id=g.get("device_id"))


def answer(data: Any, message: str, status: int = 200) -> Response:
    """`{"success": true, "data": …, "server_time": …, "message": …}` with `status`."""
    response = jsonify({"success": True, "data": data, "server_time": to_wire(now()), "message": message})
    response.status_code = status
    return response


def init_web(app: Flask) -> None:
    """Give the application its request ids, the sign-in guard and the JSON errors."""
    app.json = OrjsonProvider(app)
    app.before_request(_name_request)
    app.before_request(_require_sign_in)
    app.after_request(_answer_request_id)
    app.register_error_handler(RequestError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def _name_request() -> None:
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if REQUEST_ID.fullmatch(sent) else uuid4().hex


def _answer_request_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id") or uuid4().hex
    return response


def _require_sign_in() -> None:
    """Routes below `/api/v1` are closed unless their view says `@public`."""
    if request.endpoint is None or not request.path.startswith(API_PREFIX + "/"):
        return
    if getattr(current_app.view_functions[request.endpoint], "is_public", False):
        return
    if not current_user.is_authenticated:
        fault: UnauthorizedError | None = g.get("token_fault")
        raise fault or UnauthorizedError("token_missing", "Send `Authorization: Bearer <access token>`.")


def _answer_error(error: RequestError) -> Response:
    response = jsonify(error.body(g.get("request_id")))
    response.status_code = error.status
    response.headers.extend(error.headers)
    return response


def _answer_http_exception(error: HTTPException) -> Response:
    """Werkzeug's own errors in our shape; what they put into headers (Allow, Retry-After) stays."""
    status = error.code or 500
    if status < 400 and error.response is not None:
        return error.response  # type: ignore[return-value]  # a redirect, which is no error
    if status == 413:
        return _answer_error(TooLargeError(current_settings().max_batch_bytes))
    fault = RequestError(
        error.name if status != 500 else "Internal error",
        MESSAGES.get(status, error.description or "Correct the request and send it again."),
        code=CODES.get(status, "internal_error" if status >= 500 else "bad_request"),
    )
    fault.status = status
    response = _answer_error(fault)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _answer_unexpected(error: Exception) -> Response:
    """Whatever else was raised: unavailability is 503 and nothing was recorded, the rest is our bug."""
    if isinstance(error, StorageError) or (is_repeatable(error) and not is_outside_unit(error)):
        logger.error("unavailable: %s", type(error).__name__, exc_info=error)
        return _answer_error(TryAgainError())
    logger.error("unexpected error", exc_info=error)
    fault = RequestError(
        "Internal error", "Send the request again later; report the request id.", code="internal_error"
    )
    fault.status = 500
    return _answer_error(fault)
