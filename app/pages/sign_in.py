"""`/`, signing in and signing out."""

from __future__ import annotations

from flask import Blueprint, Response, g, redirect, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.accounts import sign_ins
from app.accounts.credentials import sign_in_with
from app.accounts.passwords import LONGEST
from app.accounts.throttle import TooManyTriesError
from app.errors import UnauthorizedError
from app.pages.addresses import is_safe_address
from app.pages.door import let_in, visitor
from app.pages.first_run import has_users
from app.pages.language import gettext
from app.pages.render import first_address, render
from app.web import origin_of_request, public, signed_in_user

blueprint = Blueprint("sign_in", __name__)

#: Characters of an e-mail address.
LONGEST_EMAIL = 255


@blueprint.get("/")
def home() -> BaseResponse:
    """The first page of the menu; one's own account while no plugin has a page."""
    return redirect(first_address(signed_in_user()) or url_for("my_account.show"), 303)


@blueprint.get("/sign-in")
@public
def show() -> BaseResponse:
    """The form to sign in with."""
    if visitor() is not None:
        return redirect(_destination(), 303)
    return _form() if has_users() else redirect(url_for("first_run.show"), 303)


@blueprint.post("/sign-in")
@public
def sign_in() -> BaseResponse:
    """Sign in, under the limits of `POST /auth/login`, and go on to the page that was asked for."""
    email, password = request.form.get("email", ""), request.form.get("password", "")
    # PostgreSQL refuses to look for a NUL.
    is_address = email.strip() and "\0" not in email and len(email) <= LONGEST_EMAIL
    if not is_address or not password or len(password) > LONGEST:
        return _form(gettext("Enter your e-mail address and your password."), 422)
    try:
        sign_in_id = sign_in_with(email, password, sign_ins.start_browser_sign_in, "page")
    except UnauthorizedError:
        return _form(gettext("The e-mail address or the password is wrong."), 422)
    except TooManyTriesError as error:
        page = _form(f"{gettext(error.error)}. {_patience(error)}", error.status)
        page.headers.extend(error.headers)
        return page
    destination = _destination()
    let_in(sign_in_id)
    return redirect(destination, 303)


@blueprint.post("/sign-out")
def sign_out() -> BaseResponse:
    """End this browser's sign-in."""
    sign_ins.sign_out(origin_of_request("page"), signed_in_user(), g.sign_in_id)
    session.clear()
    return redirect(url_for("sign_in.show"), 303)


def _form(fault: str = "", status: int = 200) -> Response:
    return render("pages/sign_in.html", status, fault=fault, email=request.form.get("email", ""), next=_destination())


def _destination() -> str:
    """The address to go to after the sign-in: `next` if it is a page of this server."""
    address = request.values.get("next", "")
    return address if is_safe_address(address) else "/"


def _patience(error: TooManyTriesError) -> str:
    seconds = int(error.headers["Retry-After"])
    if seconds < 120:
        return gettext("Try again in %(seconds)s seconds.", seconds=seconds)
    return gettext("Try again in %(minutes)s minutes.", minutes=round(seconds / 60))
