"""Three-way merge through HTTP: what is a change, what a conflict, what the answer shows (contract, section 3.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import Schema, fields

from app import policies
from app.clock import to_wire
from app.core.ledger.history import MOST_CHANGES
from app.models import FormFill, Inspection, LedgerEntry, LedgerOperation, User
from app.plugin_api import SyncHandler, by_id, edit
from app.testing import push
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit as item
from tests.core.sync.conftest import stored
from tests.core.sync.test_isolation import register
from tests.support.rows import change_often


def version_of(row: Any) -> str:
    return to_wire(row.updated_at)


def visit(inspection: Inspection, version: str | None = None, **data: Any) -> dict[str, Any]:
    """An item that changes an inspection."""
    payload = {"id": inspection.id, **({"updated_at": version} if version else {}), **data}
    return {"type": "inspection", "local_id": str(uuid4()), "data": payload}


def conflict_of(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The one conflict's data."""
    (entry,) = results["conflicts"]
    found: dict[str, Any] = entry["conflict_data"]
    return found


# Inspections


def test_status_and_notes_changed_by_two_people_merge_over_what_the_office_changed(
    world: World, device: FlaskClient, other: FlaskClient, sign_in: SignIn, inspection: Inspection
) -> None:
    held = version_of(inspection)
    office = sign_in(world.user("office@example.com", "admin"))
    assert office.patch(f"/api/v1/inspections/{inspection.id}", json={"job": "J-7", "notes": "n"}).status_code == 200
    push(other, visit(inspection, notes="theirs"))
    (entry,) = push(device, visit(inspection, held, status="completed", resolve_strategy="merge"))["success"]
    assert (entry["message"], entry["data"]) == ("Conflict merged", {"status": "completed", "notes": "theirs"})
    row = world.get(Inspection, inspection.id)
    assert (row.status, row.notes, row.job) == ("completed", "theirs", "J-7")


def test_changes_merge_over_a_reassignment(
    world: World, other: FlaskClient, office: FlaskClient, inspection: Inspection
) -> None:
    """The ledger tells besides who has gained and lost sight of the inspection; these are no changes of the row."""
    held = version_of(inspection)
    colleague = world.user("colleague@example.com")
    sent = {"assignee_id": colleague.id}
    assert office.patch(f"/api/v1/inspections/{inspection.id}", json=sent).status_code == 200
    (entry,) = push(other, visit(inspection, held, notes="mine", resolve_strategy="merge"))["success"]
    assert (entry["message"], entry["data"]["notes"]) == ("Conflict merged", "mine")


@pytest.mark.parametrize("strategy", [{}, {"resolve_strategy": "merge"}], ids=["without", "merge"])
def test_a_conflict_of_inspections_names_the_fields_and_shows_the_base(
    device: FlaskClient, other: FlaskClient, inspection: Inspection, strategy: dict[str, str]
) -> None:
    held = version_of(inspection)
    push(other, visit(inspection, status="in_progress", notes="theirs"))
    data = conflict_of(push(device, visit(inspection, held, status="in_progress", notes="mine", **strategy)))
    assert data["base_data"] == {"status": "pending", "notes": None}
    assert data["server_data"] == {"status": "in_progress", "notes": "theirs"}
    assert data["local_data"] == {"status": "in_progress", "notes": "mine"}
    assert data["conflicting_fields"] == ["notes"], "the same status on both sides is no conflict"


def test_what_the_office_changed_besides_is_a_new_version_but_no_conflict_of_fields(
    world: World, device: FlaskClient, sign_in: SignIn, inspection: Inspection
) -> None:
    held = version_of(inspection)
    office = sign_in(world.user("office@example.com", "admin"))
    office.patch(f"/api/v1/inspections/{inspection.id}", json={"job": "J-7"})
    data = conflict_of(push(device, visit(inspection, held, notes="mine")))
    assert data["conflicting_fields"] == ["notes"], "there is something to decide: nobody asked to merge it"
    assert "job" not in {**data["server_data"], **data["base_data"]}, "devices see no more than they may set"
    assert len(push(device, visit(inspection, held, notes="mine", resolve_strategy="merge"))["success"]) == 1


# Values are compared as JSON

CONFLICT = object()

