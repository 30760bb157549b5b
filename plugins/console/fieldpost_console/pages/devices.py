"""*Devices*: the phones that people sync with, late ones first. *Sync health*: how syncing goes."""

from __future__ import annotations

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import (
    count_late_devices,
    require_admin,
    select_devices,
    sign_out_device,
    sync_health,
    waiting_photos,
)
from app.models import db
from app.pages import ngettext, render
from app.web import answer_if_changed, origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.forms import read_search

#: The list has this many devices at most, and says so; filters lead to the others.
MOST = 200

#: The periods of *Sync health*, in days.
PERIODS = (1, 7, 30)


@blueprint.get("/devices")
def devices() -> Response:
    """The devices that the user may see: their own, or everybody's for administrators."""
    user, q, state = signed_in_user(), read_search(), request.args.get("state", "")
    is_late = {"late": True, "in_time": False}.get(state)
    rows = db.session.execute(select_devices(user, is_late=is_late, text=q).limit(MOST + 1)).all()
    return render(
        "console/devices.html",
        rows=rows[:MOST],
        has_more=len(rows) > MOST,
        most=MOST,
        late=count_late_devices(user),
        given={"q": q, "state": state},
    )


@blueprint.get("/devices/numbers")
def device_numbers() -> Response:
    """The numbers of the page, which renew themselves."""
    return answer_if_changed({"late": str(count_late_devices(signed_in_user()))})


@blueprint.post("/devices/<key>/sign-out")
def sign_out_of_device(key: str) -> BaseResponse:
    """End all sign-ins of a device."""
    count = sign_out_device(origin_of_request("page"), signed_in_user(), key)
    flash(ngettext("%(num)s sign-in has ended.", "%(num)s sign-ins have ended.", count))
    return redirect(url_for("console.devices"), 303)


@blueprint.get("/sync-health")
def health() -> Response:
    """The counts of a period, with plots and the tables that they are drawn from."""
    require_admin(signed_in_user())
    days = _days()
    photos = waiting_photos(signed_in_user())
    return render("console/sync_health.html", days=days, periods=PERIODS, health=sync_health(days), photos=photos)


@blueprint.get("/sync-health/numbers")
def health_numbers() -> Response:
    """The sums of a period, which renew themselves."""
    require_admin(signed_in_user())
    counts = sync_health(_days())
    numbers = {name: getattr(counts, name) for name in ("batches", "applied", "replayed", "conflicts")}
    numbers["refused"] = sum(counts.refused.values())
    return answer_if_changed({name: str(number) for name, number in numbers.items()})


def _days() -> int:
    sent = request.args.get("days", "")
    return int(sent) if sent in map(str, PERIODS) else PERIODS[0]
