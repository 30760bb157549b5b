"""Private values of items that were not applied are left out of every answer, until the reader asks for them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import FormFill, FormTemplate, User
from app.testing import push
from tests.conftest import SettableClock, World
from tests.support.answers import json_of

#: What is left out does not depend on the database.
pytestmark = pytest.mark.database("sqlite")

STRUCTURE = [
    {"name": "Location", "type": "text"},
    {"name": "Phone_row_1", "type": "text", "private": True},
    {"name": "Passport", "type": "photo", "private": True},
]

#: Texts that tell of a person: before, in the item, and on the server.
OLD, MINE, THEIRS, CELL = "555-0100", "555-0200", "555-0300", "555-0400"

SECRETS = (OLD, MINE, THEIRS, CELL)


@pytest.fixture
def form_fill(world: World, owner: User, tech: User) -> FormFill:
    template = world.template(form_structure=STRUCTURE)
    data = {"Location": "Roof", "Phone_row_1": OLD}
    return world.form_fill(world.inspection(owner, tech, customer={"name": OLD}), template, data=data)


def edit(row: Any, key: str = "data", version: str | None = None, type_: str = "form_fill", **values: Any) -> Any:
    payload = {"id": row.id, key: values, **({"updated_at": version} if version else {})}
    return {"type": type_, "local_id": str(uuid4()), "data": payload}


@pytest.fixture
def conflict(phone: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock) -> dict[str, Any]:
    """The technician's item about a private value that the owner has changed meanwhile."""
    held = to_wire(form_fill.updated_at)
    clock.forward(minutes=1)
    push(other, edit(form_fill, Phone_row_1=THEIRS))
    # A device counts rows on: the label of this one is that of the first.
    item: dict[str, Any] = edit(form_fill, version=held, Phone_row_1=MINE, Phone_row_2=CELL, Location="Cellar")
    assert len(push(phone, item)["conflicts"]) == 1
    return item


@pytest.fixture
def refusal(phone: FlaskClient, world: World, owner: User, form_fill: FormFill) -> dict[str, Any]:
    """The technician's item for a form that is not theirs, with the same labels."""
    template = world.get(FormTemplate, form_fill.form_template_id)
    other = world.form_fill(world.inspection(owner), template, data={"Phone_row_1": OLD})
    item: dict[str, Any] = edit(other, "changes", Phone_row_1=MINE, Location="Cellar")
    assert push(phone, item)["errors"][0]["code"] == "forbidden"
    return item