#: Base, theirs, mine, and what a merge makes of them; `...` stands for absent.
FIELDS: list[tuple[Any, Any, Any, Any]] = [
    (0, True, 1, CONFLICT),
    (0, 1, 1.0, 1),
    (1, 2, 1.0, 2),
    (1, 1.5, True, CONFLICT),
    (1, 2, True, CONFLICT),
    (..., None, None, None),
    (..., 5, None, CONFLICT),
    (None, 5, None, 5),
    ("", None, "", None),
    ([1, {"x": 1}], 5, [1.0, {"x": 1.0}], 5),
    ([1], 5, [True], CONFLICT),
    ({"x": 1, "y": 2}, 5, {"y": 2, "x": 1}, 5),
    ([1, 2], 5, [2, 1], CONFLICT),
    (0, 1e20, 1e20, 1e20),
    ("é", 5, "e\u0301", 5),
    ("e", "é", "e\u0301", "é"),
    ("e", "é", "e\u0300", CONFLICT),
    (0, -0.0, 0, 0),
]


def test_what_counts_as_a_change_of_a_field(
    world: World, device: FlaskClient, other: FlaskClient, inspection: Inspection
) -> None:
    for case in FIELDS:
        base, theirs, mine, expected = case
        form_fill = world.form_fill(inspection, data={} if base is ... else {"a": base})
        # Another field too, so that there is a newer version in any case.
        push(other, item(form_fill, a=theirs, theirs=1))
        results = push(device, item(form_fill, version_of(form_fill), strategy="merge", a=mine, mine=1))
        if expected is CONFLICT:
            assert conflict_of(results)["conflicting_fields"] == ["a"], case
            assert "mine" not in stored(world, form_fill), "all or nothing"
        else:
            assert results["success"][0]["data"] == {"a": expected, "theirs": 1, "mine": 1}, case
            assert repr(stored(world, form_fill)["a"]) == repr(expected), case


