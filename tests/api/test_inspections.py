"""Inspections over REST: created, found, changed, deleted, each by those who may (contract, sections 2 and 8)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.administration import inspections as administration
from app.clock import to_wire
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, LedgerOperation, User
from tests.api.conftest import API, details, entries, fault
from tests.api.test_form_fills import attach
from tests.conftest import SettableClock, SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases

INSPECTIONS = f"{API}/inspections"

PROPERTY = {"property_name": "Harbour Warehouse", "address": "1 Quay Street", "city": "Springfield", "zip_code": "123"}
CUSTOMER = {"name": "Harbour Ltd", "email": "office@example.com", "phone_1": "555-0100", "phone_2": None}


@pytest.fixture
def template(world: World) -> FormTemplate:
    return world.template()


def new(*template_ids: int | str, **more: Any) -> dict[str, Any]:
    return {"date": "2024-03-20", "form_template_ids": list(template_ids), **more}


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.json
    return [each["id"] for each in answer.json["data"]["inspections"]]


# Creating


def test_an_inspection_is_created_with_a_form_fill_for_each_template(
    world: World, office: FlaskClient, admin: User, owner: User, tech: User
) -> None:
    templates = [world.template(), world.template(name="Hydrant")]
    body = new(
        templates[1].id,
        templates[0].id,
        owner_id=owner.id,
        assignee_id=tech.id,
        status="in_progress",
        notes="Bring a ladder",
        system_category="wet pipe",
        interval_category="annual",
        job="J-1",
        property=PROPERTY,
        customer=CUSTOMER,
    )
    answer = office.post(INSPECTIONS, json=body)
    assert answer.status_code == 201, answer.json
    data = json_of(answer)["data"]
    stored = world.get(Inspection, data["inspection"]["id"])
    assert (stored.date, stored.owner_id, stored.assignee_id) == (date(2024, 3, 20), owner.id, tech.id)
    assert (stored.status, stored.notes, stored.job) == ("in_progress", "Bring a ladder", "J-1")
    assert (stored.system_category, stored.interval_category) == ("wet pipe", "annual")
    assert (stored.property, stored.customer) == (PROPERTY, CUSTOMER)
    assert stored.form_template_id == templates[1].id
    assert data["inspection"]["form_template"] == {"id": templates[1].id, "name": "Hydrant"}
    assert [each["form_template_id"] for each in data["form_fills"]] == [templates[1].id, templates[0].id]
    form_fills = world.all(FormFill)
    assert [each.id for each in form_fills] == [each["id"] for each in data["form_fills"]]
    assert {each.inspection_id for each in form_fills} == {stored.id}
    assert data == json_of(office.get(f"{INSPECTIONS}/{stored.id}"))["data"]


def test_creation_is_one_unit_in_the_ledger(
    world: World, office: FlaskClient, admin: User, tech: User, template: FormTemplate
) -> None:
    office.post(INSPECTIONS, json=new(template.id, assignee_id=tech.id))
    operation = world.all(LedgerOperation)[-1]
    assert (operation.door, operation.user_id, operation.entity) == ("rest", admin.id, "inspection")
    written = [each for each in world.all(LedgerEntry) if each.unit_id == operation.unit_id]
    assert {(each.action, each.entity, each.viewer_id) for each in written} == {
        ("create", "inspection", None),
        ("gain", "inspection", admin.id),
        ("gain", "inspection", tech.id),
        ("create", "form_fill", None),
    }


def test_what_is_left_out_has_its_default(
    world: World, office: FlaskClient, admin: User, template: FormTemplate
) -> None:
    made = json_of(office.post(INSPECTIONS, json=new(template.id)))["data"]["inspection"]
    assert (made["owner_id"], made["assignee_id"], made["status"], made["notes"]) == (admin.id, None, "pending", None)
    assert (made["property"], made["customer"]) == (None, None)
    part = json_of(office.post(INSPECTIONS, json=new(template.id, property={"city": "Ulm"}, customer={})))["data"]
    assert part["inspection"]["property"] == {**dict.fromkeys(PROPERTY), "city": "Ulm"}
    assert part["inspection"]["customer"] == dict.fromkeys(CUSTOMER)


def test_inspections_are_numbered_without_gaps(world: World, office: FlaskClient) -> None:
    templates = [world.template().id for _ in range(5)]
    made = [json_of(office.post(INSPECTIONS, json=new(*templates)))["data"]["inspection"]["id"] for _ in range(2)]
    assert made[1] == made[0] + 1


@cases(
    ("key", "value"),
    [
        ("date", "2024-02-30"),
        ("date", "20240320"),
        ("date", "2024-03-20T00:00:00Z"),
        ("date", "1999-12-31"),
        ("date", "2100-01-01"),
        ("date", None),
        ("date", 20240320),
        ("form_template_ids", []),
        ("form_template_ids", [9_000]),
        ("form_template_ids", ["x"]),
        ("form_template_ids", [True]),
        ("form_template_ids", [0]),
        ("form_template_ids", [1, 1]),
        ("form_template_ids", 1),
        ("form_template_ids", None),
        ("status", "done"),
        ("status", None),
        ("notes", "n" * 100_001),
        ("notes", 1),
        ("job", "j" * 256),
        ("system_category", "s" * 256),
        ("interval_category", ["annual"]),
        ("owner_id", 9_000),
        ("owner_id", None),
        ("owner_id", "x"),
        ("owner_id", 1.5),
        ("assignee_id", 9_000),
        ("assignee_id", 0),
        ("property", "Harbour"),
        ("property", {"name": "Harbour"}),
        ("property", {"city": 1}),
        ("property", {"address": "a" * 256}),
        ("customer", {"id": 1}),
        ("customer", []),
        ("id", 7),
        ("created_at", "2024-03-15T10:30:00.000Z"),
        ("updated_at", "2024-03-15T10:30:00.000Z"),
        ("form_template_id", 1),
        ("data", {}),
    ],
)
def test_a_bad_value_is_refused_and_named(
    world: World, office: FlaskClient, template: FormTemplate, key: str, value: Any
) -> None:
    assert template.id == 1
    assert set(details(office.post(INSPECTIONS, json=new(template.id, **{key: value}) | {key: value}))) == {key}
    assert (world.all(Inspection), world.all(FormFill)) == ([], [])


def test_an_unknown_key_of_an_object_is_named(office: FlaskClient, template: FormTemplate) -> None:
    found = details(office.post(INSPECTIONS, json=new(template.id, customer={"phone": "1"})))
    assert found == {"customer": {"phone": ["Unknown field."]}}


@pytest.mark.parametrize("person", ["user", "admin", "inactive technician"])
def test_only_an_active_technician_is_assigned(
    world: World, office: FlaskClient, owner: User, template: FormTemplate, person: str
) -> None:
    role = person.rpartition(" ")[2]
    somebody = world.user("somebody@example.com", role, active="inactive" not in person)
    assert set(details(office.post(INSPECTIONS, json=new(template.id, assignee_id=somebody.id)))) == {"assignee_id"}
    inspection = world.inspection(owner)
    change = office.patch(f"{INSPECTIONS}/{inspection.id}", json={"assignee_id": somebody.id})
    assert set(details(change)) == {"assignee_id"}
    assert world.get(Inspection, inspection.id).assignee_id is None


def test_an_owner_must_be_active(world: World, office: FlaskClient, owner: User, template: FormTemplate) -> None:
    leaver = world.user("leaver@example.com", "user", active=False)
    assert set(details(office.post(INSPECTIONS, json=new(template.id, owner_id=leaver.id)))) == {"owner_id"}
    inspection = world.inspection(owner)
    change = office.patch(f"{INSPECTIONS}/{inspection.id}", json={"owner_id": leaver.id})
    assert set(details(change)) == {"owner_id"}


# Who may


@pytest.mark.parametrize(
    ("who", "read", "write"),
    [
        ("admin", 200, 200),
        ("owner", 200, 403),
        ("tech", 200, 403),
        ("stranger", 404, 403),
        ("technician assigned before, now user", 404, 403),
        ("owner who is a technician", 200, 403),
    ],
)
def test_who_may_do_what(
    request: pytest.FixtureRequest,
    world: World,
    sign_in: SignIn,
    owner: User,
    tech: User,
    template: FormTemplate,
    who: str,
    read: int,
    write: int,
) -> None:
    if who == "technician assigned before, now user":
        user = world.user("former@example.com", "user")
        inspection = world.inspection(owner, user)
    elif who == "owner who is a technician":
        user = world.user("both@example.com", "technician")
        inspection = world.inspection(user)
    else:
        user = request.getfixturevalue(who)
        inspection = world.inspection(owner, tech)
    client, url = sign_in(user), f"{INSPECTIONS}/{inspection.id}"
    assert client.get(url).status_code == read
    assert ids(client.get(INSPECTIONS)) == ([inspection.id] if read == 200 else [])
    # Without rights the body is not looked at.
    sent = {"nonsense": 1} if write == 403 else {"notes": "x"}
    assert client.patch(url, json=sent).status_code == write
    sent = {"nonsense": 1} if write == 403 else new(template.id)
    assert client.post(INSPECTIONS, json=sent).status_code == (201 if write == 200 else 403)
    assert client.delete(url).status_code == write
    assert (world.get(Inspection, inspection.id) is None) == (write == 200)
    assert client.get(url).status_code == (404 if write == 200 else read)


def test_signed_out_everything_is_401(app: Flask, world: World, owner: User) -> None:
    inspection = world.inspection(owner)
    calls = [("GET", ""), ("POST", ""), *((each, f"/{inspection.id}") for each in ("GET", "PATCH", "DELETE"))]
    for method, path in calls:
        assert fault(app.test_client().open(INSPECTIONS + path, method=method))[:2] == (401, "token_missing")


def test_an_administrator_demoted_meanwhile_writes_nothing(
    world: World, office: FlaskClient, admin: User, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspection = world.inspection(owner)
    other = world.user("second@example.com", "admin")
    real = administration.lock_people

    def demote_first(*arguments: Any) -> Any:
        # The token has been checked, and the unit has not begun.
        monkeypatch.setattr(administration, "lock_people", real)
        demote(world, admin)
        return real(*arguments)

    monkeypatch.setattr(administration, "lock_people", demote_first)
    assert fault(office.patch(f"{INSPECTIONS}/{inspection.id}", json={"notes": "x"}))[:2] == (403, "forbidden")
    assert world.get(Inspection, inspection.id).notes is None
    assert other.active


def demote(world: World, user: User) -> None:
    """In a thread, since the request's session must not be shared."""

    def work() -> None:
        from app.accounts.users import change_user
        from app.core.ledger.record import Origin

        with world.app.app_context():
            change_user(Origin(door="cli"), user.id, {"role": "user"})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)


