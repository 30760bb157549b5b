"""The feed against the tables: after any events between pages, each device ends with the rows that its user sees."""

from __future__ import annotations

import os
import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.core.ledger.record import Origin, Recorder, record
from app.feed import page as feed
from app.feed import visibility
from app.feed.cursor import read_cursor
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, User
from app.testing import push, statements_of
from tests.conftest import SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.copies import KNOWN, Copy, assign, of
from tests.support.databases import feed_held_back, settle

#: How many courses of events are tried; more by `TEST_SEEDS`.
SEEDS = int(os.environ.get("TEST_SEEDS", "3"))


@dataclass
class Office:
    """A world in which things happen, and the people who see parts of it."""

    app: Flask
    world: World
    users: list[User]
    clients: list[FlaskClient]
    template: FormTemplate
    names: list[str] = field(default_factory=list)

    @property
    def admin(self) -> FlaskClient:
        """The client of the administrator, who is the first."""
        return self.clients[0]

    def visible(self, user: User) -> set[tuple[str, Any]]:
        """The rows that the user should hold, computed from the tables alone."""
        roots = {
            each.id
            for each in self.world.all(Inspection)
            if user.role == "admin" or user.id in (each.owner_id, each.assignee_id)
        }
        found: set[tuple[str, Any]] = {("inspection", each) for each in roots}
        found |= {("form_fill", each.id) for each in self.world.all(FormFill) if each.inspection_id in roots}
        attachments = [each for each in self.world.all(Attachment) if each.deleted_at is None]
        return found | {("attachment", each.id) for each in attachments if each.inspection_id in roots}

    def known_to(self, user: User) -> set[tuple[str, Any]]:
        """The users and form templates that the user should hold."""
        visible = self.visible(user)
        seen = [each for each in self.world.all(Inspection) if ("inspection", each.id) in visible]
        people = {user.id} | {person for each in seen for person in (each.owner_id, each.assignee_id) if person}
        if user.role == "admin":
            people = {each.id for each in self.world.all(User)}
        templates = {("form_template", each.id) for each in self.world.all(FormTemplate)}
        return templates | {("user", person) for person in people}

    def happen(self, dice: random.Random) -> None:
        """Something, as it comes through one of the doors."""
        inspections, forms = self.world.all(Inspection), self.world.all(FormFill)
        deeds = [self.inspect, *([self.assign, self.add, self.remove] if inspections else [])]
        deeds += [self.edit, self.edit, self.photograph, self.forget] if forms else []
        deed = dice.choice(deeds)
        self.names.append(deed.__name__)
        deed(dice)

    def inspect(self, dice: random.Random) -> None:
        """A new inspection with two form fills, in one unit."""
        owner, assignee = dice.choice(self.users[1:]), dice.choice([None, *self.technicians])

        def work(recorder: Recorder) -> None:
            values = {"date": date(2024, 3, 20), "owner_id": owner.id, "assignee_id": assignee and assignee.id}
            root = recorder.create(Inspection, {"status": "pending", **values})
            for _ in range(2):
                recorder.create(FormFill, {"form_template_id": self.template.id, "data": {}}, root)

        with self.app.app_context():
            record("test.inspect", Origin(door="cli"), work)

    @property
    def technicians(self) -> list[User]:
        """The users to whom inspections can be assigned."""
        return [each for each in self.users if each.role == "technician"]

    def assign(self, dice: random.Random) -> None:
        """An inspection goes from one technician to another, or to none."""
        assign(self.admin, dice.choice(self.world.all(Inspection)), dice.choice([None, *self.technicians]))

    def add(self, dice: random.Random) -> None:
        """A form fill is made below an old inspection, from a device."""
        below = dice.choice(self.world.all(Inspection)).id
        data = {"inspection_id": below, "form_template_id": self.template.id, "client_id": str(uuid4())}
        assert push(self.admin, {"type": "form_fill", "local_id": str(uuid4()), "data": data})["success"]

    def remove(self, dice: random.Random) -> None:
        """An inspection is deleted with all below it."""
        if dice.random() < 0.3:
            found = dice.choice(self.world.all(Inspection))
            assert self.admin.delete(f"/api/v1/inspections/{found.id}").status_code == 200

    def edit(self, dice: random.Random) -> None:
        """A field is changed."""
        form_fill = dice.choice(self.world.all(FormFill))
        change: dict[str, Any] = {dice.choice("ab"): dice.random()}
        assert push(self.admin, edit(form_fill, **change))["success"]

    def photograph(self, dice: random.Random) -> None:
        """A photo is added."""
        self.world.attachment(dice.choice(self.world.all(FormFill)))

    def forget(self, dice: random.Random) -> None:
        """All photos of a form fill are deleted."""
        data = {"form_fill_id": dice.choice(self.world.all(FormFill)).id, "field_name": "Riser_Photo"}
        assert push(self.admin, {"type": "photo_delete", "local_id": str(uuid4()), "data": data})["success"]


