"""The one door to the tables: what is written, and what the ledger tells of it (contract, section 7)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import IntegrityError

from app.accounts.users import change_user
from app.administration.inspections import change_inspection, create_inspection, delete_inspection
from app.clock import MILLISECOND
from app.core.database.engine import db
from app.core.ledger.record import Origin, Recorder, record
from app.errors import NoFieldError, UnauthorizedError
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, LedgerOperation, User
from app.models.entities import fields_of
from app.testing import push, statements_of
from tests.attachments.conftest import upload
from tests.conftest import SettableClock, SignIn, World

CLI = Origin(door="cli")


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 1, "b": None})


def unit(app: Flask, work: Callable[[Recorder], Any], origin: Origin = CLI, **options: Any) -> Any:
    """Run `work` in a unit of its own."""
    with app.app_context():
        return record("test", origin, work, **options)


def newest(world: World) -> tuple[LedgerOperation, list[LedgerEntry]]:
    """The last operation, and what it changed."""
    head = world.all(LedgerOperation)[-1]
    return head, [each for each in world.all(LedgerEntry) if each.unit_id == head.unit_id]


def sight(entries: list[LedgerEntry]) -> list[tuple[str, int | None]]:
    """Whose sight of an inspection changed, and how."""
    return [(each.action, each.viewer_id) for each in entries if each.viewer_id is not None]


# What is recorded of a change


def test_a_creation_is_recorded_with_all_its_fields(
    app: Flask, world: World, inspection: Inspection, clock: SettableClock
) -> None:
    template = world.template()
    clock.forward(minutes=1)
    row = world.form_fill(inspection, template, data={"a": 1, "b": None})
    head, (entry,) = newest(world)
    assert (head.type, head.door, head.user_id, head.device_id) == ("test.make", "cli", None, "")
    assert (head.local_id, head.fingerprint) == (None, None)
    assert (head.entity, head.entity_id) == ("form_fill", str(row.id))
    assert (head.version_before, head.version_after) == (None, clock.time)
    assert head.recorded_at == entry.recorded_at == clock.time
    assert (entry.action, entry.entity, entry.entity_id) == ("create", "form_fill", str(row.id))
    assert (entry.inspection_id, entry.position, entry.viewer_id) == (inspection.id, 0, None)
    assert (entry.version_before, entry.version_after) == (None, clock.time)
    assert entry.changes == {"a": {"new": 1}, "b": {"new": None}}
    assert row.created_at == row.updated_at == clock.time


def test_a_change_is_recorded_with_old_and_new_and_what_was_absent(
    app: Flask, world: World, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    values = {"a": 2, "b": None, "c": None, "d": [1]}
    assert unit(app, lambda recorder: recorder.change(db.session.get_one(FormFill, form_fill.id), values)) is True
    head, (entry,) = newest(world)
    assert entry.changes == {"a": {"old": 1, "new": 2}, "c": {"new": None}, "d": {"new": [1]}}
    assert (entry.action, entry.version_before, entry.version_after) == ("change", form_fill.updated_at, clock.time)
    assert (head.version_before, head.version_after) == (form_fill.updated_at, clock.time)
    stored = world.get(FormFill, form_fill.id)
    assert (stored.data, stored.updated_at) == ({"a": 2, "b": None, "c": None, "d": [1]}, clock.time)


def test_equal_values_leave_no_trace(app: Flask, world: World, form_fill: FormFill) -> None:
    recorded = world.recorded()
    assert unit(app, lambda recorder: recorder.change(db.session.get_one(FormFill, form_fill.id), {"a": 1.0})) is False
    assert world.recorded() == recorded
    assert world.get(FormFill, form_fill.id).updated_at == form_fill.updated_at


def test_versions_of_one_row_increase_by_a_millisecond_where_the_clock_does_not(
    app: Flask, world: World, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(days=-1)

    def work(recorder: Recorder) -> None:
        for number in range(3):
            recorder.change(db.session.get_one(FormFill, form_fill.id), {"a": f"x{number}"})

    unit(app, work)
    _, entries = newest(world)
    first = form_fill.updated_at
    assert [each.version_after for each in entries] == [first + MILLISECOND * number for number in (1, 2, 3)]
    assert [each.version_before for each in entries] == [first + MILLISECOND * number for number in (0, 1, 2)]
    assert world.get(FormFill, form_fill.id).updated_at == first + 3 * MILLISECOND


def test_columns_of_other_kinds_are_recorded_as_json(app: Flask, world: World, inspection: Inspection) -> None:
    values = {"date": dt.date(2025, 1, 2), "property": {"city": "Bonn"}, "assignee_id": None}
    unit(app, lambda recorder: recorder.change(db.session.get_one(Inspection, inspection.id), values))
    _, entries = newest(world)
    assert entries[0].changes == {
        "date": {"old": "2024-03-20", "new": "2025-01-02"},
        "property": {"old": None, "new": {"city": "Bonn"}},
        "assignee_id": {"old": inspection.assignee_id, "new": None},
    }


def test_a_password_is_changed_but_not_told(app: Flask, world: World, tech: User) -> None:
    unit(app, lambda recorder: recorder.change(db.session.get_one(User, tech.id), {"password_hash": "new"}))
    _, (entry,) = newest(world)
    assert entry.changes == {"password_hash": {}}
    created = next(each for each in world.all(LedgerEntry) if (each.entity, each.entity_id) == ("user", str(tech.id)))
    assert "password_hash" not in created.changes
    assert world.get(User, tech.id).password_hash == "new"


def test_a_field_that_is_none_is_refused(app: Flask, world: World, inspection: Inspection) -> None:
    recorded = world.recorded()
    with pytest.raises(NoFieldError, match="Its fields are date, status,"):
        unit(app, lambda recorder: recorder.change(db.session.get_one(Inspection, inspection.id), {"no_such_field": 1}))
    assert world.recorded() == recorded


# Deleting


def test_a_deleted_row_is_gone_and_told_with_what_it_was(app: Flask, world: World, form_fill: FormFill) -> None:
    unit(app, lambda recorder: recorder.delete(db.session.get_one(FormFill, form_fill.id)))
    head, (entry,) = newest(world)
    assert world.get(FormFill, form_fill.id) is None
    assert entry.changes == {"a": {"old": 1}, "b": {"old": None}}
    assert (entry.action, entry.version_before, entry.version_after) == ("delete", form_fill.updated_at, None)
    assert (head.entity_id, head.version_before, head.version_after) == (str(form_fill.id), form_fill.updated_at, None)


def test_a_row_that_can_be_marked_is_marked(
    app: Flask, world: World, form_fill: FormFill, clock: SettableClock
) -> None:
    photo = world.attachment(form_fill)
    clock.forward(minutes=1)

    def work(recorder: Recorder) -> None:
        row = db.session.get_one(Attachment, photo.id)
        recorder.delete(row)
        assert recorder.is_deleted(row)
        recorder.delete(row)

    unit(app, work)
    _, (entry,) = newest(world)
    stored = world.get(Attachment, photo.id)
    assert stored.deleted_at == stored.updated_at == entry.version_after == clock.time
    assert (entry.action, entry.changes) == ("delete", {"deleted_at": {"old": None, "new": "2024-03-15T10:31:00.000Z"}})


def test_what_was_created_and_deleted_in_one_unit_is_told_but_not_there(
    app: Flask, world: World, inspection: Inspection, form_fill: FormFill
) -> None:
    def work(recorder: Recorder) -> int:
        root = db.session.get(Inspection, inspection.id)
        values = {"form_template_id": form_fill.form_template_id, "data": {}}
        row = recorder.create(FormFill, values, root)
        recorder.change(row, {"x": 1})
        recorder.delete(row)
        return int(row.id)

    key = unit(app, work)
    assert world.get(FormFill, key) is None
    _, entries = newest(world)
    assert [each.action for each in entries] == ["create", "change", "delete"]


# Who gains and who loses sight


def test_a_new_inspection_is_gained_by_its_people(world: World, owner: User, tech: User) -> None:
    world.inspection(owner, tech)
    _, entries = newest(world)
    assert sight(entries) == [("gain", owner.id), ("gain", tech.id)]
    assert [each.changes for each in entries[1:]] == [{}, {}]


def test_reassigning_is_a_gain_and_a_loss(
    app: Flask, world: World, inspection: Inspection, tech: User, owner: User
) -> None:
    second = world.user("second@example.com")
    unit(
        app, lambda recorder: recorder.change(db.session.get_one(Inspection, inspection.id), {"assignee_id": second.id})
    )
    _, entries = newest(world)
    assert [each.action for each in entries] == ["change", "gain", "loss"]
    assert sight(entries) == [("gain", second.id), ("loss", tech.id)]
    unit(
        app, lambda recorder: recorder.change(db.session.get_one(Inspection, inspection.id), {"assignee_id": owner.id})
    )
    assert sight(newest(world)[1]) == [("loss", second.id)], "the owner saw it already"
    unit(app, lambda recorder: recorder.change(db.session.get_one(Inspection, inspection.id), {"notes": "x"}))
    assert sight(newest(world)[1]) == []


def test_deleting_an_inspection_is_a_loss_for_its_people(app: Flask, world: World, owner: User, tech: User) -> None:
    inspection = world.inspection(owner, tech)
    unit(app, lambda recorder: recorder.delete(db.session.get_one(Inspection, inspection.id)))
    _, entries = newest(world)
    assert [each.action for each in entries] == ["delete", "loss", "loss"]
    assert sight(entries) == [("loss", owner.id), ("loss", tech.id)]
    assert {each.inspection_id for each in entries} == {inspection.id}


def test_every_entry_has_a_tag_of_its_own(world: World, form_fill: FormFill) -> None:
    entries = world.all(LedgerEntry)
    assert len({each.tag for each in entries}) == len(entries)


# Taking back


def test_undo_takes_everything_back_in_memory(app: Flask, world: World, form_fill: FormFill) -> None:
    photo = world.attachment(form_fill)

    def work(recorder: Recorder) -> None:
        row, attachment = db.session.get(FormFill, form_fill.id), db.session.get_one(Attachment, photo.id)
        root = db.session.get(Inspection, form_fill.inspection_id)
        assert row is not None
        recorder.change(row, {"kept": 1})
        kept, mark = fields_of(row), len(recorder.stated)
        version = row.updated_at
        recorder.change(row, {"a": 2, "x": 1})
        recorder.change(row, {"a": 3})
        recorder.delete(attachment)
        created = recorder.create(FormFill, {"form_template_id": form_fill.form_template_id, "data": {}}, root)
        recorder.change(created, {"y": 1})
        recorder.delete(row)
        recorder.undo(mark)
        assert (fields_of(row), row.updated_at) == (kept, version)
        assert not recorder.is_deleted(row)
        assert not recorder.is_deleted(attachment)
        assert recorder.created == {}
        assert len(recorder.stated) == mark

    unit(app, work)
    assert world.get(FormFill, form_fill.id).data == {"a": 1, "b": None, "kept": 1}
    assert world.get(Attachment, photo.id).deleted_at is None
    assert len(world.all(FormFill)) == 1
    assert [each.action for each in newest(world)[1]] == ["change"]


def test_a_unit_that_fails_leaves_nothing(app: Flask, world: World, inspection: Inspection) -> None:
    recorded = world.recorded()

    def work(recorder: Recorder) -> None:
        recorder.create(User, {"email": "new@example.com", "name": "N", "role": "user", "password_hash": "x"})
        recorder.change(db.session.get_one(Inspection, inspection.id), {"status": "nonsense"})

    with pytest.raises(IntegrityError):
        unit(app, work)
    assert world.recorded() == recorded
    assert world.get(Inspection, inspection.id).status == "pending"
    assert all(each.email != "new@example.com" for each in world.all(User))


def test_a_user_who_is_deactivated_or_gone_writes_nothing(
    app: Flask, world: World, tech: User, inspection: Inspection
) -> None:
    """The token was checked before the unit began; under the lock the user counts as stored."""

    def work(recorder: Recorder) -> None:
        recorder.change(db.session.get_one(Inspection, inspection.id), {"notes": "too late"})

    idle = world.user("idle@example.com", active=False)
    for user_id in (idle.id, 4711):
        with pytest.raises(UnauthorizedError) as caught:
            unit(app, work, Origin(door="rest", user_id=user_id))
        assert caught.value.code == "token_revoked"
    assert world.get(Inspection, inspection.id).notes is None
    unit(app, work, Origin(door="rest", user_id=tech.id))
    assert world.get(Inspection, inspection.id).notes == "too late"


# Ids


def test_ids_are_reserved_once_and_never_given_again(
    app: Flask, world: World, inspection: Inspection, form_fill: FormFill
) -> None:
    def create(count: int) -> list[int]:
        def work(recorder: Recorder) -> list[int]:
            root = db.session.get(Inspection, inspection.id)
            values = {"form_template_id": form_fill.form_template_id, "data": {}}
            return [recorder.create(FormFill, values, root).id for _ in range(count)]

        return list(unit(app, work, capacity=2))

    first = create(5)
    assert len({*first, form_fill.id}) == 6, "more than were reserved at once"
    unit(app, lambda recorder: recorder.delete(db.session.get_one(FormFill, max(first))))
    assert min(create(1)) > max(first)


# All doors


def test_every_door_leaves_a_head_and_its_entries(
    app: Flask, world: World, sign_in: SignIn, admin: User, owner: User, tech: User, inspection: Inspection,
    form_fill: FormFill,
) -> None:  # fmt: skip
    device_id = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0009"
    device: FlaskClient = sign_in(tech, device_id)
    edit = {"type": "form_fill", "local_id": "edit", "data": {"id": form_fill.id, "changes": {"a": 2}}}
    office = Origin(door="rest", user_id=admin.id)
    heads = []

    def told(kind: str, *changed: tuple[str, str]) -> None:
        head, entries = newest(world)
        assert head.type == kind
        assert [(each.entity, each.action) for each in entries if each.viewer_id is None] == list(changed)
        assert {each.recorded_at for each in entries} == {head.recorded_at}
        heads.append(head)

    push(device, edit)
    told("form_fill", ("form_fill", "change"))
    upload(device, form_fill, local_id=str(uuid4()))
    told("photo_upload", ("attachment", "create"))
    with app.app_context():
        created, _ = create_inspection(office, {"date": dt.date(2025, 1, 1), "assignee_id": tech.id}, [1])
    told("inspection_create", ("inspection", "create"), ("form_fill", "create"))
    with app.app_context():
        change_inspection(office, created, {"notes": "x"})
    told("inspection_change", ("inspection", "change"))
    with app.app_context():
        delete_inspection(office, inspection.id)
    told("inspection_delete", ("attachment", "delete"), ("form_fill", "delete"), ("inspection", "delete"))
    with app.app_context():
        change_user(Origin(door="cli"), owner.id, {"name": "New"})
    told("user_change", ("user", "change"))
    assert [(each.door, each.user_id, each.device_id) for each in heads] == [
        ("sync", tech.id, device_id),
        ("upload", tech.id, device_id),
        ("rest", admin.id, ""),
        ("rest", admin.id, ""),
        ("rest", admin.id, ""),
        ("cli", None, ""),
    ]
    assert [bool(each.fingerprint) for each in heads] == [True, True, False, False, False, False]
    assert heads[0].local_id == "edit"
    assert heads[0].message == "FormFill updated successfully"


def test_a_batch_is_one_unit_with_a_head_for_each_operation(
    world: World, sign_in: SignIn, tech: User, inspection: Inspection, form_fill: FormFill
) -> None:
    items = [
        {"type": "form_fill", "local_id": "1", "data": {"id": form_fill.id, "changes": {"a": 2}}},
        {"type": "form_fill", "local_id": "2", "data": {"id": 4711, "changes": {"a": 2}}},
        {"type": "inspection", "local_id": "3", "data": {"id": inspection.id, "status": "completed", "notes": "x"}},
        {"type": "inspection", "local_id": "4", "data": {"id": inspection.id, "status": "completed"}},
    ]
    push(sign_in(tech), *items)
    heads = [each for each in world.all(LedgerOperation) if each.door == "sync"]
    assert [(each.position, each.local_id) for each in heads] == [(0, "1"), (2, "3"), (3, "4")]
    assert len({each.unit_id for each in heads}) == 1
    entries = [each for each in world.all(LedgerEntry) if each.unit_id == heads[0].unit_id]
    assert [(each.position, each.entity) for each in entries] == [(0, "form_fill"), (2, "inspection")]
    assert heads[2].version_before == heads[2].version_after, "nothing changed, but it is remembered"


def test_templates_are_recorded_too(world: World) -> None:
    world.template(name="Hydrant")
    _, (entry,) = newest(world)
    assert (entry.entity, entry.inspection_id) == ("form_template", None)
    assert entry.changes["name"] == {"new": "Hydrant"}
    assert len(world.all(FormTemplate)) == 1


def test_ids_of_rows_of_several_tables_are_reserved_together_and_never_given_twice(
    app: Flask, world: World, inspection: Inspection, form_fill: FormFill
) -> None:
    template_id = form_fill.form_template_id

    def work(recorder: Recorder) -> tuple[list[int], list[str]]:
        recorder.ids.reserve({FormFill: 2, FormTemplate: 1, Attachment: 1})
        root = recorder.session.get(Inspection, inspection.id)
        with statements_of(app) as found:
            recorder.create(FormTemplate, {"name": "Another", "form_structure": []})
            # One more than was reserved.
            rows = [recorder.create(FormFill, {"form_template_id": template_id, "data": {}}, root) for _ in range(3)]
        return [row.id for row in rows], found

    for _ in range(2):
        made, statements = unit(app, work)
        assert len(statements) == 1
        assert len(set(made)) == 3
        assert min(made) > form_fill.id
    assert len({each.id for each in world.all(FormFill)}) == 7