@cases(
    ("key", "status", "code"),
    [
        *((key, 404, "not_found") for key in ("0", "-1", "9007199254740991", "9007199254740991.0")),
        *((key, 400, "invalid") for key in ("x", "1.5", "9007199254740992", "9" * 5000, "1%00")),
    ],
)
def test_a_number_of_no_inspection_is_not_found_and_what_is_no_id_is_invalid(
    office: FlaskClient, key: str, status: int, code: str
) -> None:
    for method, body in (("GET", None), ("PATCH", {"notes": "x"}), ("DELETE", None)):
        address = f"{INSPECTIONS}/{key}"
        assert fault(office.open(address, method=method, json=body))[:2] == (status, code)


def test_an_id_may_be_a_number_of_any_kind_or_its_text(
    office: FlaskClient, template: FormTemplate, owner: User, tech: User
) -> None:
    body = new(f"{template.id}.0", owner_id=str(owner.id), assignee_id=float(tech.id))
    made = json_of(office.post(INSPECTIONS, json=body))["data"]["inspection"]
    assert (made["owner_id"], made["assignee_id"]) == (owner.id, tech.id)
    assert office.get(f"{INSPECTIONS}/{made['id']}.0").status_code == 200
    assert len(json_of(office.get(f"{INSPECTIONS}?assignee_id={tech.id}.0"))["data"]["inspections"]) == 1


