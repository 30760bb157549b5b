"""Behind a proxy: the documented nginx.conf fits the server's limits, and whose address counts is said in one place.

nginx itself does not come with pip, so no test runs it: its configuration is read with its own rules, and was run by
hand before two nodes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import crossplane
import pytest
from flask import Flask

from app import create_app
from app.config import Settings
from app.core.database.engine import db
from app.errors import RequestError
from tests.support.servers import ROOT

UNITS = {"": 1, "k": 1024, "m": 1024 * 1024, "s": 1}


@pytest.fixture
def directives(tmp_path: Path) -> dict[str, list[list[str]]]:
    """Every directive of the documented file, with the arguments of each time that it stands there."""
    (text,) = re.findall(r"```nginx\n(events.*?)```", (ROOT / "docs" / "operating.md").read_text(), re.DOTALL)
    path = tmp_path / "nginx.conf"
    path.write_text(text)
    # `strict`: a directive that nginx does not know, or not in this place, is an error.
    parsed = crossplane.parse(str(path), strict=True, check_ctx=True, check_args=True)
    assert parsed["status"] == "ok", parsed["errors"]
    found: dict[str, list[list[str]]] = {}
    pending: list[Any] = list(parsed["config"][0]["parsed"])
    while pending:
        each = pending.pop(0)
        found.setdefault(each["directive"], []).append(each["args"])
        pending.extend(each.get("block", ()))
    return found


def amount(directives: dict[str, list[list[str]]], name: str) -> int:
    """What a directive that stands there once says, in bytes or seconds."""
    ((value,),) = directives[name]
    number, unit = re.fullmatch(r"(\d+)([kms]?)", value).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def test_the_documented_nginx_buffers_and_lets_through_what_the_server_takes(
    directives: dict[str, list[list[str]]],
) -> None:
    assert directives["proxy_request_buffering"] == [["on"]]
    # What stands around a photo in its form takes some bytes, too.
    assert amount(directives, "client_max_body_size") > Settings.max_photo_bytes + 64 * 1024
    assert amount(directives, "client_max_body_size") > Settings.max_batch_bytes
    assert amount(directives, "proxy_read_timeout") >= Settings.silence_seconds


def test_the_documented_nginx_tells_the_server_who_asks_and_nobody_else_can(
    directives: dict[str, list[list[str]]],
) -> None:
    headers = dict(each for each in directives["proxy_set_header"])
    assert headers["X-Forwarded-For"] == "$remote_addr", "what the client claims is not passed on"
    assert {"X-Forwarded-Proto", "X-Forwarded-Host", "Host"} <= headers.keys()
    # The client's own request id comes through.
    assert "X-Request-ID" not in headers
    assert ["=", "/metrics"] in directives["location"]


def test_a_request_that_may_have_reached_a_node_is_not_sent_to_another(
    directives: dict[str, list[list[str]]],
) -> None:
    assert "non_idempotent" not in directives["proxy_next_upstream"][0]


def test_what_the_documented_nginx_answers_by_itself_has_the_servers_shape(
    directives: dict[str, list[list[str]]],
) -> None:
    answers = {each[0]: json.loads(each[1]) for each in directives["return"] if len(each) == 2}
    assert {status: body["code"] for status, body in answers.items()} == {
        "413": "too_large",
        "429": "too_many_requests",
        "503": "try_again",
    }
    for body in answers.values():
        assert body.keys() == RequestError("a", "b", code="c").body("d").keys()
        assert body["success"] is False
    assert ["413", "=", "@too_large"] in directives["error_page"]
    assert ["429", "=", "@too_many"] in directives["error_page"]
    assert ["502", "504", "=", "@away"] in directives["error_page"]
    assert directives["add_header"] == [["Retry-After", "5", "always"]] * 2


def test_the_documented_nginx_bounds_how_much_one_token_and_one_address_may_ask(
    directives: dict[str, list[list[str]]],
) -> None:
    zones = {zone: key for key, zone, _ in directives["limit_req_zone"]}
    assert zones == {"zone=tokens:10m": "$http_authorization", "zone=addresses:10m": "$binary_remote_addr"}
    assert directives["limit_conn_zone"] == [["$binary_remote_addr", "zone=connections:10m"]]
    # In the server, so that every location inherits them.
    assert {zone for zone, *_ in directives["limit_req"]} == {"zone=tokens", "zone=addresses"}
    assert directives["limit_conn"] == [["connections", "200"]]
    assert directives["limit_req_status"] == directives["limit_conn_status"] == [["429"]]


def tries(app: Flask, *addresses: str) -> list[int]:
    """The statuses of failed sign-ins, each with its X-Forwarded-For."""
    body = {"email": "ada@example.com", "password": "wrong"}
    client = app.test_client()
    try:
        return [
            client.post("/api/v1/auth/login", json=body, headers={"X-Forwarded-For": each}).status_code
            for each in addresses
        ]
    finally:
        with app.app_context():
            db.engine.dispose()


@pytest.mark.database("sqlite")
def test_behind_a_proxy_each_address_has_its_own_limit(environment: dict[str, str]) -> None:
    app = create_app({**environment, "FIELDPOST_TRUSTED_PROXIES": "1", "FIELDPOST_LOGIN_RATE": "2 per hour"})
    assert tries(app, "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2") == [401, 401, 429, 401]
    # Only what the trusted proxy itself wrote counts: the last.
    assert tries(app, "10.9.9.9, 10.0.0.1", "10.0.0.1, 10.0.0.3") == [429, 401]


@pytest.mark.database("sqlite")
def test_without_a_proxy_nobody_can_claim_an_address(environment: dict[str, str]) -> None:
    app = create_app({**environment, "FIELDPOST_LOGIN_RATE": "2 per hour"})
    assert tries(app, "10.0.0.1", "10.0.0.2", "10.0.0.3") == [401, 401, 429]