def shown(client: FlaskClient, query: str = "") -> dict[str, Any]:
    """The newest item, as it is shown."""
    (row, *_) = json_of(client.get("/api/v1/set_aside?state=all"))["data"]["set_aside"]
    answer = client.get(f"/api/v1/set_aside/{row['id']}{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json_of(answer)["data"]["set_aside"]
    return found


def address(client: FlaskClient) -> str:
    return f"/api/v1/set_aside/{shown(client)['id']}/decision"


def assert_no_secret(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


def test_all_sides_of_a_conflict_leave_them_out(office: FlaskClient, conflict: dict[str, Any]) -> None:
    row, whole = shown(office), shown(office, "?private=1")
    assert_no_secret(str(row))
    assert row["private"] == whole["private"] == ["Phone_row_1", "Phone_row_2"]
    assert row["item"]["data"]["data"] == {"Location": "Cellar"}
    assert row["item"]["data"]["updated_at"] == conflict["data"]["updated_at"]
    assert (row["seen"]["mine"], row["seen"]["base"]) == ({"Location": "Cellar"}, {"Location": "Roof"})
    assert (row["seen"]["theirs"], row["present"]["data"]["Location"]) == ({"Location": "Roof"}, "Roof")
    assert whole["item"] == conflict
    assert whole["seen"]["mine"] == {"Phone_row_1": MINE, "Phone_row_2": CELL, "Location": "Cellar"}
    assert (whole["seen"]["base"]["Phone_row_1"], whole["seen"]["theirs"]["Phone_row_1"]) == (OLD, THEIRS)
    assert whole["present"]["data"]["Phone_row_1"] == THEIRS


def test_the_sender_has_to_ask_as_well(phone: FlaskClient, conflict: dict[str, Any]) -> None:
    assert_no_secret(str(shown(phone)))
    assert shown(phone, "?private=1")["item"] == conflict
    assert phone.get(f"/api/v1/set_aside/{shown(phone)['id']}?private=yes").status_code == 400


def test_a_refused_item_leaves_them_out(office: FlaskClient, refusal: dict[str, Any]) -> None:
    row = shown(office)
    assert_no_secret(str(row))
    assert row["item"]["data"] == {"id": refusal["data"]["id"], "changes": {"Location": "Cellar"}}
    assert row["private"] == ["Phone_row_1"]
    assert shown(office, "?private=1")["item"] == refusal


def test_private_columns_are_left_out_as_well(
    office: FlaskClient, phone: FlaskClient, world: World, owner: User
) -> None:
    root = world.inspection(owner, client_id=str(uuid4()))
    payload = {"id": root.id, "customer": {"name": MINE}, "notes": "Gate"}
    push(phone, {"type": "inspection", "local_id": "1", "data": payload})
    row = shown(office)
    assert (row["private"], row["item"]["data"]) == (["customer"], {"id": root.id, "notes": "Gate"})


def test_a_form_without_private_fields_shows_everything(
    office: FlaskClient, phone: FlaskClient, world: World, owner: User
) -> None:
    item = edit(world.form_fill(world.inspection(owner), data={"Location": "Roof"}), Location="Cellar")
    push(phone, item)
    assert (shown(office)["item"], shown(office)["private"]) == (item, [])


class TestWithoutLabels:
    """Where nobody can tell which values are private, all of them are."""

    def test_of_a_row_that_is_not_there(self, office: FlaskClient, phone: FlaskClient, form_fill: FormFill) -> None:
        ids = {"inspection_id": 4711, "form_template_id": form_fill.form_template_id, "client_id": str(uuid4())}
        push(phone, {"type": "form_fill", "local_id": "1", "data": {**ids, "data": {"Phone_row_1": MINE}}})
        row = shown(office)
        assert_no_secret(str(row))
        assert row["private"] == ["Phone_row_1"]

    def test_of_a_type_that_is_not_installed(self, office: FlaskClient, phone: FlaskClient) -> None:
        item = {"type": "unheard_of", "local_id": "1", "data": {"phone": MINE, "more": {"phone": CELL}}}
        push(phone, item)
        row = shown(office)
        assert (row["private"], row["item"]["data"]) == (["more", "phone"], {})
        assert shown(office, "?private=1")["item"] == item

    @pytest.mark.parametrize(
        "item",
        [
            {"type": "form_fill", "local_id": "1", "dta": {"Phone_row_1": MINE}},
            {"type": "form_fill", "local_id": "1", "data": [MINE]},
            {"type": "form_fill", "local_id": "1", "data": MINE, "note": CELL},
        ],
        ids=["another key", "a list", "a text"],
    )
    def test_of_an_item_that_is_none(self, office: FlaskClient, phone: FlaskClient, item: dict[str, Any]) -> None:
        push(phone, item)
        row = shown(office)
        assert row["item"] == {"type": "form_fill", "local_id": "1"}
        assert sorted(row["private"]) == sorted(item.keys() - {"type", "local_id"})


class TestAnswersToDecisions:
    def test_what_was_decided(self, office: FlaskClient, conflict: dict[str, Any]) -> None:
        answer = office.post(address(office), json={"decision": "apply"})
        assert answer.status_code == 200
        assert_no_secret(answer.text)

    def test_a_stale_one_and_one_that_comes_too_late(
        self, office: FlaskClient, other: FlaskClient, form_fill: FormFill, conflict: dict[str, Any],
        clock: SettableClock,
    ) -> None:  # fmt: skip
        clock.forward(minutes=1)
        push(other, edit(form_fill, Location="Yard"))
        stale = office.post(address(office), json={"decision": "apply"})
        assert (stale.status_code, json_of(stale)["code"]) == (409, "stale")
        assert json_of(stale)["data"]["present"]["data"] == {"Location": "Yard"}
        present = json_of(stale)["data"]["present"]["updated_at"]
        assert office.post(address(office), json={"decision": "apply", "updated_at": present}).status_code == 200
        late = other.post(address(office), json={"decision": "discard"})
        assert (late.status_code, json_of(late)["code"]) == (409, "already_decided")
        for answer in (stale, late):
            assert_no_secret(answer.text)

    def test_many(
        self, office: FlaskClient, other: FlaskClient, form_fill: FormFill, conflict: dict[str, Any],
        refusal: dict[str, Any], clock: SettableClock,
    ) -> None:  # fmt: skip
        clock.forward(minutes=1)
        push(other, edit(form_fill, Location="Yard"))
        body = {"decision": "apply", "filter": {}, "count": 2}
        answer = office.post("/api/v1/set_aside/decisions", json=body)
        results = {result["result"]: result["entry"] for result in json_of(answer)["data"]["results"]}
        assert results.keys() == {"decided", "stale"}
        assert results["stale"]["conflict_data"].keys() == {"server_version", "local_version", "conflicting_fields"}
        assert "server_id" in results["decided"]
        assert_no_secret(answer.text)


def test_a_hidden_value_is_applied_as_it_was_sent(
    world: World, office: FlaskClient, form_fill: FormFill, conflict: dict[str, Any]
) -> None:
    changes = {"data": {"Location": "Yard"}}
    assert office.post(address(office), json={"decision": "change", "changes": changes}).status_code == 200
    data = world.get(FormFill, form_fill.id).data
    assert data == {"Location": "Yard", "Phone_row_1": MINE, "Phone_row_2": CELL}


def test_lists_causes_and_what_becomes_of_a_rescue_file_have_no_values(
    office: FlaskClient, tech: User, conflict: dict[str, Any], refusal: dict[str, Any]
) -> None:
    for query in ("?state=all", "?group=cause"):
        assert_no_secret(office.get(f"/api/v1/set_aside{query}").text)
    head = {"fieldpost_rescue": 1, "user": {"id": tech.id, "email": tech.email}, "device_id": str(uuid4())}
    answer = office.post("/api/v1/rescue", json={**head, "sync_items": [conflict, refusal]})
    assert json_of(answer)["data"]["counts"]["conflict"] == 1
    assert_no_secret(answer.text)
