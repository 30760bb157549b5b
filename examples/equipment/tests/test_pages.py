"""The page *Equipment*: who sees it, and what is on it."""

import re

from fieldpost_equipment.models import Item, Room
from flask import Flask
from flask.testing import FlaskClient

from app.administration import show_row
from app.models import User, db
from app.pages import render_panel
from app.testing import PASSWORD, Scene


def browser(app: Flask, user: User) -> FlaskClient:
    """A browser that the user has signed in with."""
    client = app.test_client()
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
    client.post("/sign-in", data={"csrf_token": token, "email": user.email, "password": PASSWORD})
    return client


def test_people_see_the_equipment_of_their_inspections_and_no_other(app: Flask) -> None:
    scene = Scene(app)
    room = scene.world.make(Room, scene.inspection.id, name="Attic")
    scene.world.make(Item, scene.inspection.id, tag="P-<1>", room_id=room.id, details={})
    scene.world.make(Item, scene.inspection.id, tag="V-2", details={})
    technician = browser(app, scene.user("technician"))
    page = technician.get("/equipment/").text
    assert '<a href="/equipment/" aria-current="page">Equipment</a>' in page
    assert "P-&lt;1&gt;" in page
    assert "Attic" in page
    assert "P-" not in technician.get("/equipment/?q=v").text
    assert "V-2" not in browser(app, scene.user("stranger")).get("/equipment/").text


def test_nobody_sees_it_without_a_sign_in(app: Flask) -> None:
    scene = Scene(app)
    assert app.test_client().get("/equipment/").location == "/sign-in?next=/equipment/"
    assert scene.client("admin").get("/equipment/").status_code == 303, "a token is for the API"


def test_people_see_a_piece_of_equipment_by_its_panel(app: Flask) -> None:
    scene = Scene(app)
    item = scene.world.make(Item, scene.inspection.id, tag="P-<1>", room_id=None, details={"serial": "<b>7"})
    with app.test_request_context():
        shown = show_row(db.session.get_one(Item, item.id))
        panel = render_panel("equipment/item.html", row=shown.row, shown=shown, user=scene.user("owner"))
    assert shown.title == "Equipment P-<1>"
    assert [value.label.label for value in shown.values] == ["Tag", "Keeper's phone", "Serial"]
    assert panel is not None
    assert "P-&lt;1&gt;" in panel
    assert "<li>Serial: &lt;b&gt;7</li>" in panel
