"""Canceling and deleting an inspection, each after a question."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from sqlalchemy import func, select
from werkzeug.wrappers import Response as BaseResponse

from app import policies
from app.administration import change_inspection, delete_inspection, require_admin
from app.errors import NotFoundError
from app.models import Attachment, FormFill, Inspection, db
from app.pages import gettext as _
from app.pages import render
from app.web import origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import ONE, blueprint


@blueprint.get(f"{ONE}/cancel")
def confirm_cancel(inspection_id: int) -> Response:
    """Asks whether the inspection is to be canceled."""
    return render("console/cancel_inspection.html", inspection=_inspection(inspection_id))


@blueprint.post(f"{ONE}/cancel")
def cancel_inspection(inspection_id: int) -> BaseResponse:
    """Cancel the inspection: nothing is lost, and its status can be set again."""
    change_inspection(origin_of_request("page"), inspection_id, {"status": "canceled"})
    flash(_("The inspection is canceled."))
    return redirect(url_for("console.inspections"), 303)


@blueprint.get(f"{ONE}/delete")
def confirm_delete(inspection_id: int) -> Response:
    """Asks whether the inspection is to be deleted, and for its name to be typed."""
    return _question(inspection_id)


@blueprint.post(f"{ONE}/delete")
def erase_inspection(inspection_id: int) -> BaseResponse:
    """Delete the inspection and everything below it, if its name was typed."""
    name = name_of(_inspection(inspection_id))
    if request.form.get("name", "").strip() != name:
        return _question(inspection_id, {"name": [_("This is not the name.")]}, 422)
    delete_inspection(origin_of_request("page"), inspection_id)
    flash(_("%(name)s is deleted.", name=name))
    return redirect(url_for("console.inspections"), 303)


def name_of(inspection: Any) -> str:
    """What people call an inspection: the name or the address of its property, or its number."""
    place = inspection.property or {}
    name = (place.get("property_name") or place.get("address") or "").strip()
    return name or _("Inspection %(id)s", id=inspection.id)


def _question(inspection_id: int, faults: dict[str, list[str]] | None = None, status: int = 200) -> Response:
    inspection = _inspection(inspection_id)
    return render(
        "console/delete_inspection.html",
        status,
        inspection=inspection,
        name=name_of(inspection),
        faults=faults or {},
        forms=_number(FormFill, inspection_id),
        photos=_number(Attachment, inspection_id, Attachment.deleted_at.is_(None)),
    )


def _inspection(inspection_id: int) -> Any:
    require_admin(signed_in_user())
    columns = (Inspection.id, Inspection.property, Inspection.date, Inspection.status)
    statement = select(*columns).where(Inspection.id == inspection_id, policies.visible(signed_in_user()))
    row = db.session.execute(statement).one_or_none()
    if row is None:
        raise NotFoundError("Inspection not found")
    return row


def _number(model: Any, inspection_id: int, *conditions: Any) -> int:
    statement = select(func.count()).select_from(model).where(model.inspection_id == inspection_id, *conditions)
    return db.session.scalar(statement) or 0
