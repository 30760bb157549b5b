"""A look at the feed with nothing new: one statement, no cyclic garbage, and the same answers as the long way."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.feed import quiet
from app.feed.cursor import read_cursor
from app.models import FormFill, LedgerEntry, User
from app.testing import push, statements_of
from tests.conftest import SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.copies import CHANGES, Copy
from tests.support.databases import feed_held_back, settle


@pytest.fixture
def people(world: World, sign_in: SignIn) -> dict[str, FlaskClient]:
    """A client for each role, all up to date; the owner and the technician see an inspection."""
    roles = {"admin": "admin", "user": "user", "technician": "technician"}
    users = {name: world.user(f"{name}@example.com", role) for name, role in roles.items()}
    world.form_fill(world.inspection(users["user"], users["technician"]), data={"a": 0})
    return {name: sign_in(user) for name, user in users.items()}


@pytest.fixture(params=["admin", "user", "technician"])
def copy(app: Flask, people: dict[str, FlaskClient], request: pytest.FixtureRequest) -> Copy:
    copy = Copy(people[request.param])
    copy.read()
    copy.page()
    return copy


def queries(statements: Sequence[str]) -> int:
    """How many of the statements read: SQLite's begin transactions, too."""
    return sum(statement.startswith("SELECT") for statement in statements)


def look(copy: Copy, **headers: str) -> Any:
    return copy.client.get(f"{CHANGES}?cursor={quote(str(copy.cursor))}", headers=headers)


def test_it_takes_one_statement_beside_the_sign_ins(app: Flask, copy: Copy) -> None:
    with statements_of(app) as statements:
        assert copy.page() == {"changes": [], "cursor": copy.cursor, "has_more": False}
    assert queries(statements) == 2, statements


@pytest.mark.parametrize("copy", ["user", "technician"], indirect=True)
def test_others_changes_cost_no_more_and_move_the_cursor(
    app: Flask, world: World, copy: Copy, people: dict[str, FlaskClient]
) -> None:
    world.form_fill(world.inspection(world.user("other@example.com", "user")), world.template())
    copy.read()
    form_fill = world.form_fill(world.inspection(world.user("another@example.com", "user")), data={"a": 0})
    push(people["admin"], edit(form_fill, a=1))
    settle(app)
    copy.page()
    push(people["admin"], edit(form_fill, a=2))
    settle(app)
    with statements_of(app) as statements:
        assert copy.page()["changes"] == []
    assert queries(statements) == 2
    with app.app_context():
        assert read_cursor(str(copy.cursor)).mark.id == max(entry.id for entry in world.all(LedgerEntry))


@pytest.mark.parametrize("copy", ["user", "technician"], indirect=True)
def test_changes_are_told_from_what_the_look_has_read(
    app: Flask, world: World, copy: Copy, people: dict[str, FlaskClient]
) -> None:
    """Beside the sign-in and the look: the entries below inspections, the sizes, the form fills, their attachments."""
    (form_fill,) = world.all(FormFill)
    push(people["admin"], edit(form_fill, a=1))
    settle(app)
    with statements_of(app) as statements:
        (change,) = copy.page()["changes"]
    assert (change["id"], change["record"]["data"]) == (form_fill.id, {"a": 1})
    assert queries(statements) == 6, statements


def test_the_same_look_again_is_a_304_until_something_changes(
    app: Flask, world: World, copy: Copy, people: dict[str, FlaskClient]
) -> None:
    first = look(copy)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = look(copy, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    (form_fill,) = world.all(FormFill)
    push(people["admin"], edit(form_fill, a=1))
    settle(app)
    changed = look(copy, **{"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert [each["id"] for each in changed.json["data"]["changes"]] == [form_fill.id]


def test_it_leaves_no_more_cyclic_garbage_than_any_other_request(copy: Copy) -> None:
    assert garbage_of(lambda: look(copy)) <= garbage_of(lambda: copy.client.get("/api/v1/auth/me"))


def garbage_of(request: Callable[[], Any]) -> int:
    """How many objects ten requests leave to the garbage collector, at best: others may leave some meanwhile."""
    found = []
    gc.disable()
    # All that the tests before have left need not be looked at twelve times.
    gc.freeze()
    try:
        for _ in range(3):
            request()
            gc.collect()
            for _ in range(10):
                request()
            found.append(gc.collect())
    finally:
        gc.unfreeze()
        gc.enable()
    return min(found)


@pytest.mark.parametrize("event", ["edit", "assign", "unassign", "template", "name", "delete"])
def test_whatever_concerns_the_user_is_told(
    app: Flask, world: World, people: dict[str, FlaskClient], event: str
) -> None:
    copy, office = Copy(people["technician"]), people["admin"]
    copy.read()
    copy.page()
    (form_fill,) = world.all(FormFill)
    owner, technician = (next(user for user in world.all(User) if user.role == role) for role in ("user", "technician"))
    inspection: Any = form_fill.inspection_id
    if event == "edit":
        push(office, edit(form_fill, a=1))
    elif event == "assign":
        world.inspection(owner, technician)
    elif event == "unassign":
        office.patch(f"/api/v1/inspections/{inspection}", json={"assignee_id": None})
    elif event == "template":
        world.template()
    elif event == "name":
        office.patch(f"/api/v1/users/{owner.id}", json={"name": "Olga"})
    else:
        office.delete(f"/api/v1/inspections/{inspection}")
    settle(app)
    assert copy.page()["changes"], event


@pytest.mark.parametrize("few", [0, 1])
def test_a_user_with_too_many_inspections_gets_the_page_the_long_way(
    app: Flask, world: World, people: dict[str, FlaskClient], monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(quiet, "FEW", few)
    quiet._statement.cache_clear()
    try:
        copy = Copy(people["technician"])
        copy.read()
        copy.page()
        with statements_of(app) as statements:
            assert copy.page()["changes"] == []
        assert (queries(statements) == 2) == (few == 1)
    finally:
        quiet._statement.cache_clear()


@pytest.mark.database("postgresql")
def test_while_the_feed_is_held_back_nothing_is_told_and_nothing_skipped(
    app: Flask, world: World, copy: Copy, people: dict[str, FlaskClient]
) -> None:
    (form_fill,) = world.all(FormFill)
    with feed_held_back(app):
        push(people["admin"], edit(form_fill, a="late"))
        with statements_of(app) as statements:
            assert copy.page()["changes"] == []
        assert queries(statements) == 2
    copy.read()
    assert copy.rows["form_fill", form_fill.id]["data"] == {"a": "late"}
