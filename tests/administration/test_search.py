"""The search for a part of a text, in the table that the database's triggers keep (migration 0019)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import downgrade, upgrade
from sqlalchemy import delete, update

from app.administration import inspection_list
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import BETWEEN_TEXTS, Inspection, InspectionTexts, User
from app.testing import push
from tests.conftest import SignIn, World
from tests.support.answers import json_of

ORDERS = ("newest", "oldest", "date", "latest_date")


@pytest.fixture
def office(sign_in: SignIn, admin: User) -> FlaskClient:
    return sign_in(admin)


def found(client: FlaskClient, **query: str) -> list[int]:
    """The ids of the list with this query."""
    answer = client.get("/api/v1/inspections", query_string=query)
    data = json_of(answer)["data"]
    ids = [inspection["id"] for inspection in data["inspections"]]
    assert data["total"] == len(ids)
    return ids


def test_what_anybody_writes_is_found_and_what_it_replaced_is_not(
    world: World, office: FlaskClient, phone: FlaskClient, owner: User, tech: User
) -> None:
    inspection = world.inspection(owner, tech, notes="first", property={"address": "Old Quay"})
    place = f"/api/v1/inspections/{inspection.id}"
    steps: list[tuple[str, Any]] = [
        ("first", lambda: push(phone, item(inspection, notes="second"))),
        ("second", lambda: office.patch(place, json={"notes": None, "job": "third"})),
        ("old quay", lambda: office.patch(place, json={"property": {"property_name": "fourth", "address": None}})),
        ("fourth", lambda: office.patch(place, json={"property": None, "customer": {"name": "Fifth Ltd"}})),
        ("third", lambda: office.patch(place, json={"job": None, "status": "completed"})),
        ("fifth", lambda: office.delete(place)),
    ]
    for part, change in steps:
        assert found(office, q=part) == [inspection.id], part
        change()
        assert found(office, q=part) == [], part
    assert world.all(InspectionTexts) == []


def item(inspection: Inspection, **payload: Any) -> dict[str, Any]:
    return {"type": "inspection", "local_id": str(payload), "data": {"id": inspection.id, **payload}}


def test_a_program_that_writes_to_the_database_by_itself_forgets_nothing(
    app: Flask, world: World, office: FlaskClient, owner: User
) -> None:
    inspections = [world.inspection(owner, job=f"J-{number}") for number in range(3)]
    ids = [inspection.id for inspection in inspections]
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(update(Inspection).values(notes="painted"))
        connection.execute(delete(Inspection).where(Inspection.id == ids[0]))
    assert found(office, q="painted", sort="oldest") == ids[1:]
    assert found(office, q="j-", sort="oldest") == ids[1:]


def test_customer_is_a_part_of_the_customers_name_alone(world: World, office: FlaskClient, owner: User) -> None:
    row = world.inspection(owner, notes="for Acme", customer={"name": "Meyer & Söhne", "email": "office@acme.example"})
    world.inspection(owner, customer=None)
    assert found(office, customer="MEYER &") == [row.id]
    assert found(office, customer="acme") == []
    assert found(office, customer="meyer", q="for acme") == [row.id]
    assert found(office, customer="meyer", q="elephant") == []


def test_no_part_reaches_from_one_text_into_the_next(world: World, office: FlaskClient, owner: User) -> None:
    world.inspection(owner, notes="end", job="begin")
    for between in ("", " ", "\n", BETWEEN_TEXTS):
        assert found(office, q=f"end{between}begin") == []
    assert found(office, q=BETWEEN_TEXTS) == []


@pytest.mark.database("postgresql")
def test_capital_letters_of_all_languages_are_found(world: World, office: FlaskClient, owner: User) -> None:
    row = world.inspection(owner, notes="ÖLMÜHLE", customer={"name": "Émile"})
    assert found(office, q="ölmühle") == found(office, q="Ölmühle") == found(office, customer="éMILE") == [row.id]


@pytest.mark.parametrize("few", [1, 5000])
def test_few_and_many_are_found_in_each_order(
    world: World, office: FlaskClient, owner: User, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection_list, "FEW_WITH_TEXT", few)
    days = {1: dt.date(2024, 3, 22), 2: dt.date(2024, 3, 20), 3: dt.date(2024, 3, 21)}
    ids = {number: world.inspection(owner, date=day, notes="A valve").id for number, day in days.items()}
    world.inspection(owner, notes="nothing of the kind")
    expected = {"newest": [3, 2, 1], "oldest": [1, 2, 3], "date": [2, 3, 1], "latest_date": [1, 3, 2]}
    for order in ORDERS:
        assert found(office, q="VALVE", sort=order) == [ids[number] for number in expected[order]]
    assert found(office, q="valve", date_from="2024-03-22") == [ids[1]]


def test_the_texts_of_inspections_that_were_there_are_found_after_the_upgrade(
    app: Flask, world: World, office: FlaskClient, owner: User
) -> None:
    row = world.inspection(owner, notes="Earlier", customer={"name": "Then Ltd"})
    with app.app_context():
        downgrade(revision="0018")
        upgrade()
    assert found(office, q="EARLIER") == found(office, customer="then") == [row.id]


def test_nobody_with_few_inspections_has_all_texts_read(
    world: World, sign_in: SignIn, owner: User, tech: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = world.inspection(owner, tech, notes="shared")
    world.inspection(owner, notes="shared")

    def refuse(*_: object) -> Any:
        raise AssertionError("all texts are read")

    monkeypatch.setattr(inspection_list, "_few_with_texts", refuse)
    assert found(sign_in(tech), q="Shared") == [mine.id]
