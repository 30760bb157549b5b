"""Everything that routes use, the core's and the plugins': the signed-in user, request bodies, answers, units of work.

Routes import these names from here, wherever they are defined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from flask.typing import RouteCallable
from marshmallow import RAISE, Schema
from werkzeug.exceptions import NotFound
from werkzeug.routing import RequestRedirect

from app.clock import now, to_wire
from app.config import API_PREFIX
from app.core.ledger.record import Origin, record
from app.core.ledger.unit import unit_of_work
from app.core.values import NO_ID
from app.errors import InvalidError
from app.http.body import CutOffError, JsonParser, SlowBodyError, body_pieces
from app.http.errors import init_errors
from app.http.headers import init_headers
from app.http.json_provider import OrjsonProvider
from app.http.request_ids import init_request_ids
from app.http.requests import refuse_long_lists
from app.models import User
from app.openapi.description import View, described
from app.openapi.error_codes import ErrorCode

__all__ = [
    "CutOffError",
    "ErrorCode",
    "Origin",
    "RestBlueprint",
    "SlowBodyError",
    "answer",
    "answer_if_changed",
    "body_pieces",
    "described",
    "init_web",
    "origin_of_request",
    "public",
    "record",
    "signed_in_user",
    "unit_of_work",
]

#: Makes a view of a view.
Decorator: TypeAlias = Callable[[RouteCallable], RouteCallable]

PARSER = JsonParser()

#: Where the application keeps the function `request -> User` that checks an access token.
SIGN_IN = "fieldpost.sign_in"


class RestBlueprint(Blueprint):
    """A blueprint whose views get parsed bodies and queries, which then stand in the OpenAPI document as well.

    `description` says there what its routes are about.
    """

    def __init__(self, name: str, import_name: str, *, description: str = "", **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self.description = description

    def body(self, schema: type[Schema]) -> Decorator:
        """Give the view the JSON body as `schema` reads it; 400 `invalid` names the errors in it."""
        return _parsed(PARSER.use_args(schema, location="json"), described(body=schema))

    def query(self, schema: type[Schema]) -> Decorator:
        """Give the view the query parameters as `schema` reads them; unknown ones are refused, as in a body."""
        return _parsed(PARSER.use_args(schema, location="query", unknown=RAISE), described(query=schema))


def _parsed(parse: Decorator, describe: Decorator) -> Decorator:
    def decorate(view: RouteCallable) -> RouteCallable:
        return describe(parse(view))

    return decorate


def public(view: View) -> View:
    """Mark a view as open to everybody. All other routes below `/api/v1` need a bearer token.

    A JSON body to such a view has at most `FIELDPOST_MAX_PUBLIC_BYTES`, and no Content-Encoding.
    """
    view.is_public = True  # type: ignore[union-attr]
    return view


def signed_in_user() -> User:
    """The signed-in user as of the token check. A unit of work reads the row again: `recorder.user`."""
    user: User = g.user
    return user


def origin_of_request(door: str = "rest") -> Origin:
    """The origin of changes for the ledger: the signed-in user, and the device that was named at the sign-in.

    `door` is `rest`, `page`, `sync` or `upload`: the way by which the changes come in.
    """
    return Origin(door=door, user_id=signed_in_user().id, device_id=g.get("device_id"))


def answer(data: object, message: str, status: int = 200) -> Response:
    """`{"success": true, "data": …, "server_time": …, "message": …}` with `status`."""
    response = jsonify({"success": True, "data": data, "server_time": to_wire(now()), "message": message})
    response.status_code = status
    return response


def answer_if_changed(data: object) -> Response:
    """`data` as JSON with its ETag; 304 for a client that has it already. For numbers that pages renew."""
    response = jsonify(data)
    response.add_etag()
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


def wrong_id(*names: str) -> InvalidError:
    """The error for an id in an address that is none."""
    return InvalidError(message="Correct the address.", extra={"details": {name: [NO_ID] for name in names}})


def init_web(app: Flask) -> None:
    """Give the application its request ids, the sign-in guard, JSON errors and the headers of every answer."""
    app.json = OrjsonProvider(app)
    init_headers(app)
    init_request_ids(app)
    app.before_request(refuse_long_lists)
    app.before_request(_refuse_near_misses)
    app.before_request(_require_sign_in)
    app.before_request(_refuse_nul)
    init_errors(app)


def _refuse_near_misses() -> None:
    """404 for an address that Werkzeug would correct: its redirect goes to the host that the client has named.

    Werkzeug removes slashes at the front by itself, so the path is read as the client sent it.
    """
    if "//" in request.environ["PATH_INFO"] or isinstance(request.routing_exception, RequestRedirect):
        raise NotFound()


def _refuse_nul() -> None:
    """400 for a key in the path with a NUL, which PostgreSQL takes in no text."""
    names = [name for name, value in (request.view_args or {}).items() if "\0" in str(value)]
    if names:
        raise wrong_id(*names)


def _require_sign_in() -> None:
    """Refuse requests without an access token below `/api/v1`, unless the view is marked `@public`.

    A plugin may sign people in otherwise for pages of its own. A cookie opens nothing here: a browser sends it along
    with requests that other sites make.
    """
    if request.endpoint is None or not request.path.startswith(API_PREFIX + "/"):
        return
    if getattr(current_app.view_functions[request.endpoint], "is_public", False):
        return
    g.user = current_app.extensions[SIGN_IN](request)