@pytest.fixture
def office(app: Flask, world: World, sign_in: SignIn) -> Office:
    roles = {"admin": "admin", "owner": "user", "anna": "technician", "ben": "technician"}
    users = [world.user(f"{name}@example.com", role) for name, role in roles.items()]
    return Office(app, world, users, [sign_in(user) for user in users], world.template())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_between_pages_each_device_holds_what_its_user_sees(
    office: Office, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Few inspections are looked up one by one, many are not; and ids are read a few at a time.
    monkeypatch.setattr(visibility, "FEW", (visibility.FEW, 0)[seed % 2])
    monkeypatch.setattr(feed, "PAGE_SLACK", 1 + seed % 4)
    # And of some pages only a few rows fit.
    monkeypatch.setattr(feed, "PAGE_BYTES", (feed.PAGE_BYTES, 3000)[seed // 2 % 2])
    dice = random.Random(seed)
    for _ in range(6):
        office.happen(dice)
    copies = [Copy(client, dice.choice([1, 2, 5])) for client in office.clients]
    for number in range(3):
        with feed_held_back(office.app) if number == 1 else nullcontext():
            for _ in range(10):
                office.happen(dice)
                for copy in dice.sample(copies, 2):
                    copy.page()
            for client, user in zip(office.clients, office.users, strict=True):
                fresh = Copy(client, dice.choice([1, 5, 500]))
                fresh.read(settled=False)
                assert fresh.rows.keys() == office.visible(user), f"a walk is complete: {office.names}"
    for copy, user in zip(copies, office.users, strict=True):
        copy.read()
        assert copy.rows.keys() == office.visible(user), office.names
        assert copy.known.keys() == office.known_to(user), office.names
        fresh = Copy(copy.client)
        fresh.read()
        assert (copy.rows, copy.known) == (fresh.rows, fresh.known), office.names


@pytest.fixture
def owner(office: Office) -> User:
    return office.users[1]


@pytest.fixture
def anna(office: Office) -> User:
    return office.users[2]


@pytest.fixture
def device(office: Office) -> FlaskClient:
    """Anna's, who is a technician."""
    return office.clients[2]


def many_below(app: Flask, owner: User, template: FormTemplate, forms: int, photos: int) -> Inspection:
    """An inspection with many form fills and photos, made in one unit; the photos have no bytes."""

    def work(recorder: Recorder) -> Inspection:
        values = {"date": date(2024, 3, 20), "owner_id": owner.id, "status": "pending"}
        root: Any = recorder.create(Inspection, values)
        fills: list[Any] = [
            recorder.create(FormFill, {"form_template_id": template.id, "data": {}}, root) for _ in range(forms)
        ]
        for number in range(photos):
            form_fill = fills[number % forms]
            photo = {
                "form_fill_id": form_fill.id, "kind": "photo", "field_name": "Riser_Photo", "position": number,
                "content_type": "image/jpeg", "byte_size": 1, "width": 1, "height": 1, "sha256": "0" * 64,
                "storage_key": str(uuid4()), "uploaded_by_id": owner.id,
            }  # fmt: skip
            recorder.create(Attachment, photo, root)
        found: Inspection = root
        return found

    with app.app_context():
        return record("test.make", Origin(door="cli"), work, capacity=forms)


@pytest.mark.parametrize("limit", [97, 5000])
def test_an_assignment_of_200_form_fills_and_1000_photos_comes_whole(
    app: Flask, office: Office, owner: User, anna: User, device: FlaskClient, limit: int
) -> None:
    inspection = many_below(app, owner, office.template, 200, 1000)
    copy = Copy(device, limit)
    assert copy.read() == []
    assign(office.admin, inspection, anna)
    found = copy.read()
    assert len(found) == len(set(found)) == 1 + 200 + 1000
    assert copy.rows.keys() == office.visible(anna)
    # None of these photos has any bytes: listing them opens none.
    answer: Any = device.get(f"/api/v1/inspections/{inspection.id}/offline_data").json
    forms = answer["data"]["form_fills"]
    assert (len(forms), sum(len(each["photos"]) for each in forms)) == (200, 1000)
    manifest: Any = device.get(f"/api/v1/form_fills/{forms[0]['id']}/attachments").json
    assert manifest["data"]["attachments"] == forms[0]["photos"]


def test_a_page_takes_as_many_statements_for_one_change_as_for_many(
    app: Flask, office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    counts = []
    for number in (1, 60):
        copy = Copy(device)
        copy.read()
        inspection = many_below(app, owner, office.template, number, number)
        assign(office.admin, inspection, anna)
        settle(app)
        with statements_of(app) as statements:
            below = [each for each in copy.page()["changes"] if each["entity"] not in KNOWN]
        assert len(below) == 1 + 2 * number
        counts.append(len(statements))
        copy.read()
    assert counts[0] == counts[1]


def test_a_page_takes_as_many_statements_for_many_assignments_as_for_two(
    app: Flask, office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    copy = Copy(device)
    copy.read()
    counts = set()
    for number in (2, 20):
        inspections = [many_below(app, owner, office.template, 2, 1) for _ in range(number)]
        for assignee in (anna, None):
            for inspection in inspections:
                assign(office.admin, inspection, assignee)
            settle(app)
            with statements_of(app) as statements:
                below = [each for each in copy.page()["changes"] if each["entity"] not in KNOWN]
            assert len(below) == 4 * number
            counts.add((assignee is None, len(statements)))
            assert copy.rows.keys() == office.visible(anna)
    assert len(counts) == 2, counts


@pytest.mark.parametrize("query", ["", "&structures=1"])
def test_a_page_ends_where_its_bytes_are_too_many_and_nothing_is_left_out(
    office: Office, owner: User, device: FlaskClient, anna: User, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(feed, "PAGE_BYTES", 50_000)
    inspection = office.world.inspection(owner, anna)
    forms = [
        office.world.form_fill(inspection, office.template, data={"a": "ü" * 1000 * (number % 9)})
        for number in range(40)
    ]
    walked, followed = Copy(device, query=query), Copy(office.clients[1], query=query)
    followed.read()
    for form in forms:
        push(office.admin, edit(form, b=1))
    settle(office.app)
    for copy in (walked, followed):
        pages: list[dict[str, Any]] = []
        while not pages or pages[-1]["has_more"]:
            pages.append(copy.page())
        sizes = [len(orjson.dumps(page)) for page in pages]
        assert len(pages) >= 6, "of 300 kB"
        assert max(sizes) < 50_000
        assert {key for key in copy.rows if key[0] == "form_fill"} == {("form_fill", form.id) for form in forms}


def test_a_row_that_is_larger_than_a_page_comes_alone(
    office: Office, owner: User, device: FlaskClient, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_BYTES", 1)
    office.world.form_fill(office.world.inspection(owner, anna), office.template, data={"a": "x" * 1000})
    copy = Copy(device)
    assert [len(copy.page()["changes"]) for _ in range(5)] == [1] * 5
    assert copy.rows.keys() == office.visible(anna)


def test_what_was_changed_before_it_came_into_sight_comes_after_its_inspection(
    office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    inspection = office.world.inspection(owner)
    form_fill = office.world.form_fill(inspection, office.template)
    copy = Copy(device, limit=1)
    copy.read()
    push(office.admin, edit(form_fill, a=1))
    photo = office.world.attachment(form_fill)
    assign(office.admin, inspection, anna)
    found = copy.read()
    assert found[:3] == [of("upsert", inspection), of("upsert", form_fill), of("upsert", photo)]


def test_what_was_deleted_while_the_inspection_was_somebody_elses_is_removed(
    office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    inspection = office.world.inspection(owner, anna)
    form_fill = office.world.form_fill(inspection, office.template)
    photo = office.world.attachment(form_fill)
    copy = Copy(device)
    copy.read()
    assign(office.admin, inspection, None)
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    push(office.admin, {"type": "photo_delete", "local_id": "x", "data": data})
    assign(office.admin, inspection, anna)
    assert of("remove", photo) in copy.read()
    assert copy.rows.keys() == office.visible(anna)


def test_a_loss_that_was_made_good_brings_the_inspection_once(
    office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    inspection = office.world.inspection(owner, anna)
    form_fill = office.world.form_fill(inspection, office.template)
    copy = Copy(device, limit=1)
    copy.read()
    # The change stands between loss and gain, and so the page of the loss ends before the gain.
    assign(office.admin, inspection, None)
    push(office.admin, edit(form_fill, a=1))
    assign(office.admin, inspection, anna)
    assert copy.read() == [of("upsert", inspection), of("upsert", form_fill)]
    assert copy.rows.keys() == office.visible(anna)


def test_a_walk_brings_nothing_whose_parent_it_has_passed(
    office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    for _ in range(2):
        office.world.form_fill(office.world.inspection(owner, anna), office.template)
    old = office.world.inspection(owner)
    office.world.form_fill(old, office.template)
    copy = Copy(device, limit=1)
    for _ in range(3):
        copy.page()
    # The walk stands among the form fills. Then an old inspection comes into sight, and new ones are made.
    assign(office.admin, old, anna)
    office.world.attachment(office.world.form_fill(old, office.template))
    form_fill = office.world.form_fill(office.world.inspection(owner, anna), office.template)
    office.world.attachment(form_fill)
    copy.read()
    assert copy.rows.keys() == office.visible(anna)


def test_an_inspection_that_went_during_the_walk_goes_with_all_below_it(
    office: Office, owner: User, anna: User, device: FlaskClient
) -> None:
    inspections = [office.world.inspection(owner, anna) for _ in range(3)]
    for each in inspections:
        office.world.form_fill(each, office.template)
    copy = Copy(device, limit=1)
    for _ in range(4):
        copy.page()
    assign(office.admin, inspections[0], None)
    office.admin.delete(f"/api/v1/inspections/{inspections[1].id}")
    copy.read()
    assert copy.rows.keys() == office.visible(anna)
    assert len(copy.rows) == 2


def test_pages_of_one_row_edited_often_end(office: Office, owner: User, anna: User, device: FlaskClient) -> None:
    form_fill = office.world.form_fill(office.world.inspection(owner, anna), office.template)
    copy = Copy(device, limit=2)
    copy.read()
    for number in range(20):
        push(office.admin, edit(form_fill, a=number))
    found = copy.read()
    assert set(found) == {of("upsert", form_fill)}
    assert len(found) <= 10, "each page names it once, however often it was changed"


@pytest.mark.parametrize("role", ["admin", "user", "technician"])
def test_nothing_that_does_not_concern_the_user_is_read_twice(
    app: Flask, office: Office, owner: User, world: World, sign_in: SignIn, role: str
) -> None:
    """Other users are in the ledger too, and administrators alone hear of all of them."""
    copy = Copy(sign_in(world.user("late@example.com", role)))
    copy.read()
    for number in range(5):
        world.user(f"another{number}@example.com")
    settle(app)
    data = copy.page()
    assert (len(data["changes"]), data["has_more"]) == (5 if role == "admin" else 0, False)
    with app.app_context():
        mark = read_cursor(str(copy.cursor)).mark
    assert mark.id == max(each.id for each in world.all(LedgerEntry))