# Finding


def test_inspections_come_newest_first_a_page_at_a_time(world: World, office: FlaskClient, owner: User) -> None:
    made = [world.inspection(owner).id for _ in range(5)]
    first = office.get(f"{INSPECTIONS}?per_page=2")
    assert ids(first) == made[:-3:-1]
    assert ids(office.get(f"{INSPECTIONS}?per_page=2&page=3")) == made[:1]
    data = json_of(first)["data"]
    assert (data["page"], data["per_page"], data["total"], data["pages"]) == (1, 2, 5, 3)
    assert data["inspections"][0]["date"] == "2024-03-20"


def test_filters_by_status_and_assignee(world: World, office: FlaskClient, owner: User, tech: User) -> None:
    pending, done = world.inspection(owner, tech), world.inspection(owner, status="completed")
    assert ids(office.get(f"{INSPECTIONS}?status=completed")) == [done.id]
    assert ids(office.get(f"{INSPECTIONS}?assignee_id={tech.id}")) == [pending.id]
    assert ids(office.get(f"{INSPECTIONS}?assignee_id=none")) == [done.id]
    assert ids(office.get(f"{INSPECTIONS}?assignee_id=none&status=pending")) == []
    assert ids(office.get(f"{INSPECTIONS}?assignee_id={owner.id + 1000}")) == []


