"""One's own password, and the sign-ins that one sees and ends (contract, section 1)."""

from __future__ import annotations

import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.accounts import passwords
from app.accounts.passwords import fault_of, hash_password, is_password
from app.models import LedgerOperation, User
from tests.accounts.test_sign_in_races import reset_password
from tests.conftest import PASSWORD, SettableClock, SignIn, World
from tests.core.sync.racers import race
from tests.support.answers import json_of
from tests.support.cases import cases

API = "/api/v1"
NEW = "three words, not together"
DEVICE = "0d2f8e6c-8d7b-4d0e-9a53-1f2e3d4c5b6a"


@pytest.fixture
def user(world: World) -> User:
    return world.user()


@pytest.fixture
def office(world: World, sign_in: SignIn) -> FlaskClient:
    """An administrator's client."""
    return sign_in(world.user("office@example.com", "admin"))


def change(client: FlaskClient, current: str = PASSWORD, new: str = NEW) -> Any:
    return client.post(f"{API}/auth/password", json={"current_password": current, "new_password": new})


def is_signed_in(client: FlaskClient) -> bool:
    return client.get(f"{API}/auth/me").status_code == 200


def log_in(app: Flask, password: str) -> int:
    body = {"email": "tech@example.com", "password": password}
    return app.test_client().post(f"{API}/auth/login", json=body).status_code


def sign_ins(client: FlaskClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json_of(client.get(f"{API}/auth/sign_ins"))["data"]["sign_ins"]
    return found


def test_a_new_password_counts_at_once_and_ends_the_other_sign_ins(
    app: Flask, world: World, sign_in: SignIn, user: User
) -> None:
    here, elsewhere = sign_in(user), sign_in(user)
    answer = change(here)
    assert (answer.status_code, json_of(answer)["success"]) == (200, True)
    assert (is_signed_in(here), is_signed_in(elsewhere)) == (True, False)
    assert (log_in(app, PASSWORD), log_in(app, NEW)) == (401, 200)
    operation = world.all(LedgerOperation)[-1]
    assert (operation.door, operation.user_id, operation.entity) == ("rest", user.id, "user")


def test_the_current_password_is_asked_for_and_its_failures_are_counted(
    app: Flask, sign_in: SignIn, user: User
) -> None:
    client = sign_in(user)
    for _ in range(10):
        answer = change(client, current="guessed")
        assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")
        assert set(json_of(answer)["details"]) == {"current_password"}
    assert change(client).status_code == 429
    assert log_in(app, PASSWORD) == 429


@cases("new", ["2 short", "long enough, but not for ever, " * 5, "qwertyuiop", "tech@example.com", 1])
def test_a_password_that_cannot_be_set_is_refused_and_named(app: Flask, sign_in: SignIn, user: User, new: Any) -> None:
    answer = change(sign_in(user), new=new)
    assert answer.status_code == 400
    assert set(json_of(answer)["details"]) == {"new_password"}
    assert log_in(app, PASSWORD) == 200


def test_a_new_password_behind_another_one_is_refused(
    app: Flask, sign_in: SignIn, user: User, office: FlaskClient
) -> None:
    """The current password was right when it was checked: the hash is compared again under the user's lock."""
    client = sign_in(user)
    reset, answer = race(app, lambda: reset_password(office, user), lambda: change(client))
    assert reset.status_code == 200
    assert answer.status_code in (400, 401)
    assert log_in(app, NEW) == 401


def test_sign_ins_are_shown_to_their_owner_alone(
    sign_in: SignIn, user: User, office: FlaskClient, clock: SettableClock
) -> None:
    sign_in(user, DEVICE)
    clock.forward(minutes=1)
    client = sign_in(user)
    first, second = sign_ins(client)
    assert (first["is_current"], first["device_id"]) == (True, None)
    assert (second["is_current"], second["device_id"]) == (False, DEVICE)
    assert second["created_at"] == second["last_used_at"] == "2024-03-15T10:30:00.000Z"
    assert len(sign_ins(office)) == 1
    clock.forward(days=90)
    assert [each["is_current"] for each in sign_ins(sign_in(user))] == [True]


def test_one_ends_a_sign_in_of_ones_own_and_nobody_elses(sign_in: SignIn, user: User, office: FlaskClient) -> None:
    lost, client = sign_in(user, DEVICE), sign_in(user)
    (key,) = [each["id"] for each in sign_ins(client) if not each["is_current"]]
    assert office.delete(f"{API}/auth/sign_ins/{key}").status_code == 404
    assert is_signed_in(lost)
    assert client.delete(f"{API}/auth/sign_ins/{key}").status_code == 200
    assert (is_signed_in(lost), is_signed_in(client)) == (False, True)
    assert client.delete(f"{API}/auth/sign_ins/{key}").status_code == 404
    assert [each["is_current"] for each in sign_ins(client)] == [True]


@cases(
    "password",
    ["password123", "1234567890", "qwertyuiop", "aaaaaaaaaa", "Passw0rd!", "theodora1", "fieldpost", "example.com1"],
)
def test_common_passwords_and_words_about_their_owner_are_easy_to_guess(password: str) -> None:
    assert "easy to guess" in (fault_of(password, ["theodora@example.com", "Theodora Technician"]) or "")


def test_a_password_counts_exactly_as_it_was_sent() -> None:
    """Nothing is cut, trimmed or changed, as some hashes and some forms do."""
    password = " Gr\u00fc\u00dfe an Ada, und " + "lange " * 15 + "!"
    stored = hash_password(password)
    assert is_password(password, stored)
    decomposed = unicodedata.normalize("NFD", password)
    for other in (password.strip(), password.lower(), password[:72], password[:-1], password + "!", decomposed):
        assert not is_password(other, stored)


def test_two_passwords_at_most_are_hashed_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 19 MiB, for everybody who asks to sign in."""
    counts: list[int] = []
    running: list[str] = []

    class Hasher:
        def verify(self, _hash: str, password: str) -> None:
            running.append(password)
            counts.append(len(running))
            time.sleep(0.01)
            running.pop()

    monkeypatch.setattr(passwords, "_hasher", Hasher())
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: is_password(PASSWORD, "a hash"), range(16)))
    assert len(counts) == 16
    assert max(counts) <= 2


def test_no_password_takes_long_to_judge() -> None:
    fault_of("the first call loads the lists")
    start = time.process_time()
    assert fault_of("4@8({[<369!|1l0$57+%2" * 6) is None
    assert time.process_time() - start < 2


@pytest.mark.parametrize("password", ["xK9vLq2m", PASSWORD, NEW, "ž" * 4 + "ой кот спит", "k7#" * 2 + "Wm4!zP" * 20])
def test_other_passwords_can_be_set_whatever_their_characters(password: str) -> None:
    assert fault_of(password, ["theodora@example.com", "Theodora Technician"]) is None
