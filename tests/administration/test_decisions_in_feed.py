"""The feed names who in the office has decided a change in its sender's place (contract, section 6)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.feed import visibility
from app.models import FormFill, SetAside, User
from app.testing import push, statements_of
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit
from tests.core.sync.copies import Copy
from tests.support.databases import settle


def decide(office: FlaskClient, world: World, item: dict[str, Any], decision: str = "apply") -> None:
    (row,) = [row for row in world.all(SetAside) if row.local_id == item["local_id"]]
    answer = office.post(f"/api/v1/set_aside/{row.id}/decision", json={"decision": decision})
    assert answer.status_code == 200, answer.text


def deciders(copy: Copy) -> dict[tuple[str, Any], int | None]:
    """(entity, id) of each change that comes, with the one who has decided it."""
    copy.read()
    return {(change["entity"], change["id"]): change.get("decided_by") for change in copy.changes}


@pytest.fixture
def lost(world: World, owner: User) -> FormFill:
    """A form fill of the owner's, that the technician sees no more."""
    return world.form_fill(world.inspection(owner), data={"a": 0})


@pytest.fixture(params=["few", "many", "all"])
def copy(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, other: FlaskClient, office: FlaskClient,
    lost: FormFill, form_fill: FormFill,
) -> Copy:  # fmt: skip
    """A device of somebody who sees both form fills: few inspections, many, or as an administrator all."""
    if request.param == "many":
        monkeypatch.setattr(visibility, "FEW", 0)
    copy = Copy(office if request.param == "all" else other)
    copy.read()
    return copy


def test_a_decided_change_has_the_one_who_decided_until_somebody_changes_the_row_again(
    app: Flask, world: World, office: FlaskClient, other: FlaskClient, phone: FlaskClient, lost: FormFill,
    form_fill: FormFill, copy: Copy, admin: User, clock: SettableClock,
) -> None:  # fmt: skip
    decided, newer = edit(lost, a="phone"), edit(lost, a="phone again")
    push(phone, decided, newer)
    push(other, edit(form_fill, a="owner"))
    decide(office, world, decided)
    settle(app)
    with statements_of(app) as statements:
        changes = {change["id"]: change for change in copy.page()["changes"]}
    assert changes[lost.id]["decided_by"] == admin.id
    assert "decided_by" not in changes[form_fill.id]
    assert len([text for text in statements if "ledger_operations" in text]) == 1, "it is asked with the entries"
    clock.forward(minutes=1)
    decide(office, world, newer)
    clock.forward(minutes=1)
    push(other, edit(lost, a="owner"))
    assert deciders(copy) == {("form_fill", lost.id): None}


def test_a_walk_names_nobody(
    world: World, office: FlaskClient, other: FlaskClient, phone: FlaskClient, lost: FormFill
) -> None:
    item = edit(lost, a="phone")
    push(phone, item)
    decide(office, world, item)
    assert deciders(Copy(other))[("form_fill", lost.id)] is None


def test_a_removal_that_was_decided_says_so(
    world: World, office: FlaskClient, other: FlaskClient, phone: FlaskClient, lost: FormFill, admin: User
) -> None:
    attachment = world.attachment(lost)
    copy = Copy(other)
    copy.read()
    data = {"form_fill_id": lost.id, "field_name": "Riser_Photo"}
    item = {"type": "photo_delete", "local_id": str(uuid4()), "data": data}
    push(phone, item)
    decide(office, world, item)
    assert deciders(copy)[("attachment", attachment.id)] == admin.id


def test_a_discarded_item_brings_no_change(
    world: World, office: FlaskClient, other: FlaskClient, phone: FlaskClient, lost: FormFill
) -> None:
    copy = Copy(other)
    copy.read()
    item = edit(lost, a="phone")
    push(phone, item)
    decide(office, world, item, "discard")
    assert deciders(copy) == {}