def test_a_filter_shows_nothing_that_one_may_not_see(world: World, sign_in: SignIn, owner: User, tech: User) -> None:
    world.inspection(owner, notes="secret")
    mine = world.inspection(owner, tech, notes="secret")
    client = sign_in(tech)
    for query in ("q=secret", "status=pending", f"assignee_id={tech.id}"):
        assert ids(client.get(f"{INSPECTIONS}?{query}")) == [mine.id]
    assert ids(client.get(f"{INSPECTIONS}?assignee_id=none")) == []


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("LADDER", True),
        ("j-0815", True),
        ("harbour w", True),
        ("QUAY", True),
        ("müller", True),
        ("office@example.com", False),
        ("Springfield", False),
        ("elephant", False),
        ("", True),
    ],
)
def test_q_looks_into_notes_job_property_and_customer(
    world: World, office: FlaskClient, owner: User, query: str, is_found: bool
) -> None:
    world.inspection(
        owner,
        notes="Bring a ladder",
        job="J-0815",
        property=PROPERTY,
        customer={**CUSTOMER, "name": "Müller & Söhne"},
    )
    assert len(ids(office.get(INSPECTIONS, query_string={"q": query}))) == is_found


@pytest.mark.parametrize(
    ("query", "notes"),
    [("%", "100%"), ("_", "a_b"), ("\\", "a\\b"), ("/", "a/b"), ("50%_", "at 50%_now"), ("'", "it's"), ('"', 'a "b"')],
)
def test_q_takes_every_character_as_it_is(
    world: World, office: FlaskClient, owner: User, query: str, notes: str
) -> None:
    found = [world.inspection(owner, notes=notes), world.inspection(owner, property={"property_name": notes})]
    world.inspection(owner, notes="at 50 or now", property={"property_name": "at 50 or now", "city": notes})
    assert {*ids(office.get(INSPECTIONS, query_string={"q": query}))} == {row.id for row in found}


def test_quotes_of_json_are_not_found(world: World, office: FlaskClient, owner: User) -> None:
    world.inspection(owner, property=PROPERTY, customer=CUSTOMER)
    for query in ('"', "property_name", "null", "{"):
        assert ids(office.get(INSPECTIONS, query_string={"q": query})) == []


@cases(
    "query",
    [
        "status=done",
        "status=pending,completed",
        "status=",
        "assignee_id=x",
        "assignee_id=0",
        "assignee_id=-1",
        "assignee_id=9007199254740992",
        "assignee_id=",
        "q=a%00b",
        "q=" + "q" * 256,
        "owner_id=1",
        "per_page=201",
        "page=0",
        "page=%D9%A1",
    ],
)
def test_a_query_parameter_that_cannot_be_is_named(office: FlaskClient, query: str) -> None:
    assert set(details(office.get(f"{INSPECTIONS}?{query}"))) == {query.partition("=")[0]}


def test_a_query_parameter_that_came_twice_is_named(office: FlaskClient) -> None:
    assert details(office.get(f"{INSPECTIONS}?page=1&page=2&q=a")) == {"page": ["Send it once."]}


def test_bytes_that_are_no_text_find_nothing(office: FlaskClient) -> None:
    assert ids(office.get(f"{INSPECTIONS}?q=%ED%A0%80%FF")) == []


def test_the_number_of_statements_does_not_depend_on_the_rows(
    world: World, office: FlaskClient, owner: User, count_statements: Callable[[Callable[[], Any]], int]
) -> None:
    def add() -> int:
        inspection = world.inspection(owner, form_template_id=world.template().id)
        world.form_fill(inspection)
        return int(inspection.id)

    def get_list() -> Any:
        return office.get(INSPECTIONS)

    def get_one() -> Any:
        return office.get(f"{INSPECTIONS}/{first}")

    first = add()
    before = count_statements(get_list), count_statements(get_one)
    for _ in range(5):
        add()
        world.form_fill(world.get(Inspection, first))
    assert (count_statements(get_list), count_statements(get_one)) == before


