"""Two at the same moment: real processes on one database, and two transactions step by step (traps 1, 2, 25, 28)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.engine import make_url

from app.attachments import upkeep
from app.clock import system_clock, to_wire
from app.models import Attachment, FormFill, Inspection, LedgerEntry, LedgerOperation, User
from app.testing import push
from tests.attachments.conftest import files_in, upload
from tests.conftest import World
from tests.core.sync.conftest import edit, stored
from tests.core.sync.racers import increment, push_once, race, together, waiting_for_a_row
from tests.support.pictures import jpeg

API = "/api/v1"

#: How often each process adds 1.
TIMES = 25


@pytest.fixture
def clock() -> Any:
    """The machine's own, as in the other processes."""
    return system_clock


def token_of(client: FlaskClient) -> str:
    return str(client.environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


def applied(world: World) -> list[LedgerOperation]:
    return [each for each in world.all(LedgerOperation) if each.door == "sync"]


def photo_delete(form_fill: FormFill, **data: Any) -> dict[str, Any]:
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo", **data}
    return {"type": "photo_delete", "local_id": str(uuid4()), "data": data}


def live_photos(world: World) -> list[str]:
    return [each.id for each in world.all(Attachment) if each.deleted_at is None]


def assert_storage_in_order(app: Flask) -> None:
    with app.app_context():
        findings = upkeep.check()
    assert (findings.missing, findings.damaged, findings.orphans) == ([], [], [])


def test_two_creates_of_one_inspection_make_one(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    """There is no parent to lock: the second waits for the first one's sender, and then meets its own row."""
    data = {"client_id": str(uuid4()), "date": "2024-03-15", "form_template_ids": [form_fill.form_template_id]}
    creates = [{"type": "inspection", "local_id": str(uuid4()), "data": data} for _ in range(2)]
    first, second = race(app, partial(push, device, creates[0]), partial(push, device, creates[1]))
    ((made,), (met,)) = (results["success"] for results in (first, second))
    assert made["server_id"] == met["server_id"]
    assert (len(world.all(Inspection)), len(world.all(FormFill))) == (2, 2)


def test_of_two_peoples_creates_with_one_client_id_one_is_taken(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    data = {"client_id": str(uuid4()), "date": "2024-03-15", "form_template_ids": [form_fill.form_template_id]}
    create = {"type": "inspection", "local_id": str(uuid4()), "data": data}
    first, second = race(app, partial(push, device, create), partial(push, other, create))
    assert len(first["success"]) == 1
    assert [entry["error"] for entry in second["errors"]] == ["client_id is taken"]
    assert (len(world.all(Inspection)), len(world.all(FormFill))) == (2, 2)


# As processes


def test_of_two_writes_on_one_version_one_applies_and_one_conflicts(
    environment: Mapping[str, str], world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = to_wire(form_fill.updated_at)
    batches = [[edit(form_fill, held, a=name)] for name in ("mine", "theirs")]
    tokens = [token_of(device), token_of(other)]
    results = together(push_once, [(environment, token, items) for token, items in zip(tokens, batches, strict=True)])
    outcomes = sorted((len(each["success"]), len(each["conflicts"]), len(each["errors"])) for each in results)
    assert outcomes == [(0, 1, 0), (1, 0, 0)]
    (winner,) = [name for name, each in zip(("mine", "theirs"), results, strict=True) if each["success"]]
    assert world.get(FormFill, form_fill.id).data["a"] == winner
    assert len(applied(world)) == 1
    (conflict,) = [each["conflicts"][0] for each in results if each["conflicts"]]
    assert conflict["conflict_data"]["server_data"]["a"] == winner


def test_increments_from_four_processes_lose_nothing(
    environment: Mapping[str, str], world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    """Of so many, read and then written as with the defaults, three in four would be lost (traps 1 and 2)."""
    device.post("/api/v1/sync", json={"sync_items": [edit(form_fill, n=0)]})
    tokens = [token_of(device), token_of(other)] * 2
    conflicts = together(
        increment, [(environment, token, form_fill.id, f"p{number}", TIMES) for number, token in enumerate(tokens)]
    )
    assert world.get(FormFill, form_fill.id).data["n"] == 4 * TIMES
    assert sum(conflicts) >= 4, "each began on a version that was too old"
    changes = [each.changes["n"] for each in world.all(LedgerEntry) if "n" in each.changes]
    assert [each["new"] for each in changes] == list(range(4 * TIMES + 1)), "the ledger tells every step, in order"
    versions = [each.version_after for each in world.all(LedgerEntry) if "n" in each.changes]
    assert versions == sorted(set(versions))


def test_one_batch_on_two_connections_is_applied_once_and_both_are_told_so(
    environment: Mapping[str, str],
    world: World,
    device: FlaskClient,
    inspection: Inspection,
    form_fill: FormFill,
) -> None:
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "data": {"x": 1}}
    items = [
        {"type": "form_fill", "local_id": "create", "data": new},
        edit(form_fill, to_wire(form_fill.updated_at), a=1),
        {"type": "inspection", "local_id": "i", "data": {"id": inspection.id, "status": "completed"}},
        {"type": "photo_delete", "local_id": "p", "data": {"form_fill_id": form_fill.id, "field_name": "x"}},
    ]
    results = together(push_once, [(environment, token_of(device), items)] * 2)
    assert [len(each["success"]) for each in results] == [4, 4]
    replayed = sorted([entry.get("replayed", False) for entry in each["success"]] for each in results)
    assert replayed == [[False] * 4, [True] * 4]
    first, second = ([entry["server_id"] for entry in each["success"]] for each in results)
    assert first == second
    assert len(world.all(FormFill)) == 2
    assert len(applied(world)) == 4


def test_batches_that_take_the_same_rows_in_another_order_do_not_block_each_other(
    app: Flask, environment: Mapping[str, str], world: World, device: FlaskClient, other: FlaskClient,
    inspection: Inspection,
) -> None:  # fmt: skip
    form_fills = [world.form_fill(inspection) for _ in range(10)]
    forwards = [edit(each, mine=1) for each in form_fills]
    backwards = [edit(each, theirs=1) for each in reversed(form_fills)]
    results = together(
        push_once, [(environment, token_of(device), forwards), (environment, token_of(other), backwards)]
    )
    assert [len(each["success"]) for each in results] == [10, 10]
    assert all(world.get(FormFill, each.id).data == {"mine": 1, "theirs": 1} for each in form_fills)


# Step by step: the same operation twice


def test_the_same_batch_waits_for_its_twin_and_is_answered_as_its_retry(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "data": {"x": 1}}
    world.attachment(form_fill)
    items = [
        {"type": "form_fill", "local_id": "create", "data": new},
        edit(form_fill, to_wire(form_fill.updated_at), a=1),
        photo_delete(form_fill),
    ]
    first, second = race(app, lambda: push(device, *items), lambda: push(device, *items))
    assert ["replayed" in each for each in first["success"]] == [False] * 3
    assert [each.get("replayed") for each in second["success"]] == [True] * 3
    assert [each["server_id"] for each in first["success"]] == [each["server_id"] for each in second["success"]]
    assert len(world.all(FormFill)) == 2
    assert len(applied(world)) == 3


def test_an_upload_with_a_local_id_waits_for_its_twin_and_is_answered_as_its_retry(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    call = partial(upload, device, form_fill, local_id=str(uuid4()))
    first, second = race(app, call, call)
    assert (first.status_code, second.status_code) == (200, 200)
    assert "replayed" not in first.json
    assert second.json["replayed"] is True
    assert live_photos(world) == [first.json["photo_attachment_id"]] == [second.json["photo_attachment_id"]]
    assert_storage_in_order(app)


def test_the_same_photo_from_two_people_is_one(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    first, second = race(app, lambda: upload(device, form_fill), lambda: upload(other, form_fill))
    assert live_photos(world) == [first.json["photo_attachment_id"]] == [second.json["photo_attachment_id"]]
    assert_storage_in_order(app)


def test_one_client_id_from_two_devices_is_one_form_fill(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    place = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "client_id": str(uuid4())}
    items = [
        {"type": "form_fill", "local_id": str(each), "data": {**place, "data": {str(each): each}}} for each in (1, 2)
    ]
    first, second = race(app, lambda: push(device, items[0]), lambda: push(other, items[1]))
    assert second["success"][0]["server_id"] == first["success"][0]["server_id"]
    assert world.get(FormFill, first["success"][0]["server_id"]).data == {"1": 1, "2": 2}


# Two edits of one row


def test_the_second_of_two_edits_sees_the_first_and_conflicts(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = to_wire(form_fill.updated_at)
    first, second = race(
        app, lambda: push(device, edit(form_fill, held, a="mine")), lambda: push(other, edit(form_fill, held, a="x"))
    )
    assert len(first["success"]) == 1
    (conflict,) = second["conflicts"]
    assert conflict["conflict_data"]["server_version"] == first["success"][0]["updated_at"]
    assert conflict["conflict_data"]["server_data"]["a"] == "mine"
    assert conflict["conflict_data"]["base_data"] == {"a": 0, "b": 0}
    assert stored(world, form_fill)["a"] == "mine"


def test_the_second_of_two_edits_merges_what_the_first_left(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    mine, theirs = (
        edit(form_fill, to_wire(form_fill.updated_at), strategy="merge", **{name: name}) for name in ("a", "b")
    )
    _, second = race(app, lambda: push(device, mine), lambda: push(other, theirs))
    assert second["success"][0]["message"] == "Conflict merged"
    assert stored(world, form_fill) == {"a": "a", "b": "b"}


def test_an_edit_on_the_device_and_one_in_the_office_do_not_undo_each_other(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection
) -> None:
    def patch() -> Any:
        return office.patch(f"{API}/inspections/{inspection.id}", json={"job": "J-7"})

    item = {"type": "inspection", "local_id": "i", "data": {"id": inspection.id, "notes": "mine"}}
    _, answer = race(app, lambda: push(device, item), patch)
    assert answer.status_code == 200
    row = world.get(Inspection, inspection.id)
    assert (row.notes, row.job) == ("mine", "J-7")
    entries = [each for each in world.all(LedgerEntry) if each.entity == "inspection" and each.viewer_id is None]
    assert [each.version_before for each in entries[1:]] == [each.version_after for each in entries[:-1]]


# Rows in opposite order


def test_a_batch_that_names_rows_in_opposite_order_waits_and_then_applies(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, inspection: Inspection
) -> None:
    form_fills = [world.form_fill(inspection) for _ in range(3)]
    forwards = [edit(each, mine=1) for each in form_fills]
    backwards = [edit(each, theirs=1) for each in reversed(form_fills)]
    first, second = race(app, lambda: push(device, *forwards), lambda: push(other, *backwards))
    assert [len(first["success"]), len(second["success"])] == [3, 3]
    assert all(stored(world, each) == {"mine": 1, "theirs": 1} for each in form_fills)


@pytest.mark.database("postgresql")
def test_rows_are_locked_by_id_whatever_order_a_batch_names_them_in(
    app: Flask, environment: Mapping[str, str], world: World, device: FlaskClient, inspection: Inspection
) -> None:
    """While the first row is somebody else's, the second is not yet locked: nobody can wait for us in a circle."""
    one, two = (world.form_fill(inspection) for _ in range(2))
    address = make_url(environment["DATABASE_URL"]).render_as_string(hide_password=False)
    lock = "SELECT id FROM form_fills WHERE id = %s FOR UPDATE SKIP LOCKED"
    with psycopg.connect(address) as somebody, psycopg.connect(address) as another:

        def release() -> Any:
            rows = another.execute(lock, [two.id]).fetchall()
            another.rollback()
            somebody.rollback()
            return rows

        assert somebody.execute(lock, [one.id]).fetchall()
        results, found = waiting_for_a_row(app, lambda: push(device, edit(two, a=1), edit(one, a=1)), release)
    assert found == [(two.id,)]
    assert len(results["success"]) == 2


# Uploads against deletes


def test_an_upload_after_the_delete_it_waited_for_stays(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    former = upload(device, form_fill).json["photo_attachment_id"]
    _, answer = race(app, lambda: push(other, photo_delete(form_fill)), lambda: upload(device, form_fill))
    assert answer.status_code == 200
    assert live_photos(world) == [answer.json["photo_attachment_id"]] != [former]
    assert_storage_in_order(app)


def test_a_delete_after_the_upload_it_waited_for_takes_it_along(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    answer, deleted = race(app, lambda: upload(device, form_fill), lambda: push(other, photo_delete(form_fill)))
    assert (answer.status_code, len(deleted["success"])) == (200, 1)
    assert live_photos(world) == []
    actions = [each.action for each in world.all(LedgerEntry) if each.entity == "attachment"]
    assert actions == ["create", "delete"]
    assert_storage_in_order(app)


def test_a_delete_of_one_photo_leaves_the_one_that_is_uploaded_meanwhile(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    seen = upload(device, form_fill).json["photo_attachment_id"]
    item = photo_delete(form_fill, photo_attachment_id=seen)
    answer, _ = race(app, lambda: upload(device, form_fill, jpeg(colour="green")), lambda: push(other, item))
    assert live_photos(world) == [answer.json["photo_attachment_id"]]


def test_of_two_signatures_the_later_one_stays(
    app: Flask, world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    def sign(client: FlaskClient, colour: str) -> Any:
        options = {"to": f"{API}/sync/upload_signature", "part": "signature"}
        return upload(client, form_fill, jpeg(colour=colour), "Signature", **options)

    _, second = race(app, lambda: sign(device, "red"), lambda: sign(other, "green"))
    assert live_photos(world) == [second.json["signature_attachment_id"]]


def test_an_upload_to_what_is_being_deleted_is_404_and_leaves_no_bytes(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    _, answer = race(
        app, lambda: office.delete(f"{API}/inspections/{inspection.id}"), lambda: upload(device, form_fill)
    )
    assert (answer.status_code, answer.json["error"]) == (404, "FormFill not found")
    assert files_in(app) == []
    assert world.all(Attachment) == []


def test_deleting_an_inspection_takes_what_was_uploaded_meanwhile_along(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    answer, deleted = race(
        app, lambda: upload(device, form_fill), lambda: office.delete(f"{API}/inspections/{inspection.id}")
    )
    assert (answer.status_code, deleted.status_code) == (200, 200)
    assert live_photos(world) == []
    assert world.all(FormFill) == []


# Rights that change in the middle


def test_a_batch_behind_its_users_deactivation_is_refused_whole(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, tech: User, form_fill: FormFill
) -> None:
    """Its token was checked before: the user is asked for again inside the unit of work."""
    _, answer = race(
        app,
        lambda: office.patch(f"{API}/users/{tech.id}", json={"active": False}),
        lambda: device.post(f"{API}/sync", json={"sync_items": [edit(form_fill, a=1)]}),
    )
    assert (answer.status_code, answer.json["code"]) == (401, "token_revoked")
    assert stored(world, form_fill)["a"] == 0
    assert applied(world) == []


def test_a_deactivation_waits_for_the_batch_under_way(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, tech: User, form_fill: FormFill
) -> None:
    results, answer = race(
        app,
        lambda: push(device, edit(form_fill, a=1)),
        lambda: office.patch(f"{API}/users/{tech.id}", json={"active": False}),
    )
    assert (len(results["success"]), answer.status_code) == (1, 200)
    assert [each.type for each in world.all(LedgerOperation)][-2:] == ["form_fill", "user_change"]
    assert device.post(f"{API}/sync", json={"sync_items": []}).status_code == 401


def test_an_upload_behind_its_users_deactivation_is_refused_and_leaves_no_bytes(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, tech: User, form_fill: FormFill
) -> None:
    _, answer = race(
        app,
        lambda: office.patch(f"{API}/users/{tech.id}", json={"active": False}),
        lambda: upload(device, form_fill),
    )
    assert (answer.status_code, answer.json["code"]) == (401, "token_revoked")
    assert world.all(Attachment) == []
    assert files_in(app) == []


def test_a_batch_behind_a_change_of_role_has_the_rights_of_the_new_one(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, tech: User, form_fill: FormFill
) -> None:
    own = world.form_fill(world.inspection(tech))
    _, results = race(
        app,
        lambda: office.patch(f"{API}/users/{tech.id}", json={"role": "user"}),
        lambda: push(device, edit(form_fill, a=1), edit(own, a=1)),
    )
    assert [each["code"] for each in results["errors"]] == ["forbidden"], "only technicians are assigned"
    assert [each["server_id"] for each in results["success"]] == [own.id]


def test_a_change_of_role_waits_for_the_batch_under_way(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, tech: User, form_fill: FormFill
) -> None:
    results, answer = race(
        app,
        lambda: push(device, edit(form_fill, a=1)),
        lambda: office.patch(f"{API}/users/{tech.id}", json={"role": "user"}),
    )
    assert (len(results["success"]), answer.status_code) == (1, 200)
    assert push(device, edit(form_fill, a=2))["errors"][0]["code"] == "forbidden"


# Assignment against sync


def test_a_batch_behind_the_reassignment_of_its_inspection_is_refused(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    successor = world.user("next@example.com")
    _, results = race(
        app,
        lambda: office.patch(f"{API}/inspections/{inspection.id}", json={"assignee_id": successor.id}),
        lambda: push(device, edit(form_fill, a=1), edit(form_fill, "2024-01-01T00:00:00.000Z", a=1)),
    )
    assert [each["code"] for each in results["errors"]] == ["forbidden", "forbidden"]
    assert results["conflicts"] == []
    assert stored(world, form_fill)["a"] == 0


def test_a_reassignment_waits_for_the_batch_under_way_and_the_ledger_tells_that_order(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    successor = world.user("next@example.com")
    results, answer = race(
        app,
        lambda: push(device, edit(form_fill, a=1)),
        lambda: office.patch(f"{API}/inspections/{inspection.id}", json={"assignee_id": successor.id}),
    )
    assert (len(results["success"]), answer.status_code) == (1, 200)
    entries = [(each.entity, each.action) for each in world.all(LedgerEntry)]
    assert entries.index(("form_fill", "change")) < entries.index(("inspection", "loss"))
    assert push(device, edit(form_fill, a=2))["errors"][0]["code"] == "forbidden"


def test_a_batch_behind_the_deletion_of_its_inspection_finds_nothing(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id}
    create = {"type": "form_fill", "local_id": "create", "data": new}
    _, results = race(
        app,
        lambda: office.delete(f"{API}/inspections/{inspection.id}"),
        lambda: push(device, edit(form_fill, a=1), create),
    )
    assert [each["code"] for each in results["errors"]] == ["not_found", "not_found"]
    assert world.all(FormFill) == []


def test_the_deletion_of_an_inspection_takes_what_a_batch_under_way_creates_along(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id}
    results, answer = race(
        app,
        lambda: push(device, {"type": "form_fill", "local_id": "create", "data": new}),
        lambda: office.delete(f"{API}/inspections/{inspection.id}"),
    )
    assert (len(results["success"]), answer.status_code) == (1, 200)
    assert world.all(FormFill) == []
