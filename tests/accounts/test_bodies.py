"""What strangers may send to the routes of signing in: little, and nothing that grows (contract, section 0)."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.models import User
from tests.conftest import PASSWORD, World
from tests.support.answers import json_of
from tests.support.cases import cases

LOGIN = "/api/v1/auth/login"
LIMIT = 8 * 1024

#: Whether a body is read and taken does not depend on the database.
pytestmark = pytest.mark.database("sqlite")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def credentials(user: User, size: int) -> bytes:
    """Right ones, filled up with blanks to `size` bytes."""
    return json.dumps({"email": user.email, "password": PASSWORD}).encode().ljust(size)


def send(client: FlaskClient, body: bytes, **more: Any) -> Any:
    return client.post(LOGIN, data=body, content_type="application/json", **more)


def test_a_sign_in_of_eight_kibibytes_is_read(client: FlaskClient, user: User) -> None:
    assert send(client, credentials(user, LIMIT)).status_code == 200


def test_a_longer_one_is_413_and_none_of_it_is_read(client: FlaskClient, user: User) -> None:
    stream = BytesIO(credentials(user, LIMIT + 1))
    answer = client.post(LOGIN, input_stream=stream, content_type="application/json", content_length=LIMIT + 1)
    assert (answer.status_code, json_of(answer)["code"], json_of(answer)["limit"]) == (413, "too_large", LIMIT)
    assert stream.tell() == 0


def test_a_longer_one_in_chunks_is_413_and_not_read_to_its_end(client: FlaskClient, user: User) -> None:
    stream = BytesIO(credentials(user, LIMIT * 100))
    answer = client.post(
        LOGIN,
        input_stream=stream,
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert (answer.status_code, json_of(answer)["limit"]) == (413, LIMIT)
    assert stream.tell() == LIMIT + 1


@cases("encoding", ["gzip", "GZIP", "br", "gzip, gzip"])
def test_a_compressed_one_is_415_and_none_of_it_is_read(client: FlaskClient, user: User, encoding: str) -> None:
    packed = gzip.compress(credentials(user, 0))
    stream = BytesIO(packed)
    answer = client.post(
        LOGIN,
        input_stream=stream,
        content_type="application/json",
        content_length=len(packed),
        headers={"Content-Encoding": encoding},
    )
    assert (answer.status_code, json_of(answer)["code"]) == (415, "unsupported_media_type")
    assert stream.tell() == 0


def test_the_encoding_identity_is_none(client: FlaskClient, user: User) -> None:
    assert send(client, credentials(user, 0), headers={"Content-Encoding": "identity"}).status_code == 200


def test_unknown_keys_are_named_but_not_all_of_them(client: FlaskClient, user: User) -> None:
    unknown = {f"key {index}": 0 for index in range(35)}
    answer = send(client, json.dumps({**unknown, "email": user.email, "password": PASSWORD}).encode())
    details = json_of(answer)["details"]
    assert answer.status_code == 400
    assert len(details) == 20
    assert details["key 0"] == ["Unknown field."]
    assert "email" not in details


@pytest.mark.parametrize("fault", ["email", "password"])
def test_a_key_that_is_missing_is_named_as_before(client: FlaskClient, user: User, fault: str) -> None:
    body = {"email": user.email, "password": PASSWORD}
    del body[fault]
    assert json_of(send(client, json.dumps(body).encode()))["details"].keys() == {fault}


@pytest.mark.parametrize(
    "body",
    [
        b'{"%b":[%b],"n":1234567890123456}' % (b"K" * 4000, b"0," * 1900 + b"0"),
        b"[" + b"{}," * 2700 + b"{}]",
        b"{" + b",".join(b'"%d":0' % index for index in range(900)) + b"}",
        b"{" + b",".join(b'"%d":0' % index for index in range(41)) + b"}",
        b"[" * 4096 + b"]" * 4096,
    ],
    ids=["a long key", "objects", "unknown keys", "some unknown keys", "nesting"],
)
def test_a_hostile_sign_in_takes_little_memory(client: FlaskClient, user: User, body: bytes) -> None:
    assert len(body) <= LIMIT
    send(client, b"{}")
    tracemalloc.start()
    try:
        answer = send(client, body)
        assert tracemalloc.get_traced_memory()[1] < 12 * LIMIT
    finally:
        tracemalloc.stop()
    assert (answer.status_code, json_of(answer)["code"]) == (400, "bad_json")
    assert "too many values" in json_of(answer)["error"]


@pytest.mark.parametrize("password", [",[{" * 42, '"' * 128, "\\" * 128])
def test_a_password_of_commas_and_brackets_is_no_list(client: FlaskClient, user: User, password: str) -> None:
    body = json.dumps({"email": user.email, "password": password}).encode()
    assert json_of(send(client, body))["code"] == "wrong_credentials"