# Changing


def test_a_change_sets_what_is_sent_and_nothing_else(
    world: World, clock: SettableClock, office: FlaskClient, owner: User, tech: User
) -> None:
    inspection = world.inspection(owner, notes="old", job="J-1", property=PROPERTY)
    second = world.user("second@example.com", "user")
    clock.forward(minutes=1)
    body = {
        "date": "2024-04-01",
        "owner_id": second.id,
        "assignee_id": tech.id,
        "status": "completed",
        "notes": None,
        "system_category": "dry pipe",
        "interval_category": "monthly",
        "customer": CUSTOMER,
    }
    answer = office.patch(f"{INSPECTIONS}/{inspection.id}", json=body)
    assert answer.status_code == 200, answer.json
    stored = world.get(Inspection, inspection.id)
    assert (stored.date, stored.owner_id, stored.assignee_id) == (date(2024, 4, 1), second.id, tech.id)
    assert (stored.status, stored.notes, stored.job) == ("completed", None, "J-1")
    assert (stored.system_category, stored.interval_category) == ("dry pipe", "monthly")
    assert (stored.property, stored.customer) == (PROPERTY, CUSTOMER)
    assert json_of(answer)["data"]["inspection"]["updated_at"] == "2024-03-15T10:31:00.000Z"
    assert (
        json_of(answer)["data"]["inspection"]
        == json_of(office.get(f"{INSPECTIONS}/{inspection.id}"))["data"]["inspection"]
    )


def test_a_change_of_people_is_recorded_with_gain_and_loss_of_sight(
    world: World, office: FlaskClient, owner: User, tech: User, stranger: User
) -> None:
    inspection = world.inspection(owner, tech)
    office.patch(f"{INSPECTIONS}/{inspection.id}", json={"assignee_id": stranger.id})
    unit = world.all(LedgerOperation)[-1].unit_id
    written = {(each.action, each.viewer_id) for each in world.all(LedgerEntry) if each.unit_id == unit}
    assert written == {("change", None), ("gain", stranger.id), ("loss", tech.id)}
    assert entries(world, "inspection")[-1].changes == {"assignee_id": {"old": tech.id, "new": stranger.id}}
    office.patch(f"{INSPECTIONS}/{inspection.id}", json={"assignee_id": None})
    assert world.get(Inspection, inspection.id).assignee_id is None


def test_an_object_takes_over_the_keys_that_are_sent(world: World, office: FlaskClient, owner: User) -> None:
    inspection = world.inspection(owner, property=PROPERTY)
    url = f"{INSPECTIONS}/{inspection.id}"
    office.patch(url, json={"property": {"city": "Ulm", "zip_code": None}, "customer": {"name": "C"}})
    stored = world.get(Inspection, inspection.id)
    assert stored.property == {**PROPERTY, "city": "Ulm", "zip_code": None}
    assert stored.customer == {**dict.fromkeys(CUSTOMER), "name": "C"}
    office.patch(url, json={"property": None})
    assert world.get(Inspection, inspection.id).property is None


def test_people_who_are_no_longer_fit_may_stay(world: World, office: FlaskClient) -> None:
    owner = world.user("leaver@example.com", "user", active=False)
    former = world.user("former@example.com", "user")
    inspection = world.inspection(owner, former)
    body = {"owner_id": owner.id, "assignee_id": former.id, "notes": "still theirs"}
    assert office.patch(f"{INSPECTIONS}/{inspection.id}", json=body).status_code == 200
    assert world.get(Inspection, inspection.id).notes == "still theirs"


def test_a_stale_change_is_409_with_the_present_row(
    world: World, clock: SettableClock, office: FlaskClient, owner: User
) -> None:
    url = f"{INSPECTIONS}/{world.inspection(owner, form_template_id=world.template().id).id}"
    seen = json_of(office.get(url))["data"]["inspection"]["updated_at"]
    clock.forward(minutes=1)
    present = json_of(office.patch(url, json={"notes": "first", "updated_at": seen}))["data"]["inspection"]
    answer = office.patch(url, json={"notes": "second", "updated_at": seen})
    assert fault(answer)[:2] == (409, "stale")
    assert json_of(answer)["data"] == {"inspection": present}
    assert json_of(office.get(url))["data"]["inspection"]["notes"] == "first"
    later = to_wire(clock.time + timedelta(seconds=2))
    for version in (present["updated_at"], later):
        assert office.patch(url, json={"notes": version, "updated_at": version}).status_code == 200


