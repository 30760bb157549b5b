"""Refreshing: two at once, lost answers, and the copy of a token (contract, section 1)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.accounts.tokens import remove_ended_sign_ins
from app.core.database.engine import db
from app.models import RefreshToken, User
from app.testing import statements_of
from tests.accounts.calls import LOGOUT, bearer, code_of, log_in, me, refresh
from tests.conftest import SettableClock, SignIn, World
from tests.exactly_once.faults import Fuse, break_connection, commit
from tests.support.answers import json_of

REVOKED = (401, "token_revoked")
#: Longer than a used token may always be used again.
LATER = 61

Tokens = dict[str, Any]


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def refreshed(client: FlaskClient, tokens: Tokens) -> Tokens:
    """The next pair of tokens."""
    answer = refresh(client, tokens["refresh_token"])
    assert answer.status_code == 200, answer.json
    following: Tokens = json_of(answer)
    return following


def is_refused(client: FlaskClient, tokens: Tokens) -> bool:
    return code_of(refresh(client, tokens["refresh_token"])) == REVOKED


def refreshed_at_once(app: Flask, tokens: Tokens, count: int) -> list[Tokens]:
    """The answers to `count` refreshes with one token, on as many connections."""
    start = threading.Barrier(count)

    def call(_: int) -> Tokens:
        client = app.test_client()
        start.wait(10)
        return refreshed(client, tokens)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


@pytest.mark.parametrize("count", [2, 8])
def test_of_refreshes_at_once_all_tokens_work_for_as_long_as_they_are_refreshed(
    app: Flask, client: FlaskClient, user: User, clock: SettableClock, count: int
) -> None:
    tabs = refreshed_at_once(app, log_in(client, user), count)
    for _ in range(3):
        assert [me(client, tab["access_token"])[0] for tab in tabs] == [200] * count
        clock.forward(minutes=20)
        tabs = [refreshed(client, tab) for tab in reversed(tabs)]


@pytest.mark.parametrize("order", [*permutations(["first tab", "second tab", "second tab again"])])
def test_the_successors_may_be_used_in_every_order(
    app: Flask, client: FlaskClient, user: User, clock: SettableClock, order: tuple[str, ...]
) -> None:
    first_tab, second_tab = refreshed_at_once(app, log_in(client, user), 2)
    tokens = {"first tab": first_tab, "second tab": second_tab, "second tab again": second_tab}
    for name in order:
        clock.forward(seconds=LATER)
        following = refreshed(client, tokens[name])
        assert me(client, following["access_token"])[0] == 200


def test_a_used_token_may_be_used_again_within_the_period_whatever_was_used_since(
    client: FlaskClient, user: User, clock: SettableClock
) -> None:
    first = log_in(client, user)
    second = refreshed(client, first)
    third = refreshed(client, second)
    clock.forward(seconds=LATER - 1)
    beside = refreshed(client, first)
    for tokens in (second, third, beside):
        assert me(client, tokens["access_token"])[0] == 200
    refreshed(client, third)
    refreshed(client, beside)


def test_a_lost_answer_signs_nobody_out_however_late_the_token_is_used_again(
    client: FlaskClient, user: User, clock: SettableClock
) -> None:
    first = log_in(client, user)
    for _ in range(3):
        refreshed(client, first)
        clock.forward(days=20)
    assert me(client, refreshed(client, first)["access_token"])[0] == 200


def test_the_access_token_of_a_successor_uses_nothing(client: FlaskClient, user: User, clock: SettableClock) -> None:
    """A second tab may wake up long after the first one works with its new tokens."""
    first = log_in(client, user)
    assert me(client, refreshed(client, first)["access_token"])[0] == 200
    clock.forward(seconds=LATER)
    assert me(client, refreshed(client, first)["access_token"])[0] == 200


def test_a_copy_that_is_used_after_its_successor_revokes_the_family(
    client: FlaskClient, user: User, clock: SettableClock
) -> None:
    stolen = log_in(client, user)
    second = refreshed(client, stolen)
    third = refreshed(client, second)
    clock.forward(seconds=LATER)
    assert is_refused(client, stolen)
    for tokens in (stolen, second, third):
        assert me(client, tokens["access_token"]) == REVOKED
        assert is_refused(client, tokens)


def test_a_thief_who_is_first_is_found_out_by_the_owner(client: FlaskClient, user: User, clock: SettableClock) -> None:
    stolen = log_in(client, user)
    thief = refreshed(client, refreshed(client, stolen))
    clock.forward(seconds=LATER)
    assert is_refused(client, stolen)
    assert me(client, thief["access_token"]) == REVOKED


@pytest.mark.parametrize("generations", [2, 5])
def test_every_spent_token_revokes_the_family_however_old(
    client: FlaskClient, user: User, clock: SettableClock, generations: int
) -> None:
    oldest = tokens = log_in(client, user)
    for _ in range(generations):
        tokens = refreshed(client, tokens)
        clock.forward(days=10)
    assert is_refused(client, oldest)
    assert is_refused(client, tokens)


@pytest.mark.parametrize("came_through", [True, False])
def test_a_refresh_whose_commit_breaks_is_run_again_and_stores_one_successor(
    app: Flask,
    client: FlaskClient,
    user: User,
    world: World,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
    came_through: bool,
) -> None:
    first = refreshed(client, log_in(client, user))
    fuse = Fuse()
    with commit(break_connection, comes_through=came_through)(app, fuse, monkeypatch):
        fuse.is_armed = True
        second = refreshed(client, first)
        fuse.is_armed = False
    assert fuse.has_blown
    assert len(world.all(RefreshToken)) == 3
    clock.forward(seconds=LATER)
    refreshed(client, second)
    assert is_refused(client, first)


@pytest.mark.parametrize("way", ["logout", "new password"])
def test_logout_and_a_new_password_end_all_successors_at_once(
    app: Flask, client: FlaskClient, user: User, world: World, sign_in: SignIn, way: str
) -> None:
    tabs = refreshed_at_once(app, log_in(client, user), 2)
    if way == "logout":
        client.post(LOGOUT, headers=bearer(tabs[0]["access_token"]))
    else:
        office = sign_in(world.user("office@example.com", "admin"))
        office.patch(f"/api/v1/users/{user.id}", json={"password": "another long one"})
    for tab in tabs:
        assert me(client, tab["access_token"]) == REVOKED
        assert is_refused(client, tab)


def test_the_period_is_a_setting(environment: dict[str, str], app: Flask, user: User, clock: SettableClock) -> None:
    client = create_app({**environment, "FIELDPOST_REFRESH_REUSE_SECONDS": "5"}, clock).test_client()
    first = log_in(client, user)
    refreshed(client, refreshed(client, first))
    clock.forward(seconds=5)
    refreshed(client, first)
    clock.forward(seconds=1)
    assert is_refused(client, first)


def test_what_is_kept_of_a_sign_in_does_not_grow_with_its_refreshes(
    app: Flask, client: FlaskClient, user: User, world: World, clock: SettableClock
) -> None:
    lost = tokens = log_in(client, user)
    refreshed(client, lost)
    for _ in range(5):
        tokens = refreshed(client, tokens)
        clock.forward(days=30)
    assert len(world.all(RefreshToken)) == 3
    with app.app_context():
        remove_ended_sign_ins()
    assert len(world.all(RefreshToken)) == 2, "the one whose answer was lost has expired"
    refreshed(client, tokens)


def test_of_an_app_that_refreshes_all_the_time_the_maintenance_leaves_what_may_still_be_used(
    app: Flask, client: FlaskClient, user: User, world: World, clock: SettableClock
) -> None:
    """A use within the period spends no predecessor yet, and the next use does not come back to it."""
    tokens = [log_in(client, user)]
    for _ in range(4):
        tokens.append(refreshed(client, tokens[-1]))
    with app.app_context():
        remove_ended_sign_ins()
    assert len(world.all(RefreshToken)) == 5
    clock.forward(seconds=LATER)
    with app.app_context():
        remove_ended_sign_ins()
    assert len(world.all(RefreshToken)) == 2
    refreshed(client, tokens[-2])
    refreshed(client, tokens[-1])
    assert is_refused(client, tokens[0])


def test_a_refresh_takes_few_statements_however_often_the_token_was_refreshed_before(
    app: Flask, client: FlaskClient, user: User, clock: SettableClock
) -> None:
    tokens = log_in(client, user)
    for _ in range(3):
        tokens = refreshed(client, tokens)
        clock.forward(seconds=LATER)
    counts = set()
    for lost in (0, 20):
        for _ in range(lost):
            refreshed(client, tokens)
        with statements_of(app) as found:
            tokens = refreshed(client, tokens)
        counts.add(len(found))
    # PostgreSQL gets one message that reads and one that writes. SQLite is in the process: beside BEGIN it reads once,
    # and writes three rows of tokens and one of the sign-in.
    with app.app_context():
        is_postgresql = db.engine.dialect.name == "postgresql"
    assert max(counts) <= (2 if is_postgresql else 6), found
