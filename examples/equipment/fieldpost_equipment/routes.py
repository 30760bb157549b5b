"""`GET /equipment/tags` and `GET /equipment/about`."""

from flask import Blueprint, Response
from sqlalchemy import select

from app import policies
from app.models import Inspection, db
from app.plugin_api import plugin_settings
from app.web import answer, described, public, signed_in_user
from fieldpost_equipment.models import Item

blueprint = Blueprint("equipment", __name__, url_prefix="/equipment")


@blueprint.get("/tags")
@described(data={"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}})
def tags() -> Response:
    """The tags of all equipment that the user may see."""
    statement = select(Item.tag).join(Inspection, Inspection.id == Item.inspection_id).order_by(Item.tag)
    found = db.session.scalars(statement.where(policies.visible(signed_in_user())))
    return answer({"tags": list(found)}, "Tags retrieved successfully")


@blueprint.get("/about")
@public
def about() -> Response:
    """What everybody may know."""
    return answer({"most_details": plugin_settings("equipment")["most_details"]}, "About equipment")
