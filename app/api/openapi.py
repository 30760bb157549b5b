"""`GET /openapi.json`: the whole API in one document (contract, section 9).

flask-smorest describes the REST blueprints. Sync, sign-in and what plugins bring are plain Flask routes; they are
added with their addresses, methods and docstrings, so that nothing that is answered is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import cleandoc
from typing import Any

from apispec import APISpec
from flask import Blueprint, Flask, Response, current_app, jsonify
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import Schema, fields
from werkzeug.routing import Rule

from app.extensions import api
from app.timestamps import TimestampField
from app.web import API_PREFIX, public

blueprint = Blueprint("openapi", __name__)

#: Where the application keeps its document.
EXTENSION = "fieldpost.openapi"

ERROR = {"description": "An error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}

# The extension is made once and bound to every application; this is for all of them.
api.register_field(TimestampField, "string", "date-time")


class ErrorSchema(Schema):
    """The body of every error (contract, section 0)."""

    success = fields.Boolean(required=True)
    error = fields.String(required=True)
    code = fields.String(required=True)
    message = fields.String(required=True)
    request_id = fields.String(required=True)
    details = fields.Dict()


def bind_api(app: Flask) -> None:
    """Bind flask-smorest to the application. Errors stay those of `app.web`."""
    errors = dict(app.error_handler_spec[None][None])
    api.ERROR_SCHEMA = ErrorSchema
    api.init_app(app, spec_kwargs={"title": "Fieldpost", "version": "v1", "openapi_version": "3.1.0"})
    # flask-smorest has just put in a handler that would answer HTTP errors in a shape of its own.
    app.error_handler_spec[None][None].update(errors)
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    app.extensions[EXTENSION] = api.spec


@blueprint.get("/openapi.json")
@public
def openapi() -> Response:
    """This API as an OpenAPI document."""
    spec: APISpec = current_app.extensions[EXTENSION]
    document = deepcopy(spec.to_dict())
    for rule in current_app.url_map.iter_rules():
        if rule.rule.startswith(API_PREFIX + "/"):
            _complete(document["paths"].setdefault(FlaskPlugin.flaskpath2openapi(rule.rule), {}), rule)
    return jsonify(document)


def _complete(path: dict[str, Any], rule: Rule) -> None:
    """Add to one path what its rule and view tell: the plain routes, who needs to sign in, the error body."""
    view = current_app.view_functions[rule.endpoint]
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in sorted(rule.arguments)
    ]
    if parameters:
        path.setdefault("parameters", parameters)
    for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
        operation = path.setdefault(method.lower(), {})
        operation.setdefault("summary", _summary(view))
        operation.setdefault("tags", [rule.endpoint.partition(".")[0]])
        responses = operation.setdefault("responses", {})
        responses.setdefault("2XX", {"description": "Done"})
        responses.setdefault("default", ERROR)
        operation["security"] = [] if getattr(view, "is_public", False) else [{"bearer": []}]


def _summary(view: Callable[..., Any]) -> str:
    return cleandoc(view.__doc__ or "").partition("\n")[0]
