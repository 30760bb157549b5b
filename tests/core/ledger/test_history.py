"""What is read back from the ledger: earlier outcomes, what happened since a version, and who did it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete

from app.core.database.engine import db
from app.core.ledger.history import MOST_CHANGES, changes_since, describe_entries, entries_of, recall
from app.core.ledger.record import Origin, Recorder, record
from app.core.ledger.unit import unit_of_work
from app.models import FormFill, Inspection, LedgerOperation, User
from app.testing import push, sign_in
from tests.conftest import SettableClock, World
from tests.support.rows import change_often

DEVICE_ID = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0})


def edit(form_fill: FormFill, local_id: str, **changes: Any) -> dict[str, Any]:
    return {"type": "form_fill", "local_id": local_id, "data": {"id": form_fill.id, "changes": changes}}


def recalled(app: Flask, user: User, device_id: str | None, *local_ids: str) -> list[Any]:
    with app.app_context():
        return sorted(
            recall(db.session(), Origin(door="sync", user_id=user.id, device_id=device_id), local_ids), key=str
        )


def since(app: Flask, versions: Mapping[int, Any]) -> dict[str, list[dict[str, Any]]]:
    with app.app_context():
        found = changes_since(db.session(), Origin(door="sync"), "form_fill", versions)
        return {key: [each.changes for each in entries] for key, entries in found.items()}


# Earlier outcomes


def test_an_outcome_is_recalled_by_user_device_and_local_id(
    app: Flask, world: World, tech: User, form_fill: FormFill
) -> None:
    push(sign_in(app, tech, DEVICE_ID), edit(form_fill, "one", a=1), edit(form_fill, "two", a=2))
    push(sign_in(app, tech), edit(form_fill, "none", a=3))
    heads = {each.local_id: each.fingerprint for each in world.all(LedgerOperation) if each.door == "sync"}
    assert recalled(app, tech, DEVICE_ID, "one", "none", "unknown") == [("one", heads["one"])]
    assert recalled(app, tech, None, "one", "none") == [("none", heads["none"])]
    assert recalled(app, world.user("other@example.com"), DEVICE_ID, "one") == []
    assert recalled(app, tech, DEVICE_ID) == []


def test_all_contents_that_one_local_id_was_used_for_are_recalled(app: Flask, tech: User, form_fill: FormFill) -> None:
    push(sign_in(app, tech), edit(form_fill, "same", a=1), edit(form_fill, "same", a=2))
    found = recalled(app, tech, None, "same", "same")
    assert [local_id for local_id, _ in found] == ["same", "same"]
    assert len(set(found)) == 2


def test_local_ids_of_any_kind_and_number_are_looked_up_at_once(
    app: Flask, world: World, tech: User, form_fill: FormFill
) -> None:
    odd = ["'; DROP TABLE users", "%", "_", "é\u2028", "[1]", '"', " ", "x" * 255]
    push(sign_in(app, tech), *[edit(form_fill, name, a=name) for name in odd])
    found = recalled(app, tech, None, *odd, *map(str, range(1000)))
    assert {local_id for local_id, _ in found} == set(odd)
    assert recalled(app, tech, None, "x", "", "é") == []


# What happened since a version


def test_what_happened_since_a_version_comes_oldest_first_and_nothing_else(
    app: Flask, tech: User, inspection: Inspection, world: World, form_fill: FormFill, clock: SettableClock
) -> None:
    other = world.form_fill(inspection, data={})
    moments = [clock()]
    for number in (1, 2, 3):
        clock.forward(seconds=1)
        moments.append(clock())
        push(sign_in(app, tech), edit(form_fill, str(number), a=number), edit(other, f"other {number}", b=number))
    assert since(app, {form_fill.id: moments[1]}) == {
        str(form_fill.id): [{"a": {"old": 1, "new": 2}}, {"a": {"old": 2, "new": 3}}]
    }
    assert since(app, {form_fill.id: moments[3]}) == {str(form_fill.id): []}
    both = since(app, {form_fill.id: moments[2], other.id: moments[1]})
    assert [len(both[str(each.id)]) for each in (form_fill, other)] == [2, 2], "at least what was asked for"
    assert since(app, {}) == {}
    assert since(app, {4711: moments[0]}) == {"4711": []}


def test_since_a_millisecond_before_it_was_made_everything_is_told(app: Flask, tech: User, form_fill: FormFill) -> None:
    push(sign_in(app, tech), edit(form_fill, "one", a=1))
    (told,) = since(app, {form_fill.id: form_fill.updated_at - timedelta(milliseconds=1)}).values()
    assert told == [{"a": {"new": 0}}, {"a": {"old": 0, "new": 1}}]


def test_rows_of_other_entities_with_the_same_id_are_not_meant(
    app: Flask, inspection: Inspection, form_fill: FormFill
) -> None:
    assert inspection.id == form_fill.id, "or the test would show nothing"

    def work(recorder: Recorder) -> None:
        recorder.change(recorder.session.get_one(Inspection, inspection.id), {"notes": "x", "assignee_id": None})

    with app.app_context():
        record("test", Origin(door="cli"), work)
    assert since(app, {form_fill.id: form_fill.updated_at}) == {str(form_fill.id): []}


def test_of_a_long_past_the_newest_changes_of_each_row_are_read(
    app: Flask, tech: User, inspection: Inspection, world: World, form_fill: FormFill
) -> None:
    other = world.form_fill(inspection, data={})
    push(sign_in(app, tech), edit(other, "one", b=1))
    change_often(app, form_fill, MOST_CHANGES + 1)
    both = since(app, {form_fill.id: form_fill.updated_at, other.id: other.updated_at})
    numbers = [changes["often"]["new"] for changes in both[str(form_fill.id)]]
    assert numbers == list(range(1, MOST_CHANGES + 1))
    assert both[str(other.id)] == [{"b": {"new": 1}}]
    alone = since(app, {form_fill.id: form_fill.updated_at})
    assert alone == {str(form_fill.id): both[str(form_fill.id)]}


# Who did it


def test_an_entry_whose_operation_is_gone_is_told_without_who(app: Flask, tech: User, form_fill: FormFill) -> None:
    push(sign_in(app, tech), edit(form_fill, "one", a=1))
    with app.app_context():
        ids = list(db.session.scalars(entries_of("form_fill", form_fill.id)))
        newest, oldest = describe_entries(db.session(), ids)
        assert (newest["user_id"], newest["local_id"], newest["door"]) == (tech.id, "one", "sync")
        assert (oldest["user_id"], oldest["type"], oldest["door"]) == (None, "test.make", "cli")
        unit_of_work(lambda _: db.session.execute(delete(LedgerOperation)))
        (alone, _) = describe_entries(db.session(), ids)
        assert alone == {**newest, **dict.fromkeys(("user_id", "device_id", "door", "type", "local_id"))}


def test_who_gained_or_lost_sight_is_no_part_of_a_rows_history(app: Flask, inspection: Inspection) -> None:
    with app.app_context():
        ids = list(db.session.scalars(entries_of("inspection", inspection.id)))
        assert [each["action"] for each in describe_entries(db.session(), ids)] == ["create"]
        assert describe_entries(db.session(), []) == []
