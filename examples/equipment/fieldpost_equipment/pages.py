"""The page *Equipment*: everything that the user may see, and a search by tag."""

from flask import Blueprint, Response, request
from sqlalchemy import select

from app import policies
from app.models import Inspection, db
from app.pages import render
from app.web import signed_in_user
from fieldpost_equipment.models import Item, Room

blueprint = Blueprint("equipment_pages", __name__, template_folder="templates")

#: A page loads this many rows, and says so where there are more.
MOST = 100


@blueprint.get("/")
def items() -> Response:
    """The equipment whose tag contains `q`, by tag."""
    q = request.args.get("q", "")
    statement = select(Item.tag, Room.name).join(Inspection, Inspection.id == Item.inspection_id)
    statement = statement.outerjoin(Room, Room.id == Item.room_id).order_by(Item.tag, Item.id).limit(MOST)
    statement = statement.where(policies.visible(signed_in_user()), Item.tag.icontains(q, autoescape=True))
    return render("equipment/items.html", q=q, items=db.session.execute(statement).all(), most=MOST)
