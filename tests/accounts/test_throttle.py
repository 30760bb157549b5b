"""The limits of failed sign-ins: by network, by account over all networks, and with the store away (section 1)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from limits.errors import StorageError as StoreError
from werkzeug.test import TestResponse

from app.accounts import credentials, throttle, tokens
from app.accounts.throttle import network_of
from app.models import User
from tests.conftest import PASSWORD, World
from tests.support.answers import json_of

LOGIN = "/api/v1/auth/login"
WRONG = "not the password"


@pytest.fixture
def user(world: World) -> User:
    return world.user()


Try = Callable[..., TestResponse]


@pytest.fixture
def attempt(app: Flask, user: User) -> Try:
    """`attempt(password, address)` → the answer to a sign-in from this address."""

    def attempt(password: str = WRONG, address: str = "192.0.2.1") -> TestResponse:
        body = {"email": user.email, "password": password}
        return app.test_client().post(LOGIN, json=body, environ_base={"REMOTE_ADDR": address})

    return attempt


@pytest.mark.database("sqlite")
def test_tries_at_the_same_moment_are_all_counted(attempt: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Barrier(10)

    def slow(*_: object) -> bool:
        together.wait(timeout=30)
        return False

    monkeypatch.setattr(credentials, "is_password", slow)
    with ThreadPoolExecutor(20) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda _: attempt(), range(20))]
    assert sorted(statuses) == [401] * 10 + [429] * 10


def test_what_is_no_wrong_password_is_not_counted(attempt: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "start_sign_in", _unavailable)
        assert {attempt(PASSWORD).status_code for _ in range(12)} == {500}
    assert attempt(PASSWORD).status_code == 200


@pytest.mark.database("sqlite")
def test_an_account_is_guarded_over_all_networks_and_its_owner_gets_in_all_the_same(
    attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "is_password", lambda password, _: password == PASSWORD)
    # A hundred networks use the account's limit up.
    assert {attempt(address=f"203.0.113.{number}").status_code for number in range(100)} == {401}
    # From then on a network has five tries an hour, not ten a minute.
    attacked = [attempt(address="198.51.100.1").status_code for _ in range(7)]
    assert attacked == [401] * 5 + [429] * 2
    assert int(attempt(address="198.51.100.1").headers["Retry-After"]) > 60
    # The owner is in another network, and may even mistype.
    assert [attempt(password, "192.0.2.7").status_code for password in (WRONG, PASSWORD, PASSWORD)] == [401, 200, 200]


def test_the_addresses_of_one_ipv6_network_are_counted_together(attempt: Try) -> None:
    for number in range(10):
        assert attempt(address=f"2001:db8:0:1::{number:x}").status_code == 401
    assert attempt(address="2001:db8:0:1:ffff::1").status_code == 429
    assert attempt(PASSWORD, "2001:db8:0:2::1").status_code == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_belongs_to_one_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_nobody_signs_in_while_the_store_is_away_and_nothing_is_lost(
    app: Flask, attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(app.extensions[throttle.LIMITER].storage, "incr", _away)
        answer = attempt(PASSWORD)
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    assert answer.headers["Retry-After"]
    assert attempt(PASSWORD).status_code == 200


def test_a_store_that_goes_away_during_a_sign_in_does_not_end_it(
    app: Flask, attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = app.extensions[throttle.LIMITER].storage
    count = store.incr

    def once(*arguments: Any, amount: int = 1) -> int:
        return _away() if amount < 0 else int(count(*arguments, amount=amount))

    monkeypatch.setattr(store, "incr", once)
    assert attempt(PASSWORD).status_code == 200


def _away(*_: object, **__: object) -> int:
    raise StoreError(ConnectionError("redis://:sesame@db"))


def _unavailable(*_: object) -> None:
    raise RuntimeError
