"""`GET /openapi.json`: the whole API in one document; `GET /docs`: a page to try it (contract, section 9)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import flask_swagger_ui
import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Blueprint, Flask, Response, current_app, send_from_directory
from marshmallow import Schema, fields

from app.core.database.engine import api
from app.core.values import TimestampField
from app.openapi.document import make_document
from app.openapi.shapes import OBJECT
from app.web import described, public

blueprint = Blueprint("openapi", __name__)

#: Where the application keeps what flask-smorest noted, and the document once it was asked for.
NOTED, DOCUMENT = "fieldpost.openapi_noted", "fieldpost.openapi_document"

#: Held while the document is made, which adds to what is noted.
_making = threading.Lock()

#: Swagger UI as its distribution brings it: nothing is fetched from anywhere else.
ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"

#: Swagger UI sets styles at elements, and has its pictures in its style sheet; all else comes from here.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Fieldpost API</title>
  <link rel="stylesheet" href="docs/swagger-ui.css">
  <link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
  <div id="page"></div>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""

#: No validator: it would send the document's address to somebody else's server.
START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null, persistAuthorization: false,
  docExpansion: "none", defaultModelsExpandDepth: 0, displayRequestDuration: true
});
"""


# The extension is made once and bound to every application; this is for all of them.
api.register_field(TimestampField, "string", "date-time")


class Converter(OpenAPIConverter):
    """Makes JSON Schemas of marshmallow's, with what only a JSON Schema can say: their `json_schema`."""

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        """The schema, and what it says of itself."""
        return {**super().schema2jsonschema(schema), **getattr(schema, "json_schema", {})}  # type: ignore[no-untyped-call]


class ConvertingPlugin(MarshmallowPlugin):
    """apispec's, with our converter."""

    Converter = Converter


class ErrorSchema(Schema):
    """For flask-smorest, which wants one; `app.openapi.shapes.ERROR` is what the document says of errors."""

    error = fields.String(required=True)


def bind_api(app: Flask) -> None:
    """Bind flask-smorest to the application. Errors stay those of `app.web`."""
    errors = dict(app.error_handler_spec[None][None])
    api.ERROR_SCHEMA = ErrorSchema
    about = {"title": "Fieldpost", "version": "v1", "openapi_version": "3.1.0"}
    api.init_app(app, spec_kwargs={**about, "marshmallow_plugin": ConvertingPlugin()})
    # flask-smorest has just put in a handler that would answer HTTP errors in a shape of its own.
    app.error_handler_spec[None][None].update(errors)
    app.extensions[NOTED] = api.spec


@blueprint.get("/openapi.json")
@public
@described(answer=OBJECT)
def openapi() -> Response:
    """This API as an OpenAPI 3.1 document."""
    return current_app.response_class(document(), mimetype="application/json")


@blueprint.get("/docs")
@public
@described(answers={200: {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}}})
def docs() -> Response:
    """A page to read this API and to try it."""
    return _page_part(PAGE, "text/html")


@blueprint.get("/docs/<name>")
@public
@described(
    answers={200: {"description": "The file", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
    faults=("not_found",),
)
def docs_file(name: str) -> Response:
    """What the page needs."""
    if name == "start.js":
        return _page_part(START, "text/javascript")
    response = send_from_directory(ASSETS, name, max_age=3600)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def document() -> bytes:
    """The document of the current application, made when it is first asked for."""
    with _making:
        found: bytes | None = current_app.extensions.get(DOCUMENT)
        if found is None:
            noted: APISpec = current_app.extensions[NOTED]
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
            found = orjson.dumps(make_document(app, noted))
            current_app.extensions[DOCUMENT] = found
    return found


def _page_part(text: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
