"""Administrators add and change users; nobody else sees one (contract, section 8)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.accounts.passwords import is_password
from app.accounts.users import add_user, change_user
from app.core.ledger.record import Origin
from app.errors import ForbiddenError
from app.models import LedgerEntry, LedgerOperation, User
from tests.api.conftest import API, details, entries, fault
from tests.conftest import PASSWORD, SettableClock, SignIn, World
from tests.support.answers import json_of
from tests.support.cases import cases

USERS = f"{API}/users"

NEW: dict[str, Any] = {"email": "new@example.com", "name": "Nora New", "role": "technician", "password": "long enough!"}


def login(app: Flask, email: str, password: str) -> int:
    return app.test_client().post(f"{API}/auth/login", json={"email": email, "password": password}).status_code


def test_an_administrator_adds_a_user_who_can_sign_in(app: Flask, world: World, office: FlaskClient) -> None:
    answer = office.post(USERS, json=NEW)
    assert answer.status_code == 201, answer.json
    user = json_of(answer)["data"]["user"]
    stored = world.get(User, user["id"])
    assert (stored.email, stored.name, stored.role, stored.active) == (NEW["email"], NEW["name"], NEW["role"], True)
    assert set(user) == {"id", "email", "name", "role", "active", "created_at", "updated_at"}
    assert is_password(NEW["password"], stored.password_hash)
    assert login(app, NEW["email"], NEW["password"]) == 200


def test_an_address_is_kept_and_compared_in_lower_case(app: Flask, world: World, office: FlaskClient) -> None:
    answer = office.post(USERS, json={**NEW, "email": "  New@Example.COM "})
    assert json_of(answer)["data"]["user"]["email"] == "new@example.com"
    again = office.post(USERS, json={**NEW, "email": "NEW@example.com"})
    assert details(again) == {"email": ["This e-mail address is taken."]}
    assert len(world.all(User)) == 2
    assert login(app, "nEw@eXample.com", NEW["password"]) == 200


@pytest.mark.parametrize(
    ("address", "look_alike"),
    [
        ("new@example.com", "\uff4e\uff45\uff57@example.com"),
        ("new@example.com", "new@EXAMPLE\uff0ecom"),
        ("stra\u00dfe@example.com", "STRASSE@example.com"),
    ],
)
def test_addresses_that_look_alike_are_one_address(
    app: Flask, office: FlaskClient, address: str, look_alike: str
) -> None:
    assert office.post(USERS, json={**NEW, "email": address}).status_code == 201
    again = office.post(USERS, json={**NEW, "email": look_alike})
    assert details(again) == {"email": ["This e-mail address is taken."]}
    assert login(app, look_alike, NEW["password"]) == 200


@cases("name", [" ", "\u200b", "\u2028\t"])
def test_a_name_of_which_nothing_can_be_seen_is_refused(office: FlaskClient, name: str) -> None:
    assert details(office.post(USERS, json={**NEW, "name": name})) == {"name": ["Nothing of it can be seen."]}


def test_two_requests_for_one_address_make_one_user(world: World, app: Flask, sign_in: SignIn, admin: User) -> None:
    clients = [sign_in(admin) for _ in range(4)]
    barrier, statuses = threading.Barrier(4), []

    def post(client: FlaskClient) -> None:
        barrier.wait()
        statuses.append(client.post(USERS, json=NEW).status_code)

    run_together([threading.Thread(target=post, args=(client,)) for client in clients])
    assert sorted(statuses) == [201, 400, 400, 400]
    assert [each.email for each in world.all(User)].count(NEW["email"]) == 1


@cases("key", ["id", "created_at", "updated_at", "password_hash", "is_admin"])
def test_columns_that_are_the_servers_cannot_be_set(world: World, office: FlaskClient, admin: User, key: str) -> None:
    assert key in details(office.post(USERS, json={**NEW, key: "2024-01-01T00:00:00Z"}))
    if key != "updated_at":
        assert key in details(office.patch(f"{USERS}/{admin.id}", json={"name": "Other", key: 7}))
    assert [each.name for each in world.all(User)] == [admin.name]


def test_the_address_of_a_user_does_not_change(office: FlaskClient, admin: User) -> None:
    assert "email" in details(office.patch(f"{USERS}/{admin.id}", json={"email": "other@example.com"}))


@cases(
    ("key", "value"),
    [
        ("email", "nobody"),
        ("email", None),
        ("email", "a@" + "b" * 260 + ".com"),
        ("name", ""),
        ("name", "n" * 256),
        ("name", ["n"]),
        ("role", "root"),
        ("role", None),
        ("password", "2 short"),
        ("password", "long enough, but not for ever, " * 5),
        ("password", "password123"),
        ("password", 1234567890),
        ("active", "yes"),
        ("active", 1),
        ("active", None),
    ],
)
def test_a_bad_value_is_refused_and_named(world: World, office: FlaskClient, key: str, value: Any) -> None:
    assert set(details(office.post(USERS, json={**NEW, key: value}))) == {key}
    assert len(world.all(User)) == 1


@cases("key", ["email", "name", "role", "password"])
def test_a_missing_value_is_named(office: FlaskClient, key: str) -> None:
    assert set(details(office.post(USERS, json={name: value for name, value in NEW.items() if name != key}))) == {key}


@cases("body", ["[]", '"text"', "1", "null", "", "[{}]"])
def test_a_body_that_is_no_object_is_refused(office: FlaskClient, body: str) -> None:
    assert fault(office.post(USERS, data=body, content_type="application/json"))[0] == 400


def test_bodies_come_through_the_gate(office: FlaskClient) -> None:
    assert fault(office.post(USERS, data="{"))[:2] == (415, "unsupported_media_type")
    assert fault(office.post(USERS, data="{", content_type="application/json"))[:2] == (400, "bad_json")
    assert fault(office.post(USERS, json={**NEW, "name": "N\0"}))[:2] == (400, "bad_json")


def test_users_are_listed_by_id_a_page_at_a_time(
    world: World, office: FlaskClient, admin: User, tech: User, owner: User
) -> None:
    data = json_of(office.get(f"{USERS}?page=2&per_page=2"))["data"]
    ids = sorted([admin.id, tech.id, owner.id])
    assert [each["id"] for each in data["users"]] == ids[2:]
    assert {name: data[name] for name in ("page", "per_page", "total", "pages")} == {
        "page": 2,
        "per_page": 2,
        "total": 3,
        "pages": 2,
    }
    everybody = office.get(USERS)
    assert [each["id"] for each in json_of(everybody)["data"]["users"]] == ids
    assert "hash" not in everybody.text
    assert json_of(office.get(f"{USERS}?page=9"))["data"]["users"] == []


@cases(
    "query",
    [
        *("page=0", "page=-1", "page=x", "page=", "page=1_0", "page=%201", "page=9007199254740993"),
        *("page=" + "9" * 5000, "per_page=0", "per_page=201", "per_page=1.5", "per_page=%00", "limit=5"),
        "page=1&sort=name",
    ],
)
def test_a_query_parameter_that_cannot_be_is_named(office: FlaskClient, query: str) -> None:
    names = {each.partition("=")[0] for each in query.split("&")}
    assert set(details(office.get(f"{USERS}?{query}"))) <= names


def test_the_largest_page_number_is_just_empty(office: FlaskClient) -> None:
    assert json_of(office.get(f"{USERS}?page=45035996273704&per_page=200"))["data"]["users"] == []


def test_an_administrator_sees_one_user(office: FlaskClient, tech: User) -> None:
    assert json_of(office.get(f"{USERS}/{tech.id}"))["data"]["user"]["email"] == tech.email
    assert fault(office.get(f"{USERS}/{tech.id + 1000}")) == (404, "not_found", "User not found")
    assert fault(office.patch(f"{USERS}/{tech.id + 1000}", json={"name": "Nobody"})) == (
        404,
        "not_found",
        "User not found",
    )


@cases("key", ["x", "1.5", "9007199254740992", "9" * 5000, "1%00", "%F0%9F%98%80"])
def test_what_is_no_id_is_invalid(office: FlaskClient, key: str) -> None:
    assert fault(office.get(f"{USERS}/{key}"))[:2] == (400, "invalid")
    assert fault(office.patch(f"{USERS}/{key}", json={"name": "x"}))[:2] == (400, "invalid")


@pytest.mark.parametrize("who", ["owner", "tech"])
@cases(("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/1"), ("PATCH", "/1")])
def test_nobody_else_sees_or_writes_users_whatever_is_sent(
    request: pytest.FixtureRequest, world: World, sign_in: SignIn, admin: User, who: str, method: str, path: str
) -> None:
    client = sign_in(request.getfixturevalue(who))
    # The body is not even read: its faults are none of their business.
    answer = client.open(USERS + path, method=method, json={"nonsense": 1} if method != "GET" else None)
    assert fault(answer) == (403, "forbidden", "Only administrators may do this")
    assert len(world.all(User)) == 2


def test_without_a_token_it_is_401(app: Flask) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/1"), ("PATCH", "/1")):
        assert fault(app.test_client().open(USERS + path, method=method))[:2] == (401, "token_missing")


def test_name_role_and_activity_change(world: World, clock: SettableClock, office: FlaskClient, tech: User) -> None:
    clock.forward(minutes=1)
    answer = office.patch(f"{USERS}/{tech.id}", json={"name": "Other", "role": "user"})
    assert answer.status_code == 200, answer.json
    stored = world.get(User, tech.id)
    assert (stored.name, stored.role, stored.active, stored.password_hash) == (
        "Other",
        "user",
        True,
        tech.password_hash,
    )
    assert stored.updated_at > tech.updated_at
    assert json_of(answer)["data"]["user"]["updated_at"] == "2024-03-15T10:31:00.000Z"


def test_deactivation_ends_the_users_sign_ins(world: World, app: Flask, sign_in: SignIn, office: FlaskClient) -> None:
    leaver = world.user("leaver@example.com")
    client = sign_in(leaver)
    assert client.get(f"{API}/auth/me").status_code == 200
    assert office.patch(f"{USERS}/{leaver.id}", json={"active": False}).status_code == 200
    assert client.get(f"{API}/auth/me").status_code == 401
    assert login(app, leaver.email, PASSWORD) == 401
    # Back again, but not with the old token.
    assert office.patch(f"{USERS}/{leaver.id}", json={"active": True}).status_code == 200
    assert client.get(f"{API}/auth/me").status_code == 401
    assert login(app, leaver.email, PASSWORD) == 200


def test_a_new_password_ends_the_users_sign_ins(app: Flask, sign_in: SignIn, office: FlaskClient, tech: User) -> None:
    client = sign_in(tech)
    assert office.patch(f"{USERS}/{tech.id}", json={"password": "another long one"}).status_code == 200
    assert client.get(f"{API}/auth/me").status_code == 401
    assert login(app, tech.email, PASSWORD) == 401
    assert login(app, tech.email, "another long one") == 200


def test_other_changes_leave_the_user_signed_in(sign_in: SignIn, office: FlaskClient, tech: User) -> None:
    client = sign_in(tech)
    assert office.patch(f"{USERS}/{tech.id}", json={"name": "Other", "active": True}).status_code == 200
    assert client.get(f"{API}/auth/me").status_code == 200


def test_changes_stand_in_the_ledger_without_password_or_hash(world: World, office: FlaskClient, admin: User) -> None:
    key = json_of(office.post(USERS, json=NEW))["data"]["user"]["id"]
    office.patch(f"{USERS}/{key}", json={"role": "user", "password": "another long one"})
    created, changed = [each for each in entries(world, "user") if each.entity_id == str(key)]
    assert created.changes["email"] == {"new": NEW["email"]}
    assert changed.changes == {"role": {"old": "technician", "new": "user"}, "password_hash": {}}
    operation = world.all(LedgerOperation)[-1]
    assert (operation.door, operation.user_id, operation.entity_id) == ("rest", admin.id, str(key))
    recorded = repr([each.changes for each in world.all(LedgerEntry)])
    assert "argon2" not in recorded
    assert "another long one" not in recorded
    assert NEW["password"] not in recorded


def test_a_stale_change_is_409_with_the_present_row(
    world: World, clock: SettableClock, office: FlaskClient, tech: User
) -> None:
    seen = json_of(office.get(f"{USERS}/{tech.id}"))["data"]["user"]["updated_at"]
    clock.forward(minutes=1)
    present = json_of(office.patch(f"{USERS}/{tech.id}", json={"name": "First", "updated_at": seen}))["data"]["user"]
    answer = office.patch(f"{USERS}/{tech.id}", json={"name": "Second", "updated_at": seen})
    assert fault(answer)[:2] == (409, "stale")
    assert json_of(answer)["data"] == {"user": present}
    assert world.get(User, tech.id).name == "First"
    again = office.patch(f"{USERS}/{tech.id}", json={"name": "Second", "updated_at": present["updated_at"]})
    assert again.status_code == 200


@cases("body", [{}, {"updated_at": "2024-03-15T10:30:00.000Z"}])
def test_a_change_without_a_change_is_refused(office: FlaskClient, tech: User, body: Any) -> None:
    details(office.patch(f"{USERS}/{tech.id}", json=body))


@pytest.mark.parametrize(("key", "value"), [("role", "technician"), ("active", False)])
def test_the_last_active_administrator_stays(
    world: World, office: FlaskClient, admin: User, key: str, value: Any
) -> None:
    world.user("asleep@example.com", "admin", active=False)
    assert set(details(office.patch(f"{USERS}/{admin.id}", json={key: value}))) == {key}
    stored = world.get(User, admin.id)
    assert (stored.role, stored.active) == ("admin", True)
    world.user("second@example.com", "admin")
    assert office.patch(f"{USERS}/{admin.id}", json={key: value}).status_code == 200


def test_two_administrators_cannot_demote_each_other(world: World, sign_in: SignIn) -> None:
    for turn in range(3):
        pair = [world.user(f"{name}{turn}@example.com", "admin") for name in ("left", "right")]
        for other in world.all(User):
            if other.id not in (pair[0].id, pair[1].id) and other.role == "admin":
                assert sign_in(pair[0]).patch(f"{USERS}/{other.id}", json={"role": "user"}).status_code == 200
        clients = [sign_in(each) for each in pair]
        barrier = threading.Barrier(2)
        statuses: list[int] = []

        def demote(client: FlaskClient, victim: User, barrier: Any = barrier, statuses: Any = statuses) -> None:
            barrier.wait()
            statuses.append(client.patch(f"{USERS}/{victim.id}", json={"role": "user"}).status_code)

        run_together([threading.Thread(target=demote, args=each) for each in zip(clients, reversed(pair), strict=True)])
        # The loser is no administrator any more when its turn comes, wherever that is found out.
        assert sorted(statuses) == [200, 403]
        assert [each.role for each in world.all(User)].count("admin") == 1


def test_an_administrator_who_is_none_any_more_adds_and_changes_nobody(app: Flask, world: World, tech: User) -> None:
    """The route has asked before; under the lock the role counts as stored."""
    origin = Origin(door="rest", user_id=tech.id)
    with app.app_context():
        with pytest.raises(ForbiddenError):
            add_user(origin, email="new@example.com", name="N", role="admin", password="long enough for us")
        with pytest.raises(ForbiddenError):
            change_user(origin, tech.id, {"role": "admin"})
    assert [each.id for each in world.all(User)] == [tech.id]
    assert world.get(User, tech.id).role == tech.role


def run_together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
