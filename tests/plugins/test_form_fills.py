"""`form_fill`: the contract of every handler, then this handler's own behaviour (contract, section 3.3)."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import FormFill, Inspection, User
from app.plugin_api import Row, SyncHandler
from app.testing import HandlerContract, push
from plugins.form_fills import handler
from tests.conftest import SettableClock, SignIn, World
from tests.support.cases import cases

CLIENT_ID = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"


class TestFormFill(HandlerContract):
    handler: ClassVar[SyncHandler] = handler

    def target(self, world: World, inspection: Inspection) -> Row:
        return world.form_fill(inspection)

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        return {"id": target.id, "changes": {"Location_row_1": f"Floor {number}"}}

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        return {"inspection_id": inspection.id, "form_template_id": 1, "data": {"Location_row_1": str(number)}}

    @pytest.fixture(autouse=True)
    def _template(self, world: World) -> None:
        """The template that `creation` names: the first of a fresh database."""
        world.template()


def item(data: Any, local_id: str | None = None, kind: str = "form_fill") -> dict[str, Any]:
    return {"type": kind, "local_id": local_id or str(uuid4()), "data": data}


def stored(world: World, form_fill: Any) -> Any:
    return world.get(FormFill, getattr(form_fill, "id", form_fill)).data


@pytest.fixture
def new(inspection: Inspection, form_fill: FormFill) -> dict[str, Any]:
    """A payload that creates."""
    return {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "client_id": CLIENT_ID}


# Updates


@pytest.mark.parametrize("kind", ["form_fill", "form_fill_update"])
@pytest.mark.parametrize("key", ["id", "form_fill_id"])
@pytest.mark.parametrize("way", ["data", "changes"])
def test_local_keys_win_and_server_only_keys_stay(
    world: World, device: FlaskClient, form_fill: FormFill, kind: str, key: str, way: str
) -> None:
    sent = item({key: form_fill.id, way: {"Location_row_1": "Roof", "Door": None}}, kind=kind)
    (entry,) = push(device, sent)["success"]
    assert (entry["type"], entry["message"]) == (kind, "FormFill updated successfully")
    assert entry["data"] == stored(world, form_fill) == {"Location_row_1": "Roof", "Pressure": 5, "Door": None}


def test_the_merge_into_the_stored_data_is_shallow(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    for value in ({"a": 1, "b": 2}, {"a": 3}):
        push(device, item({"id": form_fill.id, "changes": {"Table": value}}))
    assert stored(world, form_fill)["Table"] == {"a": 3}


@cases(
    "sent",
    [
        {},
        {"data": {}},
        {"changes": {}},
        {"data": None},
        {"changes": None},
        {"data": {"a": 1}, "changes": {"a": 1}},
        {"data": {}, "changes": {"a": 1}},
        {"data": {"a": 1}, "changes": {}},
        {"data": [["a", 1]]},
        {"changes": "a=1"},
    ],
)
def test_neither_both_or_nothing_to_set_is_invalid(
    world: World, device: FlaskClient, form_fill: FormFill, sent: dict[str, Any]
) -> None:
    (entry,) = push(device, item({"id": form_fill.id, **sent}))["errors"]
    assert (entry["code"], entry["error"], entry["retryable"]) == ("invalid", "Invalid payload", False)
    assert entry["details"]
    assert stored(world, form_fill) == form_fill.data


def test_the_servers_keys_are_ignored_and_not_stored(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    photo = world.attachment(form_fill).id
    mine = {"Riser_Photo_photo_attachment_id": [], "Signature_signature_attachment_id": "mine"}
    for way in ("data", "changes"):
        (entry,) = push(device, item({"id": form_fill.id, way: {"Door": way, **mine}}))["success"]
        assert entry["data"]["Riser_Photo_photo_attachment_id"] == [photo]
        assert "Signature_signature_attachment_id" not in entry["data"]
        assert stored(world, form_fill) == {**form_fill.data, "Door": way}


def test_nothing_but_the_servers_keys_changes_nothing(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    version = to_wire(form_fill.updated_at)
    sent = item({"id": form_fill.id, "updated_at": version, "data": {"Riser_Photo_photo_attachment_id": ["x"]}})
    (entry,) = push(device, sent)["success"]
    assert entry["updated_at"] == version


@pytest.mark.parametrize("strategy", [None, "merge", "use_server"])
@pytest.mark.parametrize("way", ["data", "changes"])
def test_nothing_but_the_servers_keys_is_nothing_to_decide_on_an_old_version(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill, way: str, strategy: str | None
) -> None:
    push(other, item({"id": form_fill.id, "changes": {"Door": "open"}}))
    old = {"id": form_fill.id, "updated_at": to_wire(form_fill.updated_at), "resolve_strategy": strategy}
    (entry,) = push(device, item({**old, way: {"Riser_Photo_photo_attachment_id": ["x"]}}))["success"]
    present = world.get(FormFill, form_fill.id)
    assert (entry["updated_at"], entry["data"]) == (to_wire(present.updated_at), present.data)
    assert present.data == {**form_fill.data, "Door": "open"}


COMPOSED, DECOMPOSED = "Gr\u00f6\u00dfe", "Gro\u0308\u00dfe"


@pytest.mark.parametrize("way", ["data", "changes"])
def test_a_field_is_one_field_in_nfc_and_nfd(world: World, device: FlaskClient, form_fill: FormFill, way: str) -> None:
    for name, value in ((DECOMPOSED, 1), (COMPOSED, 2), (DECOMPOSED, 3)):
        assert push(device, item({"id": form_fill.id, way: {name: value}}))["success"]
    assert stored(world, form_fill) == {**form_fill.data, COMPOSED: 3}


def test_a_new_form_fill_keeps_names_in_nfc(world: World, device: FlaskClient, new: dict[str, Any]) -> None:
    (entry,) = push(device, item({**new, "data": {DECOMPOSED: DECOMPOSED}}))["success"]
    assert stored(world, entry["server_id"]) == {COMPOSED: DECOMPOSED}, "a value is kept as sent"


def test_the_same_text_in_nfc_and_nfd_is_no_conflict(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    base = to_wire(form_fill.updated_at)
    push(other, item({"id": form_fill.id, "updated_at": base, "changes": {"Kind": COMPOSED, "Door": "open"}}))
    mine = {"id": form_fill.id, "updated_at": base, "resolve_strategy": "merge", "changes": {"Kind": DECOMPOSED}}
    results = push(device, item(mine))
    assert results["conflicts"] == []
    assert stored(world, form_fill) == {**form_fill.data, "Kind": COMPOSED, "Door": "open"}


def test_ids_that_name_two_rows_are_invalid(device: FlaskClient, form_fill: FormFill) -> None:
    (entry,) = push(device, item({"id": form_fill.id, "form_fill_id": form_fill.id + 1, "changes": {"a": 1}}))["errors"]
    assert set(entry["details"]) == {"id", "form_fill_id"}
    assert push(device, item({"id": form_fill.id, "form_fill_id": form_fill.id, "changes": {"a": 1}}))["success"]


def test_an_update_moves_no_form_fill(
    world: World, device: FlaskClient, form_fill: FormFill, inspection: Inspection, owner: User, tech: User
) -> None:
    other = world.inspection(owner, tech)
    for name, value in {"inspection_id": other.id, "form_template_id": 4711, "client_id": CLIENT_ID}.items():
        (entry,) = push(device, item({"id": form_fill.id, "changes": {"a": 1}, name: value}))["errors"]
        assert (entry["code"], list(entry["details"])) == ("invalid", [name])
    same = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id}
    assert push(device, item({"id": form_fill.id, "changes": {"a": 1}, **same}))["success"]


def test_a_conflict_adds_the_form_structure(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    photo = world.attachment(form_fill).id
    push(other, item({"id": form_fill.id, "changes": {"Location_row_1": "Roof"}}))
    sent = {"id": form_fill.id, "updated_at": to_wire(form_fill.updated_at), "data": {"Location_row_1": "Attic"}}
    (entry,) = push(device, item(sent))["conflicts"]
    shown = entry["conflict_data"]
    assert shown["server_form_structure"][0]["name"] == "Location_row_1"
    assert shown["server_data"] == {"Location_row_1": "Roof", "Pressure": 5, "Riser_Photo_photo_attachment_id": [photo]}
    assert shown["base_data"] == {"Location_row_1": "Basement", "Pressure": 5}
    assert shown["local_data"] == {"Location_row_1": "Attic"}
    assert shown["conflicting_fields"] == ["Location_row_1"]


@pytest.mark.parametrize(
    ("strategy", "message", "expected"),
    [
        ("use_local", "Conflict resolved with the local version", {"Location_row_1": "Attic", "Pressure": 6}),
        ("use_server", "Conflict resolved with the server version", {"Location_row_1": "Basement", "Pressure": 6}),
        ("merge", "Conflict merged", {"Location_row_1": "Attic", "Pressure": 6}),
    ],
)
def test_each_strategy_has_its_message(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill, strategy: str, message: str,
    expected: dict[str, Any],
) -> None:  # fmt: skip
    push(other, item({"id": form_fill.id, "changes": {"Pressure": 6}}))
    sent = {"id": form_fill.id, "updated_at": to_wire(form_fill.updated_at), "changes": {"Location_row_1": "Attic"}}
    (entry,) = push(device, item({**sent, "resolve_strategy": strategy}))["success"]
    assert entry["message"] == message
    assert entry["data"] == stored(world, form_fill) == expected
    assert entry["updated_at"] == to_wire(world.get(FormFill, form_fill.id).updated_at)


# Creates


def test_a_form_fill_is_created(
    world: World, device: FlaskClient, new: dict[str, Any], clock: SettableClock
) -> None:  # fmt: skip
    sent = {**new, "data": {"Location_row_1": "Roof", "Riser_Photo_photo_attachment_id": ["x"]}}
    (entry,) = push(device, item(sent))["success"]
    assert entry["message"] == "FormFill created successfully"
    assert entry["updated_at"] == to_wire(clock.time)
    assert entry["data"] == {"Location_row_1": "Roof"}
    row = world.get(FormFill, entry["server_id"])
    assert (row.client_id, row.inspection_id) == (CLIENT_ID, new["inspection_id"])
    assert (row.form_template_id, row.data) == (new["form_template_id"], {"Location_row_1": "Roof"})
    assert row.created_at == row.updated_at == clock.time


@pytest.mark.parametrize("without", ["client_id", "data"])
def test_client_id_and_data_may_be_left_out(
    world: World, device: FlaskClient, new: dict[str, Any], without: str
) -> None:
    sent = {**new, "data": {"a": 1}}
    del sent[without]
    (entry,) = push(device, item(sent))["success"]
    row = world.get(FormFill, entry["server_id"])
    assert (row.client_id is None, row.data == {}) == (without == "client_id", without == "data")


@pytest.mark.parametrize("missing", ["inspection_id", "form_template_id"])
def test_a_create_names_its_inspection_and_template(
    world: World, device: FlaskClient, new: dict[str, Any], missing: str
) -> None:
    del new[missing]
    (entry,) = push(device, item({**new, "data": {}}))["errors"]
    assert entry["code"] == "invalid"
    assert entry["details"]
    assert len(world.all(FormFill)) == 1


@cases(
    ("name", "value", "code", "error"),
    [
        ("inspection_id", 4711, "not_found", "Inspection not found"),
        ("form_template_id", 4711, "not_found", "FormTemplate not found"),
        ("client_id", "not-a-uuid", "invalid", "Invalid payload"),
        ("client_id", 5, "invalid", "Invalid payload"),
        ("changes", {"a": 1}, "invalid", "Invalid payload"),
        ("id", CLIENT_ID, "not_found", "FormFill not found"),
    ],
)
def test_what_a_create_may_not_name(
    world: World, device: FlaskClient, new: dict[str, Any], name: str, value: Any, code: str, error: str
) -> None:
    (entry,) = push(device, item({**new, "data": {"a": 1}, name: value}))["errors"]
    assert (entry["code"], entry["error"]) == (code, error)
    assert len(world.all(FormFill)) == 1


def test_a_form_is_created_edited_and_photographed_offline_in_one_batch(
    world: World, device: FlaskClient, new: dict[str, Any]
) -> None:
    sent = [
        item({**new, "data": {"a": 1}}),
        item({"id": CLIENT_ID, "changes": {"b": 2}}),
        item({"form_fill_id": CLIENT_ID.upper(), "data": {"a": 3}}, kind="form_fill_update"),
        item({"form_fill_id": CLIENT_ID, "field_name": "Riser_Photo"}, kind="photo_delete"),
    ]
    results = push(device, *sent)
    assert results["errors"] == results["conflicts"] == []
    (server_id,) = {entry["server_id"] for entry in results["success"]}
    assert stored(world, server_id) == {"a": 3, "b": 2}
    versions = [entry["updated_at"] for entry in results["success"][:3]]
    assert versions == sorted(set(versions)), "three versions, in order"
    replayed = push(device, *sent)["success"]
    assert all(entry["replayed"] for entry in replayed)
    assert len(world.all(FormFill)) == 2


def test_an_edit_before_its_create_has_arrived_is_retryable(device: FlaskClient, new: dict[str, Any]) -> None:
    edit = item({"id": CLIENT_ID, "changes": {"b": 2}})
    (entry,) = push(device, edit)["errors"]
    assert (entry["code"], entry["retryable"]) == ("not_found", True)
    results = push(device, edit, item(new), edit)
    assert [entry["index"] for entry in results["errors"]] == [0], "order counts within a batch too"
    assert [entry["index"] for entry in results["success"]] == [1, 2]


def test_a_client_id_is_compared_and_kept_in_lower_case(world: World, device: FlaskClient, new: dict[str, Any]) -> None:
    (entry,) = push(device, item({**new, "client_id": CLIENT_ID.upper()}))["success"]
    assert world.get(FormFill, entry["server_id"]).client_id == CLIENT_ID
    (again,) = push(device, item({**new, "data": {"a": 1}}))["success"]
    assert again["server_id"] == entry["server_id"]


def test_a_create_that_meets_its_own_row_is_an_update_on_the_version_it_was_created_with(
    world: World, device: FlaskClient, other: FlaskClient, new: dict[str, Any]
) -> None:
    (created,) = push(device, item({**new, "data": {"a": 1}}))["success"]
    (same,) = push(device, item({**new, "data": {"a": 1}}))["success"]
    assert same["message"] == "FormFill updated successfully"
    assert same["updated_at"] == created["updated_at"]
    (more,) = push(device, item({**new, "data": {"a": 2}}))["success"]
    assert more["server_id"] == created["server_id"]
    assert more["data"] == {"a": 2}
    push(other, item({"id": created["server_id"], "changes": {"a": 3}}))
    (conflict,) = push(device, item({**new, "data": {"a": 4}}))["conflicts"]
    assert conflict["conflict_data"]["base_data"] == {"a": 1}
    assert conflict["conflict_data"]["local_version"] is None
    assert stored(world, created["server_id"]) == {"a": 3}


def test_a_taken_client_id_is_invalid(
    world: World, device: FlaskClient, new: dict[str, Any], owner: User, tech: User
) -> None:
    push(device, item(new))
    other = {"inspection_id": world.inspection(owner, tech).id}, {"form_template_id": world.template().id}
    for each in other:
        (entry,) = push(device, item({**new, **each}))["errors"]
        assert (entry["code"], entry["error"]) == ("invalid", "client_id is taken")
    assert len(world.all(FormFill)) == 2


def test_a_client_id_that_a_stranger_took_tells_nothing_of_whose_it_is(
    world: World, device: FlaskClient, sign_in: SignIn, new: dict[str, Any]
) -> None:
    stranger = world.user("stranger@example.com", "user")
    theirs = {**new, "inspection_id": world.inspection(stranger).id, "data": {"secret": 1}}
    push(sign_in(stranger), item(theirs))
    (entry,) = push(device, item(new))["errors"]
    assert (entry["code"], entry["error"]) == ("invalid", "client_id is taken")
    assert "secret" not in str(entry)


def test_two_creates_with_one_client_id_in_one_batch_make_one_row(
    world: World, device: FlaskClient, new: dict[str, Any]
) -> None:
    results = push(device, item({**new, "data": {"a": 1}}), item({**new, "data": {"b": 2}}))
    first, second = (entry["server_id"] for entry in results["success"])
    assert first == second
    assert stored(world, first) == {"a": 1, "b": 2}


def test_a_thousand_creates_in_one_batch_have_a_thousand_ids(
    world: World, device: FlaskClient, new: dict[str, Any]
) -> None:
    del new["client_id"]
    results = push(device, *(item({**new, "data": {"n": number}}) for number in range(1000)))
    assert len({entry["server_id"] for entry in results["success"]}) == 1000
    assert [stored(world, each["server_id"]) for each in results["success"][:3]] == [{"n": 0}, {"n": 1}, {"n": 2}]