@cases("version", ["yesterday", 5, "1999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_a_version_that_is_no_timestamp_is_named(world: World, office: FlaskClient, owner: User, version: Any) -> None:
    url = f"{INSPECTIONS}/{world.inspection(owner).id}"
    assert set(details(office.patch(url, json={"notes": "x", "updated_at": version}))) == {"updated_at"}


@cases(
    "body",
    [
        *({"id": 5}, {"created_at": "2024-03-15T10:30:00.000Z"}, {"form_template_id": 1}, {"form_template_ids": [1]}),
        *({"inspection_id": 5}, {"owner_id": None}, {"status": None}, {"date": None}, {"property": {"id": 1}}),
    ],
)
def test_what_cannot_be_changed_is_refused_and_named(
    world: World, office: FlaskClient, owner: User, body: dict[str, Any]
) -> None:
    inspection = world.inspection(owner)
    answer = office.patch(f"{INSPECTIONS}/{inspection.id}", json={"notes": "x", **body})
    assert set(details(answer)) == set(body)
    assert world.get(Inspection, inspection.id).notes is None


@cases("body", [{}, {"updated_at": "2024-03-15T10:30:00.000Z"}])
def test_a_change_without_a_change_is_refused(
    world: World, office: FlaskClient, owner: User, body: dict[str, Any]
) -> None:
    details(office.patch(f"{INSPECTIONS}/{world.inspection(owner).id}", json=body))


def test_equal_values_make_no_version(world: World, clock: SettableClock, office: FlaskClient, owner: User) -> None:
    inspection = world.inspection(owner, notes="same", property=PROPERTY)
    clock.forward(minutes=1)
    entries_before = len(world.all(LedgerEntry))
    answer = office.patch(f"{INSPECTIONS}/{inspection.id}", json={"notes": "same", "property": {"city": "Springfield"}})
    assert json_of(answer)["data"]["inspection"]["updated_at"] == "2024-03-15T10:30:00.000Z"
    assert len(world.all(LedgerEntry)) == entries_before


# Deleting


def test_an_inspection_goes_with_everything_below_it(
    world: World, office: FlaskClient, admin: User, owner: User, tech: User
) -> None:
    inspection, other = world.inspection(owner, tech), world.inspection(owner)
    gone, kept = world.form_fill(inspection), world.form_fill(other)
    photo, kept_photo = attach(world, gone, 1), attach(world, kept, 1, storage_key="aa/kept")
    answer = office.delete(f"{INSPECTIONS}/{inspection.id}")
    assert answer.status_code == 200, answer.json
    assert json_of(answer)["data"] == {"id": inspection.id}
    assert [each.id for each in world.all(Inspection)] == [other.id]
    assert [each.id for each in world.all(FormFill)] == [kept.id]
    # The row stays, marked, until its bytes are collected.
    assert world.get(Attachment, photo.id).deleted_at is not None
    assert world.get(Attachment, kept_photo.id).deleted_at is None
    unit = world.all(LedgerOperation)[-1].unit_id
    written = [each for each in world.all(LedgerEntry) if each.unit_id == unit]
    assert sorted((each.action, each.entity, each.viewer_id or 0) for each in written) == sorted(
        [
            ("delete", "attachment", 0),
            ("delete", "form_fill", 0),
            ("delete", "inspection", 0),
            ("loss", "inspection", owner.id),
            ("loss", "inspection", tech.id),
        ]
    )
    assert {each.inspection_id for each in written} == {inspection.id}
    assert fault(office.delete(f"{INSPECTIONS}/{inspection.id}")) == (404, "not_found", "Inspection not found")


def test_an_id_is_not_given_again(world: World, office: FlaskClient, owner: User, template: FormTemplate) -> None:
    inspection = world.inspection(owner)
    office.delete(f"{INSPECTIONS}/{inspection.id}")
    made = json_of(office.post(INSPECTIONS, json=new(template.id)))["data"]["inspection"]["id"]
    assert made > inspection.id