def test_the_servers_keys_take_no_part(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    photo = world.attachment(form_fill)
    push(other, item(form_fill, a=1))
    downloaded = {"a": 2, "b": 0, "Riser_Photo_photo_attachment_id": ["gone"]}
    data = conflict_of(push(device, item(form_fill, held, strategy="merge", **downloaded)))
    assert data["conflicting_fields"] == ["a"]
    assert data["base_data"] == {"a": 0, "b": 0}
    assert data["local_data"] == {"a": 2, "b": 0}
    assert data["server_data"] == {"a": 1, "b": 0, "Riser_Photo_photo_attachment_id": [photo.id]}


# The version that the client names


def test_a_merges_pair_sent_back_whole_overwrites_nobody(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    """Contract 3.1: the client takes `updated_at` and `data` of the answer, and goes on from both."""
    push(other, item(form_fill, a="theirs"))
    merged = push(device, item(form_fill, version_of(form_fill), strategy="merge", b="mine"))["success"][0]
    push(other, item(form_fill, c="later"))
    whole = {"id": form_fill.id, "updated_at": merged["updated_at"], "data": {**merged["data"], "b": "mine again"}}
    assert len(push(device, {"type": "form_fill", "local_id": "w1", "data": whole})["conflicts"]) == 1
    push(device, {"type": "form_fill", "local_id": "w2", "data": {**whole, "resolve_strategy": "merge"}})
    assert stored(world, form_fill) == {"a": "theirs", "b": "mine again", "c": "later"}


def test_the_base_is_found_in_whatever_notation_its_version_is_sent(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, item(form_fill, a=1))
    for number, notation in enumerate(
        ("2024-03-15T10:30:00", "2024-03-15T16:15:00.0009+05:45", "2024-03-14T20:30:00-14:00", "2024-03-15t10:30:00z")
    ):
        data = conflict_of(push(device, item(form_fill, notation, strategy="merge", a=2)))
        assert data["base_data"] == {"a": 0, "b": 0}
        assert data["local_version"] == notation, "as sent"
        assert len(push(device, item(form_fill, notation, strategy="merge", **{f"n{number}": 2}))["success"]) == 1


def test_a_version_that_never_existed_has_no_base_and_merges_nothing(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    """Older than the row, between two of its versions, or just beside one."""
    for number in (1, 2):
        clock.forward(minutes=1)
        push(other, item(form_fill, a=number))
    for milliseconds in (-1, 1, 59_999, 60_001):
        never = to_wire(form_fill.updated_at + timedelta(milliseconds=milliseconds))
        for strategy in (None, "merge"):
            data = conflict_of(push(device, item(form_fill, never, strategy=strategy, b=1)))
            assert (data["base_data"], data["conflicting_fields"]) == (None, ["b"]), milliseconds
    assert stored(world, form_fill) == {"a": 2, "b": 0}


def test_merging_with_what_is_no_version_is_invalid(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    versions: list[Any] = [
        "1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "yesterday", True
    ]  # fmt: skip
    entries = push(device, *(item(form_fill, each, strategy="merge", a=1) for each in versions))["errors"]
    assert [(each["code"], list(each["details"])) for each in entries] == [("invalid", ["updated_at"])] * 5
    assert stored(world, form_fill) == {"a": 0, "b": 0}


def test_without_a_version_there_is_nothing_to_merge(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, item(form_fill, a="theirs"))
    (entry,) = push(device, item(form_fill, strategy="merge", a="mine"))["success"]
    assert entry["message"] == "FormFill updated successfully"
    assert entry["data"] == stored(world, form_fill) == {"a": "mine", "b": 0}


# The clock


def test_an_hour_back_between_two_batches_breaks_neither_versions_nor_order_nor_merges(
    world: World, sign_in: SignIn, tech: User, owner: User, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=10)
    first = push(sign_in(tech), item(form_fill, version_of(form_fill), a=1))["success"][0]["updated_at"]
    clock.forward(hours=-1)
    device, other = sign_in(tech), sign_in(owner)
    theirs = push(other, item(form_fill, first, b=1))["success"][0]["updated_at"]
    assert theirs > first > to_wire(clock()), "the row's own time goes on"
    (merged,) = push(device, item(form_fill, first, strategy="merge", a=2))["success"]
    assert merged["data"] == {"a": 2, "b": 1}
    assert conflict_of(push(device, item(form_fill, first, b=2)))["base_data"] == {"a": 1, "b": 0}
    told = [each for each in world.all(LedgerEntry) if each.entity == "form_fill"]
    versions = [each.version_after for each in told]
    assert versions == sorted(set(versions)), "the ledger's order is that of the versions"
    assert [each.version_before for each in told] == [None, *versions[:-1]]
    history: Any = device.get(f"/api/v1/form_fills/{form_fill.id}/history").json
    assert [each["version_after"] for each in history["data"]["history"]] == [to_wire(each) for each in versions[::-1]]
    data: Any = device.get("/api/v1/sync/changes").json
    assert data["success"] is True


# Retries


def test_a_merge_sent_again_is_answered_again_even_where_it_would_conflict_now(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, item(form_fill, a="theirs"))
    mine = item(form_fill, version_of(form_fill), strategy="merge", b="mine")
    push(device, mine)
    push(other, item(form_fill, b="theirs too"))
    (again,) = push(device, mine)["success"]
    assert (again["replayed"], again["message"]) == (True, "Conflict merged")
    assert again["data"] == stored(world, form_fill) == {"a": "theirs", "b": "theirs too"}


def test_a_retry_with_a_changed_payload_is_a_new_operation_judged_anew(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    first = item(form_fill, held, b=1)
    push(device, first)
    push(other, item(form_fill, a="theirs"))
    changed = {**first, "data": {**first["data"], "changes": {"b": 2}}}
    assert conflict_of(push(device, changed))["server_data"] == {"a": "theirs", "b": 1}
    for strategy in ("use_server", "use_local"):
        again = {**first, "data": {**changed["data"], "resolve_strategy": strategy}}
        (entry,) = push(device, again)["success"]
        assert "replayed" not in entry
    assert stored(world, form_fill) == {"a": "theirs", "b": 2}
    heads = [each for each in world.all(LedgerOperation) if each.local_id == first["local_id"]]
    assert len({each.fingerprint for each in heads}) == len(heads) == 3


def test_a_local_id_of_another_user_changes_nothing(
    world: World, device: FlaskClient, other: FlaskClient, tech: User, owner: User, form_fill: FormFill
) -> None:
    mine = item(form_fill, a="mine")
    push(device, mine)
    (entry,) = push(other, {**mine, "data": {**mine["data"], "changes": {"a": "theirs"}}})["success"]
    assert "replayed" not in entry
    (again,) = push(device, mine)["success"]
    assert (again["replayed"], again["data"]["a"]) == (True, "theirs")
    (unchanged,) = push(other, mine)["success"]
    assert "replayed" not in unchanged, "the same local_id and payload of another user is another operation"
    senders = [each.user_id for each in world.all(LedgerOperation) if each.local_id == mine["local_id"]]
    assert senders == [tech.id, owner.id, owner.id]


# A create that meets its own row


def test_a_create_sent_again_with_more_merges_into_what_the_office_changed(
    world: World, device: FlaskClient, other: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    place = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "client_id": str(uuid4())}
    new = {"type": "form_fill", "local_id": "new", "data": {**place, "data": {"a": 1, "b": 1}}}
    (made,) = push(device, new)["success"]
    push(other, item(made["server_id"], a="theirs"))
    more: dict[str, Any] = {"type": "form_fill", "local_id": "more", "data": {**place, "data": {"a": 1, "b": 2}}}
    assert conflict_of(push(device, more))["base_data"] == {"a": 1, "b": 1}
    more["data"]["resolve_strategy"] = "merge"
    (entry,) = push(device, more)["success"]
    assert (entry["server_id"], entry["data"]) == (made["server_id"], {"a": "theirs", "b": 2})


# Plugins


class PartSchema(Schema):
    """A part's name is no field of the form; what was measured is."""

    part = fields.String(required=True)
    measured = fields.Dict(required=True)


@pytest.fixture
def part(app: Flask) -> None:
    """A type that can be merged, since it says which of its values are fields; and one that says there are none."""
    common: dict[str, Any] = {
        "schema": PartSchema, "target": by_id(FormFill), "policy": policies.change, "apply": edit
    }  # fmt: skip

    def measured(data: Any) -> dict[str, Any]:
        return {f"{data['part']}.{name}": value for name, value in data["measured"].items()}

    register(app, SyncHandler(type="part", changes=measured, **common))
    register(app, SyncHandler(type="opaque", changes=lambda _: {}, **common))


def part_item(form_fill: FormFill, version: str, name: str, type_: str = "part", **measured: Any) -> dict[str, Any]:
    data = {"id": form_fill.id, "updated_at": version, "part": name, "measured": measured, "resolve_strategy": "merge"}
    return {"type": type_, "local_id": str(uuid4()), "data": data}


@pytest.mark.usefixtures("part")
def test_a_plugin_offers_merge_by_saying_which_of_its_values_are_fields(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    push(other, part_item(form_fill, held, "valve", bar=3, seals=1))
    (entry,) = push(device, part_item(form_fill, held, "valve", litres=7, seals=1))["success"]
    assert entry["message"] == "Conflict merged"
    expected = {"a": 0, "b": 0, "valve.bar": 3, "valve.seals": 1, "valve.litres": 7}
    assert entry["data"] == stored(world, form_fill) == expected
    data = conflict_of(push(device, part_item(form_fill, held, "valve", bar=4)))
    assert data["conflicting_fields"] == ["valve.bar"]
    assert data["local_data"] == {"valve.bar": 4}
    assert data["base_data"] == {"a": 0, "b": 0}


@pytest.mark.usefixtures("part")
def test_a_type_without_fields_cannot_be_merged(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    push(other, item(form_fill, a=1))
    data = conflict_of(push(device, part_item(form_fill, held, "valve", "opaque", bar=3)))
    assert data["conflicting_fields"] == ["a"], "it conflicts with all that the other has changed"
    assert stored(world, form_fill) == {"a": 1, "b": 0}


@pytest.mark.usefixtures("part")
def test_a_type_without_fields_has_nothing_to_decide_once_others_have_undone_what_they_changed(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    push(other, item(form_fill, a=1), item(form_fill, a=0))
    (entry,) = push(device, part_item(form_fill, held, "valve", "opaque", bar=3))["success"]
    assert entry["data"] == stored(world, form_fill)


# A very old version


@pytest.mark.parametrize(("count", "is_remembered"), [(MOST_CHANGES, True), (10_000, False)])
def test_a_merge_reads_no_more_than_the_newest_changes_of_a_row(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, count: int, is_remembered: bool
) -> None:
    held = version_of(form_fill)
    change_often(app, form_fill, count)
    results = push(device, item(form_fill, held, strategy="merge", a="mine", often=0))
    data = conflict_of(results)
    if is_remembered:
        assert (data["base_data"], data["conflicting_fields"]) == ({"a": 0, "b": 0}, ["often"])
    else:
        assert (data["base_data"], data["conflicting_fields"]) == (None, ["a", "often"])
    assert "unknown_version" not in data, "the row had it"
    assert stored(world, form_fill) == {"a": 0, "b": 0, "often": count - 1}
    # A version that lies within them is merged as ever.
    recent = to_wire(world.get(FormFill, form_fill.id).updated_at - timedelta(milliseconds=3))
    (entry,) = push(device, item(form_fill, recent, strategy="merge", a="mine"))["success"]
    assert entry["message"] == "Conflict merged"
