"""The first administrator, made in the browser while there is no user at all (contract, section 11).

The page asks for a token that only somebody who reads the server's log has. All workers and nodes tell the same one: it
is derived from the secret key and the ledger's generation. It is of no use once there is a user.
"""

from __future__ import annotations

import hashlib
import hmac
import logging

from flask import Blueprint, Flask, Response, flash, redirect, request, url_for
from sqlalchemy import exists, select
from sqlalchemy.exc import DBAPIError
from werkzeug.wrappers import Response as BaseResponse

from app.accounts.passwords import LONGEST, SHORTEST
from app.accounts.users import add_first_admin
from app.config import current_settings
from app.core.database.engine import db
from app.core.values import JsonObject
from app.errors import InvalidError, NotFoundError, TryAgainError
from app.http.logs import log_security_event
from app.models import LedgerState, User
from app.pages.language import gettext, translated
from app.pages.render import render
from app.web import Origin, public

logger = logging.getLogger(__name__)

blueprint = Blueprint("first_run", __name__)

#: Characters of an e-mail address, and of a name.
LONGEST_TEXT = 255


def has_users() -> bool:
    """Whether anybody can sign in, or could once."""
    return bool(db.session.scalar(select(exists().where(User.id.is_not(None)))))


def tell_first_run(app: Flask) -> None:
    """Log the token of the first-run page if there is no user yet."""
    with app.app_context():
        try:
            token = None if has_users() else first_token()
        except (DBAPIError, TryAgainError) as error:
            logger.warning(
                "the database does not answer, so nobody knows whether it has users: %s", getattr(error, "orig", error)
            )
            return
    if token is not None:
        logger.warning("There is no user yet. Open /first-run in a browser, and enter the token %s", token)


def first_token() -> str:
    """The token of this installation: 128 bits as hexadecimal digits."""
    generation = db.session.scalar(select(LedgerState.generation))
    text = f"fieldpost first run {generation}"
    return hmac.new(current_settings().secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


@blueprint.get("/first-run")
@public
def show() -> Response:
    """The form for the first administrator; 404 once there is a user."""
    _require_no_user()
    return _page({})


@blueprint.post("/first-run")
@public
def create() -> BaseResponse:
    """Add the first administrator, who then signs in."""
    _require_no_user()
    form = {name: request.form.get(name, "").strip() for name in ("token", "name", "email")}
    faults = _faults(form)
    if faults:
        return _page(faults, 422)
    try:
        person = {"email": form["email"], "name": form["name"], "password": request.form.get("password", "")}
        add_first_admin(Origin(door="page"), **person)
    except InvalidError as error:
        return _page(translated(error.extra["details"]), 422)
    flash(gettext("You are the first administrator. Sign in with your new password."))
    return redirect(url_for("sign_in.show"), 303)


def _require_no_user() -> None:
    if has_users():
        raise NotFoundError()


def _faults(form: dict[str, str]) -> JsonObject:
    if not hmac.compare_digest(form["token"].encode(), first_token().encode()):
        log_security_event("wrong token of the first run")
        return {"token": [gettext("This is not the token in the server's log.")]}
    faults: JsonObject = {}
    # PostgreSQL stores no NUL.
    if not 0 < len(form["name"]) <= LONGEST_TEXT or "\0" in form["name"]:
        faults["name"] = [gettext("A name has 1 to %(most)s characters.", most=LONGEST_TEXT)]
    if not 0 < len(form["email"]) <= LONGEST_TEXT or "@" not in form["email"].strip("@") or "\0" in form["email"]:
        faults["email"] = [gettext("This is no e-mail address.")]
    return faults


def _page(faults: JsonObject, status: int = 200) -> Response:
    return render("pages/first_run.html", status, faults=faults, form=request.form, shortest=SHORTEST, longest=LONGEST)
