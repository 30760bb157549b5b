"""*Rescue file*: the queue of a device that cannot sync by itself, read in (contract, section 14)."""

from __future__ import annotations

from flask import Response, request

from app.administration import Rescued, label_of_type, read_in_bytes
from app.errors import RequestError, TryAgainError
from app.pages import gettext as _
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint

#: So many of the items that were not applied are shown; *Set aside* has them all.
MOST = 200


@blueprint.get("/rescue")
def rescue() -> Response:
    """The form for a file."""
    return _page()


@blueprint.post("/rescue")
def read_in_rescue_file() -> Response:
    """Read in a file, and show what became of its items. To send the form again changes nothing."""
    sent = request.files.get("file")
    content = b"" if sent is None else sent.read()
    if not content:
        return _page(fault=_("Choose the file that the app has saved."), status=422)
    try:
        return _page(read_in_bytes(signed_in_user(), content))
    except TryAgainError:
        raise
    except RequestError as error:
        return _page(fault=f"{error.error}. {error.message}", status=error.status)


def _page(rescued: Rescued | None = None, fault: str = "", status: int = 200) -> Response:
    results = [] if rescued is None else rescued.results
    missed = [entry for entry in results if entry["result"] in ("conflict", "refused")]
    return render(
        "console/rescue.html",
        status,
        rescued=rescued,
        missed=missed[:MOST],
        has_more=len(missed) > MOST,
        what=label_of_type,
        faults={"file": [fault]} if fault else {},
    )
