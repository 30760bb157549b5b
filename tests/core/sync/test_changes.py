"""`GET /sync/changes`: the walk, then the feed; pages, cursors, what comes and goes with one's sight (section 6)."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.models import FormFill, Inspection, User
from app.testing import push
from tests.conftest import SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.copies import CHANGES, Copy, assign, of
from tests.support.answers import json_of
from tests.support.cases import cases


def test_the_walk_lists_what_one_sees_parents_first_and_then_nothing_more(
    world: World, device: FlaskClient, sign_in: SignIn, form_fill: FormFill, inspection: Inspection
) -> None:
    photo = world.attachment(form_fill)
    world.form_fill(world.inspection(world.user("x@example.com")))
    copy = Copy(device)
    assert copy.read() == [of("upsert", inspection), of("upsert", form_fill), of("upsert", photo)]
    assert copy.read() == []
    assert Copy(sign_in(world.user("stranger@example.com"))).read() == []


def test_records_are_shaped_as_in_the_package(
    world: World, device: FlaskClient, form_fill: FormFill, inspection: Inspection
) -> None:
    world.attachment(form_fill)
    copy, slim = Copy(device, query="&structures=1"), Copy(device)
    copy.read()
    slim.read()
    answer = device.get(f"/api/v1/inspections/{inspection.id}/offline_data").json
    package: Any = answer["data"]  # type: ignore[index]
    (form,) = package["form_fills"]
    (photo,) = form.pop("photos")
    shown = {each["entity"]: each["record"] for each in copy.changes}
    assert shown == {
        "inspection": package["inspection"],
        "form_fill": form,
        "attachment": {**photo, "form_fill_id": form_fill.id},
    }
    assert {each["updated_at"] for each in copy.changes} == {"2024-03-15T10:30:00.000Z"}
    structure = shown["form_fill"].pop("form_structure")
    assert {each["entity"]: each["record"] for each in slim.changes} == shown
    assert slim.known["form_template", form_fill.form_template_id]["form_structure"] == structure


def test_a_change_comes_once_in_its_present_state(device: FlaskClient, other: FlaskClient, form_fill: FormFill) -> None:
    copy = Copy(device)
    copy.read()
    for number in range(5):
        push(other, edit(form_fill, a=number))
    assert copy.read() == [of("upsert", form_fill)]
    assert copy.changes[0]["record"]["data"] == {"a": 4, "b": 0}
    assert copy.read() == []


@pytest.mark.parametrize("limit", [1, 2, 7, 500])
def test_an_assignment_brings_everything_below_however_old_in_pages_of_any_size(
    world: World, office: FlaskClient, sign_in: SignIn, owner: User, limit: int
) -> None:
    newcomer = world.user("newcomer@example.com")
    inspection, template = world.inspection(owner), world.template()
    forms = [world.form_fill(inspection, template) for _ in range(6)]
    photos = [world.attachment(form) for form in forms for _ in range(2)]
    copy = Copy(sign_in(newcomer), limit)
    assert copy.read() == []
    assign(office, inspection, newcomer)
    found = copy.read()
    rows: list[Any] = [inspection, *forms, *photos]
    assert set(copy.rows) == {(row.__entity__.name, row.id) for row in rows}
    assert Counter(found).most_common(1)[0][1] == 1
    assign(office, inspection, None)
    assert sorted(copy.read(), key=str) == sorted((of("remove", row) for row in rows), key=str)
    assert copy.rows == {}


@pytest.mark.parametrize("limit", [1, 2, 500])
@pytest.mark.parametrize("is_deleted", [True, False])
def test_rows_that_go_with_their_inspection_are_named_after_it_with_their_client_ids(
    world: World, office: FlaskClient, device: FlaskClient, form_fill: FormFill, limit: int, is_deleted: bool
) -> None:
    client_id = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"
    data = {"inspection_id": form_fill.inspection_id, "form_template_id": form_fill.form_template_id}
    item = {"type": "form_fill", "local_id": "new", "data": {**data, "client_id": client_id}}
    (made,) = push(device, item)["success"]
    photo = world.attachment(form_fill)
    copy = Copy(device, limit)
    copy.read()
    address = f"/api/v1/inspections/{form_fill.inspection_id}"
    answer = office.delete(address) if is_deleted else office.patch(address, json={"assignee_id": None})
    assert answer.status_code == 200
    copy.read()
    assert [(each["op"], each["entity"], each["id"], each.get("client_id")) for each in copy.changes] == [
        ("remove", "inspection", form_fill.inspection_id, None),
        ("remove", "form_fill", form_fill.id, None),
        ("remove", "form_fill", made["server_id"], client_id),
        ("remove", "attachment", photo.id, None),
    ]


def test_a_device_learns_of_new_form_templates_and_of_the_people_on_its_inspections(
    world: World, office: FlaskClient, sign_in: SignIn, owner: User
) -> None:
    anna, ben = (world.user(f"{name}@example.com", name=name) for name in ("anna", "ben"))
    copies = {user.id: Copy(sign_in(user)) for user in (anna, ben, owner)}

    def people(user: User) -> set[int]:
        copies[user.id].read()
        return {key for entity, key in copies[user.id].known if entity == "user"}

    assert (people(anna), people(ben), people(owner)) == ({anna.id}, {ben.id}, {owner.id})
    inspection = world.inspection(owner, anna)
    assert (people(anna), people(ben), people(owner)) == ({anna.id, owner.id}, {ben.id}, {anna.id, owner.id})
    assert copies[anna.id].known["user", owner.id] == {"id": owner.id, "name": owner.name, "role": owner.role}
    assert office.patch(f"/api/v1/users/{owner.id}", json={"name": "Olga"}).status_code == 200
    people(anna)
    assert copies[anna.id].known["user", owner.id]["name"] == "Olga"
    assign(office, inspection, ben)
    assert (people(anna), people(ben), people(owner)) == ({anna.id}, {ben.id, owner.id}, {ben.id, owner.id})
    template = world.template()
    for copy in copies.values():
        copy.read()
        assert copy.known["form_template", template.id]["form_structure"] == template.form_structure


def test_a_change_while_a_cursor_stands_inside_an_assignment_is_not_missed(
    world: World, office: FlaskClient, other: FlaskClient, sign_in: SignIn, owner: User
) -> None:
    newcomer = world.user("newcomer@example.com")
    inspection, template = world.inspection(owner), world.template()
    forms = [world.form_fill(inspection, template, data={}) for _ in range(10)]
    copy = Copy(sign_in(newcomer), 3)
    copy.read()
    assign(office, inspection, newcomer)
    for form in forms:
        copy.page()
        push(other, edit(form, a="late"))
    new = world.form_fill(inspection, template, data={})
    copy.read()
    assert len(copy.rows) == 12
    assert {row["data"].get("a") for key, row in copy.rows.items() if key == ("form_fill", forms[0].id)} == {"late"}
    assert all(copy.rows["form_fill", form.id]["data"] == {"a": "late"} for form in forms)
    assert ("form_fill", new.id) in copy.rows


def test_what_was_deleted_or_taken_away_is_removed_for_those_who_saw_it_only(
    world: World, office: FlaskClient, device: FlaskClient, other: FlaskClient, sign_in: SignIn, form_fill: FormFill
) -> None:
    stranger = Copy(sign_in(world.user("stranger@example.com")))
    copies = [Copy(device), Copy(other), Copy(office)]
    for copy in [*copies, stranger]:
        copy.read()
    assert office.delete(f"/api/v1/inspections/{form_fill.inspection_id}").status_code == 200
    for copy in copies:
        assert ("remove", "inspection", form_fill.inspection_id) in copy.read()
        assert copy.rows == {}
    assert stranger.read() == []


def test_an_attachment_comes_with_its_form_fill_and_goes_as_remove(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    copy = Copy(device)
    copy.read()
    photo = world.attachment(form_fill)
    assert copy.read() == [of("upsert", form_fill), of("upsert", photo)]
    assert copy.rows["form_fill", form_fill.id]["data"]["Riser_Photo_photo_attachment_id"] == [photo.id]
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    push(other, {"type": "photo_delete", "local_id": "x", "data": data})
    assert copy.read() == [of("upsert", form_fill), of("remove", photo)]
    assert "Riser_Photo_photo_attachment_id" not in copy.rows["form_fill", form_fill.id]["data"]


def test_a_row_that_was_made_and_deleted_between_two_pages_comes_as_remove_at_most(
    world: World, office: FlaskClient, device: FlaskClient, owner: User, tech: User
) -> None:
    copy = Copy(device)
    copy.read()
    inspection = world.inspection(owner, tech)
    office.delete(f"/api/v1/inspections/{inspection.id}")
    assert set(copy.read()) <= {of("remove", inspection)}


def test_the_cursor_moves_on_though_nothing_concerned_the_user(
    app: Flask, world: World, device: FlaskClient, owner: User
) -> None:
    copy = Copy(device)
    copy.read()
    before = copy.cursor
    world.form_fill(world.inspection(owner))
    assert copy.read() == []
    assert copy.cursor != before, "else it would be pruned one day"


@cases(
    ("query", "details"),
    [
        ("cursor=a&cursor=b", {"cursor": ["Send it once."]}),
        ("limit=5&limit=5", {"limit": ["Send it once."]}),
        ("since=2024-03-15T10:30:00.000Z", {"since": ["Unknown field."]}),
        (
            "&".join(f"{n:02}{'k' * 200}=1" for n in range(30)),
            {f"{n:02}{'k' * 98}": ["Unknown field."] for n in range(20)},
        ),
    ],
)
def test_a_query_key_that_is_unknown_or_comes_twice_is_refused_and_named(
    device: FlaskClient, query: str, details: dict[str, list[str]]
) -> None:
    answer = device.get(f"{CHANGES}?{query}")
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")
    assert json_of(answer)["details"] == details


@cases("limit", ["0", "-1", "1000000000", "1e3", "", "x", "5001", "1.5", "٣"])
def test_a_limit_out_of_range_is_refused_and_named(device: FlaskClient, limit: str) -> None:
    answer = device.get(f"{CHANGES}?limit={quote(limit)}")
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")
    assert set(json_of(answer)["details"]) == {"limit"}
