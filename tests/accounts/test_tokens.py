"""Signing in, rotation with the grace for a lost answer, revocation (contract, section 1)."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.accounts.passwords import _NOBODY, hash_password
from app.accounts.tokens import end_sign_ins
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.errors import ConfigurationError
from app.models import SignIn, User
from tests.accounts.calls import DEVICE, LOGIN, LOGOUT, ME, REFRESH, bearer, code_of, log_in, me, refresh
from tests.conftest import PASSWORD, PASSWORD_HASH, SettableClock, World
from tests.conftest import SignIn as SignInClient
from tests.support.answers import json_of
from tests.support.cases import cases


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def test_a_sign_in_answers_what_the_contract_says(client: FlaskClient, user: User) -> None:
    body = log_in(client, user, device_id=DEVICE)
    assert set(body) == {
        "success", "access_token", "refresh_token", "token_type", "expires_in", "user", "device_id",
    }  # fmt: skip
    assert body["success"] is True
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert body["user"] == {"id": user.id, "email": user.email, "name": user.name, "role": "technician"}
    assert body["device_id"] == DEVICE
    shown = json_of(client.get(ME, headers=bearer(body["access_token"])))
    assert shown["success"] is True
    assert shown["user"] == body["user"]


def test_without_a_device_its_id_is_null(client: FlaskClient, user: User) -> None:
    assert log_in(client, user)["device_id"] is None
    assert log_in(client, user, device_id=None)["device_id"] is None


def test_an_email_is_found_in_any_case(client: FlaskClient, user: User) -> None:
    answer = client.post(LOGIN, json={"email": " Tech@Example.COM", "password": PASSWORD})
    assert answer.status_code == 200


@cases(
    ("body", "named"),
    [
        ({}, {"email", "password"}),
        ({"email": "tech@example.com", "password": 1}, {"password"}),
        ({"email": "tech@example.com", "password": PASSWORD, "device_id": "abc"}, {"device_id"}),
        ({"email": "tech@example.com", "password": PASSWORD, "device_id": DEVICE + "\n"}, {"device_id"}),
        ({"email": "tech@example.com", "password": PASSWORD, "role": "admin"}, {"role"}),
        ({"email": "tech@example.com", "password": "x" * 129}, {"password"}),
    ],
)
def test_a_faulty_body_is_400_and_names_the_fields(
    client: FlaskClient, user: User, body: dict[str, object], named: set[str]
) -> None:
    answer = client.post(LOGIN, json=body)
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid")
    assert set(json_of(answer)["details"]) == named


@cases("body", [b"", b"[", b'"text"', b"[]", b'{"email": "\\u0000", "password": "x"}'])
def test_a_body_that_is_no_object_is_400(client: FlaskClient, body: bytes) -> None:
    answer = client.post(LOGIN, data=body, content_type="application/json")
    assert answer.status_code == 400
    assert json_of(answer)["code"] in ("bad_json", "invalid")


def test_wrong_password_and_unknown_email_get_the_same_answer(client: FlaskClient, world: World, user: User) -> None:
    world.user("gone@example.com", active=False)
    bodies = []
    for email, password in (
        (user.email, "wrong"),
        ("nobody@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
    ):
        answer = client.post(LOGIN, json={"email": email, "password": password})
        assert code_of(answer) == (401, "wrong_credentials")
        bodies.append({**json_of(answer), "request_id": ""})
    assert bodies[0] == bodies[1] == bodies[2]


def test_the_hash_for_unknown_emails_is_of_the_kind_that_passwords_have() -> None:
    assert _NOBODY.split("$")[:4] == hash_password(PASSWORD).split("$")[:4]
    assert [len(part) for part in _NOBODY.split("$")] == [len(part) for part in hash_password(PASSWORD).split("$")]


def test_an_unknown_email_takes_as_long_as_a_wrong_password(
    client: FlaskClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """argon2 does as much work for both: its parameters say how much. Tests of the audit log count the statements."""
    world.user("known@example.com", password_hash=hash_password(PASSWORD))
    compared: list[str] = []

    def compare(_hasher: PasswordHasher, stored: str, _password: str) -> bool:
        compared.append(stored)
        raise VerificationError

    monkeypatch.setattr(PasswordHasher, "verify", compare)
    works = []
    for email in ("known@example.com", "nobody@example.com"):
        compared.clear()
        assert client.post(LOGIN, json={"email": email, "password": "wrong password"}).status_code == 401
        works.append([(stored.split("$")[:4], len(stored)) for stored in compared])
    assert works[0] == works[1]
    assert len(works[0]) == 1


def test_failed_sign_ins_are_limited_and_lock_nobody_else_out(client: FlaskClient, world: World, user: User) -> None:
    other = world.user("other@example.com")
    for _ in range(10):
        answer = client.post(LOGIN, json={"email": user.email, "password": "wrong"})
        assert answer.status_code == 401
    answer = client.post(LOGIN, json={"email": user.email, "password": PASSWORD})
    assert (answer.status_code, json_of(answer)["code"]) == (429, "too_many_requests")
    assert json_of(answer)["success"] is False
    assert json_of(answer)["error"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    log_in(client, other)
    owner_elsewhere = client.post(
        LOGIN, json={"email": user.email, "password": PASSWORD}, environ_base={"REMOTE_ADDR": "192.0.2.7"}
    )
    assert owner_elsewhere.status_code == 200


def test_nobody_waits_longer_than_the_window_even_if_the_clock_was_set_back(
    client: FlaskClient, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        client.post(LOGIN, json={"email": user.email, "password": "wrong"})
    real = time.time
    monkeypatch.setattr("app.accounts.throttle.time.time", lambda: real() - 86_400)
    answer = client.post(LOGIN, json={"email": user.email, "password": PASSWORD})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_successful_sign_ins_are_not_counted(client: FlaskClient, user: User) -> None:
    for _ in range(15):
        log_in(client, user)


def test_one_address_cannot_try_many_emails_for_ever(
    client: FlaskClient, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hundred real hashes would take seconds.
    monkeypatch.setattr("app.accounts.passwords._NOBODY", PASSWORD_HASH)
    statuses = [
        client.post(LOGIN, json={"email": f"guess{n}@example.com", "password": "wrong"}).status_code for n in range(101)
    ]
    assert statuses == [401] * 100 + [429]


def test_a_login_rate_that_is_none_stops_the_start(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="FIELDPOST_LOGIN_RATE='often' is no rate"):
        create_app({**environment, "FIELDPOST_LOGIN_RATE": "often"})


@cases(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("Basic dGVjaDpwdw==", "token_missing"),
        ("Bearer", "token_missing"),
        ("Bearer  ", "token_missing"),
        ("Bearer abc", "token_invalid"),
        ("Bearer a.b.c", "token_invalid"),
        ("Bearer \u00e9\u00e9", "token_invalid"),
    ],
)
def test_a_call_without_a_usable_token_is_401(client: FlaskClient, user: User, header: str | None, code: str) -> None:
    answer = client.get(ME, headers={} if header is None else {"Authorization": header})
    assert code_of(answer) == (401, code)


def test_a_token_counts_in_its_header_alone_and_its_scheme_in_any_case(
    app: Flask, user: User, sign_in: SignInClient
) -> None:
    header = sign_in(user).environ_base["HTTP_AUTHORIZATION"]
    token, client = header.removeprefix("Bearer "), app.test_client()
    assert client.get(ME, headers={"Authorization": f"bearer {token}"}).status_code == 200
    for name in ("access_token", "access_token_cookie", "fieldpost", "jwt"):
        client.set_cookie(name, token)
        assert code_of(client.get(ME, query_string={name: token})) == (401, "token_missing")
    assert code_of(client.get(ME, json={"access_token": token}, headers={"X-Token": token})) == (401, "token_missing")


def forge(app: Flask, key: str | None = None, headers: dict[str, str] | None = None, **changes: object) -> str:
    """A token like ours with some claims changed; None takes a claim out."""
    claims = {"sub": "1", "sid": "x", "jti": "j", "type": "access", "iat": 1, "exp": 4e9}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(claims, key or app.extensions["fieldpost.settings"].secret_key, "HS256", headers=headers)


@cases(
    "changes",
    [
        {"sub": None}, {"sub": "x"}, {"sub": 1}, {"sid": None},
        {"exp": None}, {"exp": "soon"}, {"type": "refresh"}, {"type": None, "exp": None}, {"type": "other"},
        {"key": "another key that is long enough to be one"},
        {"sub": str(10**30)},
        {"sub": " 1"}, {"sub": "1\n"}, {"sub": "+1"}, {"sub": "\uff11"}, {"sub": "1_0"},
    ],
)  # fmt: skip
def test_a_token_with_wrong_claims_or_signature_is_token_invalid_and_never_422(
    app: Flask, client: FlaskClient, user: User, changes: dict[str, Any]
) -> None:
    assert me(client, forge(app, **changes)) == (401, "token_invalid")


def test_an_unsigned_token_is_refused(app: Flask, client: FlaskClient) -> None:
    claims = {"sub": "1", "sid": "x", "type": "access", "exp": 4e9}
    assert me(client, jwt.encode(claims, "", "none")) == (401, "token_invalid")


def test_a_signed_token_that_was_altered_is_refused(client: FlaskClient, user: User, world: World) -> None:
    head, payload, signature = log_in(client, user)["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = str(world.user("other@example.com").id)
    others = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert me(client, f"{head}.{payload}.{signature}")[0] == 200
    for altered in (f"{head}.{others}.{signature}", f"{head}.{payload}.{signature[::-1]}", f"{head}.{payload}."):
        assert me(client, altered) == (401, "token_invalid")


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


# The key of these tests is long enough for HS256 alone.
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_a_token_that_our_key_has_signed_in_another_way_is_refused(
    app: Flask, client: FlaskClient, user: User, algorithm: str
) -> None:
    key = app.extensions["fieldpost.settings"].secret_key
    claims = claims_of(log_in(client, user)["access_token"])
    assert me(client, jwt.encode(claims, key, "HS256"))[0] == 200
    assert me(client, jwt.encode(claims, key, algorithm)) == (401, "token_invalid")


def test_headers_of_a_token_name_no_key_of_others(client: FlaskClient, user: User) -> None:
    other = "another key that is long enough to be one"
    claims = claims_of(log_in(client, user)["access_token"])
    jwk = {"kty": "oct", "k": base64.urlsafe_b64encode(other.encode()).decode()}
    for headers in ({"kid": "../../dev/null"}, {"jku": "https://example.com/keys"}, {"jwk": jwk}):
        assert me(client, jwt.encode(claims, other, "HS256", headers=headers)) == (401, "token_invalid")


def test_a_token_that_demands_what_nobody_knows_is_refused_even_with_our_signature(
    app: Flask, client: FlaskClient, user: User
) -> None:
    """RFC 7515, section 4.1.11."""
    key = app.extensions["fieldpost.settings"].secret_key
    claims = claims_of(log_in(client, user)["access_token"])
    assert me(client, jwt.encode(claims, key, "HS256", headers={"more": 1}))[0] == 200
    demanding = jwt.encode(claims, key, "HS256", headers={"crit": ["more"], "more": 1})
    assert me(client, demanding) == (401, "token_invalid")


def test_a_token_that_names_another_algorithm_than_its_own_is_refused(
    app: Flask, client: FlaskClient, user: User
) -> None:
    """An RSA key taken for a secret: the server knows one algorithm, and believes no token about it."""
    key = app.extensions["fieldpost.settings"].secret_key.encode()
    payload = log_in(client, user)["access_token"].split(".")[1]
    for algorithm, status in (("HS256", 200), ("RS256", 401), ("ES256", 401), ("none", 401)):
        head = encoded(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
        signature = encoded(hmac.digest(key, f"{head}.{payload}".encode(), "sha256"))
        assert me(client, f"{head}.{payload}.{signature}")[0] == status


def encoded(data: bytes) -> str:
    """As the parts of a token are (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_only_the_expiry_counts_because_clocks_of_nodes_differ(app: Flask, client: FlaskClient, user: User) -> None:
    key = app.extensions["fieldpost.settings"].secret_key
    claims = claims_of(log_in(client, user)["access_token"])
    later = {"iat": claims["iat"] + 3600, "nbf": claims["iat"] + 3600}
    assert me(client, jwt.encode({**claims, **later}, key, "HS256"))[0] == 200


def test_a_token_of_no_sign_in_is_revoked(app: Flask, client: FlaskClient, user: User) -> None:
    assert me(client, forge(app)) == (401, "token_revoked")


def test_an_access_token_expires_after_its_seconds(client: FlaskClient, user: User, clock: SettableClock) -> None:
    body = log_in(client, user)
    clock.forward(seconds=899)
    assert me(client, body["access_token"])[0] == 200
    clock.forward(seconds=1)
    assert me(client, body["access_token"]) == (401, "token_expired")


def test_a_refresh_token_lives_ninety_days_from_its_last_use(
    client: FlaskClient, user: User, clock: SettableClock
) -> None:
    token = log_in(client, user)["refresh_token"]
    for _ in range(3):
        clock.forward(days=89)
        answer = refresh(client, token)
        assert answer.status_code == 200
        token = json_of(answer)["refresh_token"]
    clock.forward(days=90)
    assert code_of(refresh(client, token)) == (401, "token_expired")


def test_each_token_works_only_where_it_belongs(client: FlaskClient, user: User) -> None:
    body = log_in(client, user)
    assert me(client, body["refresh_token"]) == (401, "token_invalid")
    assert code_of(refresh(client, body["access_token"])) == (401, "token_invalid")
    assert code_of(client.post(REFRESH)) == (401, "token_missing")


def test_a_refresh_answers_like_a_sign_in_with_new_tokens(client: FlaskClient, user: User) -> None:
    first = log_in(client, user, device_id=DEVICE)
    second = json_of(refresh(client, first["refresh_token"]))
    assert set(second) == set(first)
    assert second["device_id"] == DEVICE
    assert second["user"] == first["user"]
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert me(client, second["access_token"])[0] == 200


def test_a_revoked_family_leaves_other_sign_ins_alone(client: FlaskClient, user: User) -> None:
    first, other = log_in(client, user), log_in(client, user)
    client.post(LOGOUT, headers=bearer(first["access_token"]))
    assert me(client, other["access_token"])[0] == 200


def test_logout_ends_both_tokens_at_once(client: FlaskClient, user: User) -> None:
    body = log_in(client, user)
    assert json_of(client.post(LOGOUT, headers=bearer(body["access_token"])))["success"] is True
    assert me(client, body["access_token"]) == (401, "token_revoked")
    assert code_of(refresh(client, body["refresh_token"])) == (401, "token_revoked")
    assert code_of(client.post(LOGOUT, headers=bearer(body["access_token"]))) == (401, "token_revoked")


def test_role_and_deactivation_take_effect_on_the_next_call(app: Flask, client: FlaskClient, user: User) -> None:
    body = log_in(client, user)

    def write(**values: object) -> None:
        with app.app_context():
            unit_of_work(lambda _: db.session.execute(db.update(User).values(**values)))

    write(role="user")
    assert json_of(client.get(ME, headers=bearer(body["access_token"])))["user"]["role"] == "user"
    write(active=False)
    assert me(client, body["access_token"]) == (401, "token_revoked")
    assert code_of(refresh(client, body["refresh_token"])) == (401, "token_revoked")


def test_all_sign_ins_but_one_can_be_ended(app: Flask, client: FlaskClient, world: World, user: User) -> None:
    first, second = log_in(client, user), log_in(client, user)
    kept, ended = world.all(SignIn)
    with app.app_context():
        unit_of_work(lambda _: end_sign_ins(db.session(), user.id, except_id=kept.id))
    left = sorted(me(client, each["access_token"])[0] for each in (first, second))
    assert left == [200, 401]
    assert world.get(SignIn, ended.id).revoked_at
    assert not world.get(SignIn, kept.id).revoked_at


def test_the_previous_key_is_accepted_while_it_is_changed(
    environment: dict[str, str], app: Flask, client: FlaskClient, user: User, clock: SettableClock
) -> None:
    old_token = log_in(client, user)["access_token"]
    old_key = app.extensions["fieldpost.settings"].secret_key
    new_key = {"FIELDPOST_SECRET_KEY": "a new key of more than thirty-two bytes"}
    changing = create_app({**environment, **new_key, "FIELDPOST_SECRET_KEY_PREVIOUS": old_key}, clock).test_client()
    changed = create_app({**environment, **new_key}, clock).test_client()
    assert me(changing, old_token)[0] == 200
    assert me(changed, old_token) == (401, "token_invalid")
    assert me(changed, log_in(changing, user)["access_token"])[0] == 200


def test_what_a_sign_in_does_leaves_no_password_or_token_in_the_database(
    app: Flask, client: FlaskClient, user: User, world: World
) -> None:
    body = log_in(client, user)
    refresh(client, body["refresh_token"])
    with app.app_context(), db.engine.connect() as connection:
        tables = db.metadata.sorted_tables
        text = "\n".join(str(row) for table in tables for row in connection.execute(table.select()))
    assert "argon2" in text
    assert PASSWORD not in text
    assert body["access_token"] not in text
    assert body["refresh_token"] not in text
