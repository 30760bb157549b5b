"""What was refused or met a conflict is kept until somebody decides, and what was applied pays nothing for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import downgrade, upgrade
from sqlalchemy import event, select, update

from app import policies
from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.ledger.set_aside import is_open, keep_up
from app.models import FormFill, Inspection, SetAside, User
from app.plugin_api import Context, Operation, Outcome, Rejected, SyncHandler, by_id
from app.testing import push, statements_of
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.test_isolation import AnySchema, register


def rows_of(world: World) -> list[SetAside]:
    return sorted(world.all(SetAside), key=lambda row: (row.first_at, row.position))


def row_of(world: World) -> SetAside:
    (row,) = rows_of(world)
    return row


def open_ids(app: Flask) -> list[str]:
    """The local_ids of the rows that are open."""
    with app.app_context():
        return list(db.session.scalars(select(SetAside.local_id).where(is_open()).order_by(SetAside.local_id)))


@pytest.fixture
def foreign(world: World, owner: User) -> FormFill:
    """A form fill that the technician may not change."""
    return world.form_fill(world.inspection(owner))


@pytest.fixture
def stale(world: World, other: FlaskClient, form_fill: FormFill, clock: SettableClock) -> str:
    """The version of the form fill before somebody else has changed both of its fields."""
    version = to_wire(form_fill.updated_at)
    clock.forward(minutes=5)
    push(other, edit(form_fill, a=1, b=1))
    return version


def test_a_refused_item_is_kept_with_its_sender_its_row_and_the_reason(
    world: World, tech: User, sign_in: SignIn, foreign: FormFill, clock: SettableClock
) -> None:
    device = str(uuid4())
    item = {**edit(foreign, x=2.0, z={"b": 1, "a": 2}), "made_at": "2024-03-15T10:00:00Z", "note": "of the app"}
    push(sign_in(tech, device), item)
    row = row_of(world)
    assert (row.user_id, row.device_id, row.local_id, row.type) == (tech.id, device, item["local_id"], "form_fill")
    assert (row.outcome, row.code, row.error, row.retryable) == (
        "refused",
        "forbidden",
        "Not authorized to update this form",
        False,
    )
    assert (row.entity, row.entity_id, row.inspection_id) == ("form_fill", str(foreign.id), foreign.inspection_id)
    assert (row.item, row.is_cut, row.seen) == (item, False, None)
    assert (row.first_at, row.last_at, row.times) == (clock.time, clock.time, 1)


def test_an_item_is_kept_sign_by_sign(world: World, device: FlaskClient, foreign: FormFill) -> None:
    text = '" \\" \\\\u0041 / \u00e9 \u2028 \U0001f600 \x01 \x7f \n'
    item = edit(foreign, text=text, number=1e300, deep=[[[{"": None}]]])
    push(device, item)
    assert row_of(world).item == item


def test_what_the_items_of_a_batch_have_in_common_travels_once(
    app: Flask, world: World, device: FlaskClient, foreign: FormFill
) -> None:
    sent: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        sent.extend([str(parameters)] if "set_aside" in statement else [])

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", listen)
    push(device, *(edit(foreign, x=number) for number in range(10)))
    assert len(sent) == 1
    (error,) = {row.error for row in world.all(SetAside)}
    assert (len(world.all(SetAside)), sent[0].count(error)) == (10, 1)


def test_the_items_of_a_batch_that_differ_in_one_thing_keep_it(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def refuse(operation: Operation, _context: Context) -> Outcome:
        raise Rejected(**operation.data["reason"])

    handler = SyncHandler(type="odd", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=refuse)
    register(app, handler)
    usual = {"code": "odd", "error": "Odd", "message": "It is odd.", "retryable": False, "details": {"n": 1}}
    others = {"code": "even", "error": "Even", "message": "It is even.", "retryable": True, "details": {"n": True}}
    for name, other in others.items():
        reasons = [usual, {**usual, name: other}, usual]
        items = [
            {"type": "odd", "local_id": f"{name} {place}", "data": {"id": form_fill.id, "reason": reason}}
            for place, reason in enumerate(reasons)
        ]
        push(device, *items)
        kept = {row.local_id: str({name: getattr(row, name) for name in usual}) for row in world.all(SetAside)}
        assert [kept[str(item["local_id"])] for item in items] == [str(reason) for reason in reasons]


def test_a_text_that_spells_the_sign_of_nul_is_kept(
    world: World, device: FlaskClient, form_fill: FormFill, stale: str
) -> None:
    push(device, edit(form_fill, stale, a="\\u0000"))
    seen = row_of(world).seen
    assert seen is not None
    assert seen["mine"] == {"a": "\\u0000"}


def test_a_conflict_is_kept_with_what_both_sides_have(
    world: World, device: FlaskClient, form_fill: FormFill, stale: str
) -> None:
    push(device, edit(form_fill, stale, a=2))
    row = row_of(world)
    assert (row.outcome, row.code, row.seen_version) == (
        "conflict",
        "conflict",
        world.get(FormFill, form_fill.id).updated_at,
    )
    assert row.seen == {
        "local_version": stale,
        "conflicting_fields": ["a"],
        "unknown_version": False,
        "mine": {"a": 2},
        "base": {"a": 0},
        "theirs": {"a": 1},
    }


def test_an_item_that_an_earlier_release_kept_is_still_one_row(
    app: Flask, world: World, device: FlaskClient, foreign: FormFill
) -> None:
    item = edit(foreign, x=1)
    push(device, item)
    row = row_of(world)
    identity = orjson.dumps([row.user_id, row.device_id, row.local_id, row.fingerprint])
    with app.app_context():
        downgrade(revision="0020")
        with writing(db.engine) as connection:
            connection.execute(update(SetAside).values(id=hashlib.sha256(identity).hexdigest()))
        upgrade()
    push(device, item)
    assert row_of(world).id == row.id


def test_an_item_that_is_sent_again_is_one_row_which_rests_for_a_minute(
    world: World, device: FlaskClient, foreign: FormFill, clock: SettableClock
) -> None:
    item, first = edit(foreign, x=1), clock.time
    for _ in range(3):
        push(device, item)
        clock.forward(seconds=20)
    row = row_of(world)
    assert (row.times, row.first_at, row.last_at) == (1, first, first)
    clock.forward(seconds=1)
    push(device, item)
    row = row_of(world)
    assert (row.times, row.first_at, row.last_at) == (2, first, clock.time)


def test_a_new_reason_is_noted_at_once(
    world: World, device: FlaskClient, sign_in: SignIn, admin: User, tech: User, foreign: FormFill
) -> None:
    item = edit(foreign, to_wire(foreign.updated_at), x=1)
    push(device, item)
    office = sign_in(admin)
    assert row_of(world).code == "forbidden"
    office.patch(f"/api/v1/inspections/{foreign.inspection_id}", json={"assignee_id": tech.id})
    for value in (2, 3):
        push(office, edit(foreign, x=value))
        push(device, item)
        row, present = row_of(world), world.get(FormFill, foreign.id)
        assert (row.outcome, row.seen_version) == ("conflict", present.updated_at)
        assert row.seen is not None
        assert row.seen["theirs"] == {"x": value}


def test_an_item_that_stands_twice_in_a_batch_is_one_row(world: World, device: FlaskClient, foreign: FormFill) -> None:
    item, later = edit(foreign, x=1), edit(foreign, x=2)
    push(device, item, later, item)
    assert {row.local_id: row.item for row in rows_of(world)} == {item["local_id"]: item, later["local_id"]: later}
    assert len(rows_of(world)) == 2


def test_an_item_that_is_refused_and_then_applied_in_one_batch_is_not_kept(
    world: World, device: FlaskClient, inspection: Inspection
) -> None:
    client_id = str(uuid4())
    early = edit(client_id, x=1)
    template = world.template()
    create = {
        "type": "form_fill",
        "local_id": "create",
        "data": {"inspection_id": inspection.id, "form_template_id": template.id, "client_id": client_id},
    }
    results = push(device, early, create, early)
    assert (len(results["errors"]), len(results["success"])) == (1, 2)
    assert rows_of(world) == []


NO_ITEMS: list[Any] = [
    5,
    None,
    {},
    {"type": "form_fill"},
    {"type": "form_fill", "local_id": "1"},
    {"type": 7, "local_id": "2", "data": {}},
    {"type": "form_fill", "local_id": "3", "data": 5},
    {"type": "no_such_type", "local_id": "4", "data": {"x": 1}},
    {"type": "form_fill", "local_id": "", "data": {}},
    {"type": "form_fill", "local_id": 4.5, "data": {}},
]

#: Elements with values that no database takes.
UNSTORABLE: list[Any] = [
    {"type": "form_fill", "local_id": "5", "data": {"id": 1, "changes": {"a": "\0"}}},
    {"type": "\0", "local_id": "\0", "data": {}},
    {"type": "form_fill", "local_id": "6", "data": {"id": 1, "changes": {"a": "\ud800"}}},
    {"type": "form_fill", "local_id": "7", "data": {"id": 1, "changes": {"a": 2**60}}},
]


def test_whatever_a_device_sends_is_kept_as_far_as_it_can_be(world: World, device: FlaskClient) -> None:
    for _ in range(2):
        push(device, *NO_ITEMS, *UNSTORABLE)
    rows = {row.position: row for row in rows_of(world)}
    assert sorted(rows) == [*range(len(NO_ITEMS) + len(UNSTORABLE))]
    for position, element in enumerate(NO_ITEMS):
        kept = element if isinstance(element, dict) else None
        assert (rows[position].item, rows[position].is_cut) == (kept, kept is None)
    assert {(row.item, row.is_cut) for row in rows.values() if row.position >= len(NO_ITEMS)} == {(None, True)}


def test_an_item_over_64_kib_is_cut_but_not_forgotten(world: World, device: FlaskClient, foreign: FormFill) -> None:
    push(device, edit(foreign, x="y" * 65_000), edit(foreign, x="y" * 66_000))
    assert [(row.is_cut, row.item is None) for row in rows_of(world)] == [(False, False), (True, True)]


class TestLimits:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> Mapping[str, str]:
        return {**environment, "FIELDPOST_SET_ASIDE_ROWS": "5", "FIELDPOST_SET_ASIDE_BYTES": "20000"}

    def test_more_rows_than_a_user_may_have_are_kept_without_their_items(
        self, world: World, device: FlaskClient, sign_in: SignIn, foreign: FormFill, clock: SettableClock
    ) -> None:
        items = [edit(foreign, x=number) for number in range(7)]
        push(device, *items[:4])
        push(device, *items[4:])
        assert sum(row.is_cut for row in rows_of(world)) == 2
        assert sum(row.item is None for row in rows_of(world)) == 2
        # To send them again takes nothing away.
        clock.forward(minutes=2)
        push(device, *items)
        assert sum(row.item is None for row in rows_of(world)) == 2
        # Others have room of their own.
        stranger = world.user("stranger@example.com")
        push(sign_in(stranger), edit(foreign, x=1))
        assert [row.is_cut for row in rows_of(world) if row.user_id == stranger.id] == [False]

    def test_more_bytes_than_a_user_may_have_are_not_kept(
        self, world: World, device: FlaskClient, foreign: FormFill
    ) -> None:
        push(device, *(edit(foreign, x="y" * 9_000) for _ in range(3)))
        push(device, edit(foreign, x="y" * 9_000))
        assert sum(row.is_cut for row in rows_of(world)) == 2
        assert sum(row.item_bytes for row in rows_of(world)) <= 20_000

    def test_settled_rows_make_room(
        self, app: Flask, world: World, tech: User, sign_in: SignIn, foreign: FormFill, clock: SettableClock
    ) -> None:
        push(sign_in(tech), *(edit(foreign, x=number) for number in range(5)))
        clock.forward(days=200)
        with app.app_context():
            assert keep_up(timedelta(days=180), timedelta(days=30)) == 5
        push(sign_in(tech), edit(foreign, x="again"))
        assert not row_of(world).is_cut


def test_the_inspection_is_found_where_the_schema_has_refused_an_item_before_its_row_was_loaded(
    world: World, device: FlaskClient, inspection: Inspection
) -> None:
    client_id = str(uuid4())
    form_fill = world.form_fill(inspection, client_id=client_id)
    template_id = form_fill.form_template_id
    wrong = [
        edit(form_fill, **{}),
        edit(client_id, **{}),
        {"type": "inspection", "local_id": "status", "data": {"id": inspection.id, "status": "burnt"}},
        {"type": "photo_delete", "local_id": "photo", "data": {"form_fill_id": form_fill.id, "field_name": 5}},
        {
            "type": "form_fill",
            "local_id": "create",
            "data": {"inspection_id": inspection.id, "form_template_id": template_id, "data": 5},
        },
    ]
    assert len(push(device, *wrong)["errors"]) == len(wrong)
    assert [row.inspection_id for row in rows_of(world)] == [inspection.id] * len(wrong)
    alike = [edit(client_id, **{}) for _ in range(2)]
    push(device, *alike)
    found = {row.local_id: row.inspection_id for row in rows_of(world)}
    assert [found[item["local_id"]] for item in alike] == [inspection.id] * len(alike)
    missing = edit(4711, **{})
    push(device, missing)
    assert [row.inspection_id for row in rows_of(world) if row.local_id == missing["local_id"]] == [None]


def test_an_item_that_is_applied_later_is_no_longer_open(
    app: Flask, device: FlaskClient, sign_in: SignIn, admin: User, tech: User, foreign: FormFill
) -> None:
    item = edit(foreign, x=1)
    push(device, item)
    assert open_ids(app) == [item["local_id"]]
    sign_in(admin).patch(f"/api/v1/inspections/{foreign.inspection_id}", json={"assignee_id": tech.id})
    assert len(push(device, item)["success"]) == 1
    assert open_ids(app) == []


@pytest.mark.parametrize("strategy", ["merge", "use_local", "use_server"])
def test_a_conflict_that_its_device_solves_is_no_longer_open(
    app: Flask, world: World, tech: User, sign_in: SignIn, form_fill: FormFill, stale: str, strategy: str
) -> None:
    phone = sign_in(tech, str(uuid4()))
    item = edit(form_fill, stale, a=2)
    push(phone, item)
    assert open_ids(app) == [item["local_id"]]
    # Another device of the same person has not seen it.
    push(sign_in(tech, str(uuid4())), edit(form_fill, c=1))
    assert open_ids(app) == [item["local_id"]]
    present = to_wire(world.get(FormFill, form_fill.id).updated_at)
    solution = edit(form_fill, present, strategy=strategy, a=2)
    if strategy == "use_server":
        solution["data"]["updated_at"] = stale
    assert len(push(phone, solution)["success"]) == 1
    assert open_ids(app) == []


def test_an_inspection_takes_what_was_set_aside_along(
    world: World, device: FlaskClient, sign_in: SignIn, admin: User, foreign: FormFill, form_fill: FormFill
) -> None:
    other = edit(world.form_fill(world.inspection(admin)), x=1)
    push(device, edit(foreign, x=1), other)
    assert sign_in(admin).delete(f"/api/v1/inspections/{foreign.inspection_id}").status_code == 200
    assert row_of(world).local_id == other["local_id"]


def test_upkeep_forgets_the_values_of_settled_rows_and_then_the_rows(
    app: Flask, world: World, device: FlaskClient, sign_in: SignIn, admin: User, tech: User, foreign: FormFill,
    clock: SettableClock,
) -> None:  # fmt: skip
    solved, waiting = edit(foreign, x=1), edit(world.form_fill(world.inspection(admin)), x=1)
    push(device, solved, waiting)
    sign_in(admin).patch(f"/api/v1/inspections/{foreign.inspection_id}", json={"assignee_id": tech.id})
    push(device, solved)

    def kept() -> dict[str, bool]:
        with app.app_context():
            keep_up(timedelta(days=180), timedelta(days=30))
        return {row.local_id: row.item is not None for row in rows_of(world)}

    assert kept() == {solved["local_id"]: True, waiting["local_id"]: True}
    clock.forward(days=31)
    assert kept() == {solved["local_id"]: False, waiting["local_id"]: True}
    clock.forward(days=150)
    assert kept() == {}


def counts(app: Flask, client: FlaskClient, items: list[dict[str, Any]]) -> int:
    with statements_of(app) as found:
        push(client, *items)
    return len(found)


def test_what_is_applied_pays_nothing_and_all_others_one_statement_at_most(
    app: Flask, world: World, device: FlaskClient, foreign: FormFill, form_fill: FormFill, stale: str, database: str
) -> None:
    def applied(size: int) -> list[dict[str, Any]]:
        values: list[dict[str, Any]] = [{f"f{uuid4()}": number} for number in range(size)]
        return [edit(form_fill, None, **value) for value in values]

    def conflicts(size: int) -> list[dict[str, Any]]:
        return [edit(form_fill, stale, a=f"{uuid4()}") for _ in range(size)]

    def refused(size: int) -> list[dict[str, Any]]:
        return [edit(foreign, x=number) for number in range(size)]

    more = 0 if database else 1
    with statements_of(app) as found:
        push(device, *applied(10))
    assert not [statement for statement in found if "set_aside" in statement]
    for kind in (conflicts, refused):
        numbers = {counts(app, device, kind(size)) for size in (1, 10, 100)}
        assert len(numbers) == 1
        with statements_of(app) as found:
            push(device, *kind(10))
        ours = [statement for statement in found if "set_aside" in statement]
        assert len(ours) == 1
        assert more == sum(statement.startswith("INSERT INTO") for statement in ours)
    with statements_of(app) as found:
        push(device, *applied(5), *conflicts(5), *refused(5))
    assert len([statement for statement in found if "set_aside" in statement]) == 1
    push(device, *applied(1))
