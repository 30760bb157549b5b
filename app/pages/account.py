"""*My account*: one's own password and sign-ins, by the rules of `app.accounts.own_account`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import Blueprint, Response, flash, g, redirect, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.accounts.own_account import end_own_sign_in, present_sign_ins, replace_password
from app.accounts.passwords import LONGEST, SHORTEST
from app.accounts.throttle import TooManyTriesError
from app.errors import InvalidError
from app.pages.language import gettext, translated
from app.pages.render import render
from app.web import origin_of_request

blueprint = Blueprint("my_account", __name__)


@blueprint.get("/my-account")
def show() -> Response:
    """Your password and your sign-ins."""
    return _page({})


@blueprint.post("/my-account/password")
def change_password() -> BaseResponse:
    """Change your password. All your other sign-ins end."""
    current, new = request.form.get("current_password", ""), request.form.get("new_password", "")
    if new != request.form.get("repeated_password"):
        return _page({"repeated_password": [gettext("The two new passwords differ.")]}, 422)
    try:
        # A longer one would only take longer to compare.
        replace_password(origin_of_request("page"), current[: LONGEST + 1], new)
    except InvalidError as error:
        return _page(translated(error.extra["details"]), 422)
    except TooManyTriesError as error:
        wait = gettext("Wait %(seconds)s seconds.", seconds=error.headers["Retry-After"])
        page = _page({"current_password": [f"{gettext(error.error)}. {wait}"]}, 429)
        page.headers.extend(error.headers)
        return page
    flash(gettext("Your password is changed. All your other sign-ins have ended."))
    return redirect(url_for("my_account.show"), 303)


@blueprint.post("/my-account/sign-ins/<sign_in_id>/end")
def end_sign_in(sign_in_id: str) -> BaseResponse:
    """End one of your sign-ins. Unsent work stays on its device."""
    end_own_sign_in(origin_of_request("page"), sign_in_id)
    if sign_in_id == g.sign_in_id:
        session.clear()
        return redirect(url_for("sign_in.show"), 303)
    flash(gettext("The sign-in has ended. Work that was not sent stays on its device."))
    return redirect(url_for("my_account.show"), 303)


def _page(faults: Mapping[str, Sequence[str]], status: int = 200) -> Response:
    lengths = {"shortest": SHORTEST, "longest": LONGEST}
    return render(
        "pages/my_account.html", status, faults=faults, sign_ins=present_sign_ins(), current=g.sign_in_id, **lengths
    )
