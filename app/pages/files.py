"""The stylesheets and icons of pages, each named here: nothing else of their packages is served."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response, request, url_for

from app.errors import NotFoundError
from app.pages.icons import bootstrap_directory
from app.web import public

blueprint = Blueprint("page_files", __name__, template_folder="templates")

OWN = Path(__file__).parent / "static"


class PageFile(NamedTuple):
    """The bytes of a file, with a name for just these bytes."""

    content: bytes
    mimetype: str
    digest: str


#: Name -> its directory, its path there, and its kind.
FILES = {
    "bootstrap.css": (bootstrap_directory, "css/bootstrap.min.css", "text/css"),
    "fieldpost.css": (lambda: OWN, "fieldpost.css", "text/css"),
    "icon.svg": (lambda: OWN, "icon.svg", "image/svg+xml"),
}


@cache
def page_file(name: str) -> PageFile:
    """The file of this name in `FILES`. Read once a process, when a page first needs it."""
    directory, path, mimetype = FILES[name]
    content = (directory() / path).read_bytes()
    return PageFile(content, mimetype, hashlib.sha256(content).hexdigest()[:16])


def file_address(name: str) -> str:
    """The address of a file. It changes with the file's bytes, so that browsers may keep them for ever."""
    return url_for("page_files.send", name=name, v=page_file(name).digest)


@blueprint.get("/page-files/<name>")
@public
def send(name: str) -> Response:
    """A stylesheet or an icon."""
    if name not in FILES:
        raise NotFoundError()
    content, mimetype, digest = page_file(name)
    response = Response(content, mimetype=mimetype)
    is_exact = request.args.get("v") == digest
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_exact else "no-cache"
    response.set_etag(digest)
    response.make_conditional(request)
    return response
