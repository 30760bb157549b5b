"""`GET /openapi.json`: the whole API in one document; `GET /docs`: a page to try it (contract, section 9)."""

from __future__ import annotations

import threading
from pathlib import Path

import flask_swagger_ui
import orjson
from flask import Blueprint, Flask, Response, current_app, send_from_directory

from app.openapi.document import make_document
from app.openapi.shapes import OBJECT
from app.web import described, public

blueprint = Blueprint("openapi", __name__)

#: Where the application keeps the document once it was asked for.
DOCUMENT = "fieldpost.openapi_document"

#: Held while the document is made, so that two requests do not make it at once.
_making = threading.Lock()

#: Swagger UI as its distribution brings it, so that nothing is fetched from elsewhere.
ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"

#: Swagger UI sets styles at elements and has its pictures in its style sheet. Everything else comes from this server.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)

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
    errors=("not_found",),
)
def docs_file(name: str) -> Response:
    """A part of the page: a script, a style sheet, an icon."""
    if name == "start.js":
        return _page_part(START, "text/javascript")
    return send_from_directory(ASSETS, name, max_age=3600)


def document() -> bytes:
    """The document of the current application, made when it is first asked for."""
    with _making:
        text: bytes | None = current_app.extensions.get(DOCUMENT)
        if text is None:
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
            text = orjson.dumps(make_document(app))
            current_app.extensions[DOCUMENT] = text
    return text


def _page_part(text: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.headers["Content-Security-Policy"] = POLICY
    return response
