"""Every route of the URL map × role × what the inspection is to the person (contract, section 2).

A route must be declared here with its kind; a new one fails the tests until it is. tests/core/sync asks the same of
operation types. Each cell of the matrix is one request: for a person, every route is called in the order of `ROUTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app.config import API_PREFIX
from app.core.database.engine import db
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, SetAside, SignIn, User
from app.pages.addresses import is_page_endpoint
from app.testing import push
from tests import conftest
from tests.conftest import PASSWORD, World
from tests.support.answers import json_of
from tests.support.pictures import jpeg

ROLES = ("admin", "technician", "user")
#: "lost": it was one's own, and assigned to one.
RELATIONS = ("own", "assigned", "another's", "lost", "missing")

MISSING = 4711
#: A text in the inspection, by which it is found in answers.
MARK = "marked-7c1f"
#: What can be written over HTTP. `SignIn` has a time of last use, but no request other than a refresh sets it.
WRITABLE = (Inspection, FormFill, Attachment, FormTemplate, User, SignIn, LedgerEntry)


@dataclass(frozen=True, kw_only=True)
class Ids:
    """The rows that addresses and bodies name."""

    inspection: int
    form_fill: int
    attachment: str
    sha256: str
    user: int
    template: int
    sign_in: str
    set_aside: str


@dataclass(frozen=True)
class Person:
    """Somebody who calls every route: their role, what the inspection is to them, and the ids that they name."""

    role: str
    relation: str
    client: FlaskClient
    ids: Ids

    @property
    def may(self) -> bool:
        """Whether they may read and change the inspection: their own, one assigned to a technician, all as an admin."""
        return self.relation != "missing" and self.sees

    @property
    def sees(self) -> bool:
        """Whether lists have the inspection, even if they name another one that is missing."""
        return (
            self.role == "admin"
            or self.relation == "own"
            or (self.role == "technician" and self.relation == "assigned")
        )


Call = Callable[[FlaskClient, Ids], TestResponse]
Body = Mapping[str, Any] | Callable[[Ids], Any] | None


# Kinds of routes: the status that a person must get, and whether the answer shows them what it must.


@dataclass(frozen=True)
class Kind:
    """A route that everybody may call who is signed in. `missing`: the status where the named row is not there."""

    call: Call
    status: int = 200
    missing: int | None = None

    def expected(self, person: Person) -> int:
        """The status for this person."""
        return self.missing if self.missing is not None and person.relation == "missing" else self.status

    def is_right(self, person: Person, answer: TestResponse) -> bool:
        """Whether the answer shows what the person may see, and nothing else."""
        return True


class Open(Kind):
    """A route that needs no token."""


class Reads(Kind):
    """It shows a row to those who may read it; for others the row is not there."""

    def expected(self, person: Person) -> int:
        return self.status if person.may else 404


class Changes(Kind):
    """It changes a row for those who may; 403 where it is there and somebody else's."""

    def expected(self, person: Person) -> int:
        refused = 404 if person.relation == "missing" else 403
        return self.status if person.may else refused


class Decides(Kind):
    """It decides about work in an inspection, for administrators and the owner; readers see it, and may not."""

    def expected(self, person: Person) -> int:
        if person.relation == "missing" or not person.sees:
            return 404
        return self.status if person.role == "admin" or person.relation == "own" else 403


class Administers(Kind):
    """It is for administrators alone."""

    def expected(self, person: Person) -> int:
        return super().expected(person) if person.role == "admin" else 403


class Personal(Kind):
    """It concerns what belongs to one person: not even an administrator reaches another's."""

    def expected(self, person: Person) -> int:
        return self.status if person.relation == "own" else 404


class Lists(Kind):
    """It lists what one sees: the mark of the inspection, or nothing of it."""

    def is_right(self, person: Person, answer: TestResponse) -> bool:
        return (MARK in answer.text) == person.sees


@dataclass(frozen=True, kw_only=True)
class Tells(Kind):
    """It tells about the rows that the body names: one value to those who may, another to everybody else."""

    value: Callable[[Any], object]
    allowed: object

    def is_right(self, person: Person, answer: TestResponse) -> bool:
        return (self.value(json_of(answer)) == self.allowed) == person.may


# Calls


def get(path: str) -> Call:
    return lambda client, ids: client.get(path.format(ids=ids), buffered=True)


def send(method: str, path: str, body: Body = None) -> Call:
    def call(client: FlaskClient, ids: Ids) -> TestResponse:
        return client.open(path.format(ids=ids), method=method, json=body(ids) if callable(body) else body)

    return call


def upload(name: str, field: str) -> Call:
    def call(client: FlaskClient, ids: Ids) -> TestResponse:
        form = {"form_fill_id": str(ids.form_fill), "field_name": field, name: (BytesIO(jpeg()), "p.jpg")}
        return client.post(f"{API_PREFIX}/sync/upload_{name}", data=form)

    return call


def change_of(ids: Ids) -> Any:
    item = {"type": "inspection", "local_id": "1", "data": {"id": ids.inspection, "notes": f"{MARK} changed"}}
    return {"sync_items": [item]}


def rescue_of(ids: Ids) -> Any:
    item = {"type": "inspection", "local_id": "r", "data": {"id": ids.inspection, "notes": MARK}}
    sender = {"id": ids.user, "email": "somebody@example.com"}
    return {"fieldpost_rescue": 1, "user": sender, "device_id": None, "sync_items": [item]}


def discards_of(ids: Ids) -> Any:
    return {"decision": "discard", "ids": [ids.set_aside]}


def photo_of(ids: Ids) -> Any:
    return [{"form_fill_id": ids.form_fill, "field_name": "Riser_Photo", "sha256": ids.sha256}]


def new_inspection(ids: Ids) -> Any:
    return {"date": "2024-03-20", "form_template_ids": [ids.template]}


def sign_in_of(ids: Ids) -> Any:
    return {"email": "me@example.com", "password": PASSWORD}


NEW_TEMPLATE = {"name": "T", "form_structure": [{"name": "a", "type": "text"}]}
NEW_USER = {"email": "n@example.com", "name": "N", "role": "user", "password": "long enough pw"}
SAME_PASSWORD = {"current_password": PASSWORD, "new_password": PASSWORD}

#: Every route with its kind, in the order in which a person calls them: what takes rows or rights away comes last.
ROUTES: dict[str, Kind] = {
    "GET /healthz": Open(get("/healthz")),
    "GET /readyz": Open(get("/readyz")),
    # There is no such page without a token or a port of its own: tests/http/test_metrics.py.
    "GET /metrics": Open(get("/metrics"), 404),
    "GET /api/v1/": Open(get("/api/v1/")),
    "GET /api/v1/openapi.json": Open(get("/api/v1/openapi.json")),
    "GET /api/v1/docs": Open(get("/api/v1/docs")),
    "GET /api/v1/docs/<name>": Open(get("/api/v1/docs/start.js")),
    "GET /api/v1/auth/me": Kind(get("/api/v1/auth/me")),
    "GET /api/v1/auth/sign_ins": Kind(get("/api/v1/auth/sign_ins")),
    "GET /api/v1/form_templates": Kind(get("/api/v1/form_templates")),
    "GET /api/v1/form_templates/<row_id:form_template_id>": Kind(
        get("/api/v1/form_templates/{ids.template}"), missing=404
    ),
    "GET /api/v1/inspections": Lists(get("/api/v1/inspections")),
    "GET /api/v1/sync/changes": Lists(get("/api/v1/sync/changes")),
    "GET /api/v1/sync/types": Kind(get("/api/v1/sync/types")),
    "GET /api/v1/sync/status": Kind(get("/api/v1/sync/status")),
    "POST /api/v1/sync/verify_attachments": Tells(
        send("POST", "/api/v1/sync/verify_attachments", photo_of),
        value=lambda told: told["data"]["attachments"][0]["status"],
        allowed="stored",
    ),
    "GET /api/v1/inspections/<row_key:key>": Reads(get("/api/v1/inspections/{ids.inspection}")),
    "GET /api/v1/inspections/<row_key:key>/offline_data": Reads(
        get("/api/v1/inspections/{ids.inspection}/offline_data")
    ),
    "GET /api/v1/inspections/<row_key:key>/history": Reads(get("/api/v1/inspections/{ids.inspection}/history")),
    "GET /api/v1/form_fills/<row_key:key>": Reads(get("/api/v1/form_fills/{ids.form_fill}")),
    "GET /api/v1/form_fills/<row_key:key>/history": Reads(get("/api/v1/form_fills/{ids.form_fill}/history")),
    "GET /api/v1/form_fills/<row_key:key>/attachments": Reads(get("/api/v1/form_fills/{ids.form_fill}/attachments")),
    "GET /api/v1/attachments/<attachment_id>": Reads(get("/api/v1/attachments/{ids.attachment}")),
    "GET /api/v1/entities/<name>/<key>/history": Reads(get("/api/v1/entities/attachment/{ids.attachment}/history")),
    "GET /api/v1/set_aside": Lists(get("/api/v1/set_aside")),
    "GET /api/v1/set_aside/<key>": Reads(get("/api/v1/set_aside/{ids.set_aside}")),
    "POST /api/v1/set_aside/<key>/decision": Decides(
        send("POST", "/api/v1/set_aside/{ids.set_aside}/decision", {"decision": "discard"})
    ),
    "POST /api/v1/set_aside/decisions": Kind(send("POST", "/api/v1/set_aside/decisions", discards_of)),
    # Of somebody else; tests/administration/test_rescue.py has one's own.
    "POST /api/v1/rescue": Administers(send("POST", "/api/v1/rescue", rescue_of), missing=404),
    "GET /api/v1/users": Administers(get("/api/v1/users")),
    "GET /api/v1/audit": Administers(get("/api/v1/audit")),
    "GET /api/v1/users/<row_id:user_id>": Administers(get("/api/v1/users/{ids.user}"), missing=404),
    "POST /api/v1/sync": Tells(
        send("POST", "/api/v1/sync", change_of), value=lambda told: len(told["results"]["success"]), allowed=1
    ),
    "POST /api/v1/sync/upload_photo": Changes(upload("photo", "Riser_Photo")),
    "POST /api/v1/sync/upload_signature": Changes(upload("signature", "Signature")),
    "POST /api/v1/form_templates": Administers(send("POST", "/api/v1/form_templates", NEW_TEMPLATE), 201),
    "POST /api/v1/inspections": Administers(send("POST", "/api/v1/inspections", new_inspection), 201, missing=400),
    "POST /api/v1/users": Administers(send("POST", "/api/v1/users", NEW_USER), 201),
    "PATCH /api/v1/users/<row_id:user_id>": Administers(
        send("PATCH", "/api/v1/users/{ids.user}", {"name": "X"}), missing=404
    ),
    "PATCH /api/v1/inspections/<row_key:key>": Administers(
        send("PATCH", "/api/v1/inspections/{ids.inspection}", {"notes": f"{MARK} by the office"}), missing=404
    ),
    "DELETE /api/v1/inspections/<row_key:key>": Administers(
        send("DELETE", "/api/v1/inspections/{ids.inspection}", {}), missing=404
    ),
    "DELETE /api/v1/auth/sign_ins/<sign_in_id>": Personal(send("DELETE", "/api/v1/auth/sign_ins/{ids.sign_in}")),
    # Each of them signs in without a device; tests/administration/test_devices.py has the rights of those who name one.
    "GET /api/v1/devices": Kind(get("/api/v1/devices")),
    "DELETE /api/v1/devices/<key>/sign_ins": Kind(send("DELETE", f"/api/v1/devices/{uuid4()}/sign_ins"), 404),
    "POST /api/v1/sync/device": Kind(send("POST", "/api/v1/sync/device", {"app": "A"})),
    "POST /api/v1/auth/password": Kind(send("POST", "/api/v1/auth/password", SAME_PASSWORD)),
    # The access token is no refresh token, of which tests/accounts/test_tokens.py has more.
    "POST /api/v1/auth/refresh": Open(send("POST", "/api/v1/auth/refresh"), 401),
    "POST /api/v1/auth/login": Open(send("POST", "/api/v1/auth/login", sign_in_of)),
    "POST /api/v1/auth/logout": Kind(send("POST", "/api/v1/auth/logout")),
}


def rules_of(app: Flask) -> list[Rule]:
    """The rules of all routes but pages, which no token opens (tests/pages/test_door.py)."""
    with app.app_context():
        return [rule for rule in app.url_map.iter_rules() if not is_page_endpoint(rule.endpoint)]


def routes_of(app: Flask) -> set[str]:
    """Every method and address of the application, pages excepted."""
    return {
        f"{method} {rule.rule}" for rule in rules_of(app) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_of_the_url_map_is_declared_and_no_other(app: Flask) -> None:
    assert routes_of(app) == {*ROUTES}


# People


@pytest.fixture
def person(world: World, sign_in: conftest.SignIn) -> Callable[[str, str], Person]:
    """Makes the inspection with a form and a photo, and the person to whom it is what they say."""

    def person(role: str, relation: str) -> Person:
        somebody, me = world.user("somebody@example.com"), world.user("me@example.com", role)
        office = sign_in(world.user("office@example.com", "admin"))
        owner = me if relation in ("own", "lost") else somebody
        assignee = me if relation in ("assigned", "lost") else somebody
        inspection = world.inspection(owner, assignee, notes=MARK)
        ids = _ids(world, office, world.form_fill(inspection), somebody)
        # Their sign-in stays alive, unless it is one's own.
        others = sign_in(me if relation == "own" else somebody)
        ids = replace(ids, sign_in=_sign_in_of(others))
        if relation == "lost":
            people = {"owner_id": somebody.id, "assignee_id": somebody.id}
            assert office.patch(f"{API_PREFIX}/inspections/{inspection.id}", json=people).status_code == 200
        if relation == "missing":
            ids = Ids(
                inspection=MISSING, form_fill=MISSING, attachment="none", sha256="0" * 64,
                user=MISSING, template=MISSING, sign_in=str(uuid4()), set_aside="0" * 64,
            )  # fmt: skip
        return Person(role, relation, sign_in(me), ids)

    return person


def _ids(world: World, office: FlaskClient, form_fill: FormFill, somebody: User) -> Ids:
    """The ids of what is there; the photo is really uploaded, so that there are bytes to read."""
    ids = Ids(
        inspection=form_fill.inspection_id, form_fill=form_fill.id, attachment="", sha256="",
        user=somebody.id, template=form_fill.form_template_id, sign_in="", set_aside="",
    )  # fmt: skip
    photo = json_of(upload("photo", "Riser_Photo")(office, ids))["data"]
    refused = {"type": "inspection", "local_id": MARK, "data": {"id": ids.inspection, "status": "none"}}
    push(office, refused)
    (row,) = world.all(SetAside)
    return replace(ids, attachment=photo["id"], sha256=photo["sha256"], set_aside=row.id)


def _sign_in_of(client: FlaskClient) -> str:
    sign_ins = json_of(client.get(f"{API_PREFIX}/auth/sign_ins"))["data"]["sign_ins"]
    return str(next(row["id"] for row in sign_ins if row["is_current"]))


def rows(world: World) -> Any:
    """All rows of these tables, in a form that can be compared."""
    with world.app.app_context(), db.engine.connect() as connection:
        # As they are stored: they are compared alone, some hundred times.
        statements = (f"SELECT * FROM {model.__table__.name} ORDER BY id" for model in WRITABLE)
        return [connection.exec_driver_sql(statement).all() for statement in statements]


# The matrix


#: Policies are asked in Python. What lists select for whom is tested on both databases, with each list.
about_policies = pytest.mark.database("sqlite")


@about_policies
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("role", ROLES)
def test_every_route_asks_who_may(world: World, person: Callable[[str, str], Person], role: str, relation: str) -> None:
    me = person(role, relation)
    before = rows(world)
    for route, kind in ROUTES.items():
        answer = kind.call(me.client, me.ids)
        assert (route, answer.status_code) == (route, kind.expected(me)), answer.text
        assert kind.is_right(me, answer), (route, answer.text)
        if answer.status_code in (403, 404) and route != "GET /metrics":
            codes = {403: "forbidden", 404: "not_found"}
            assert (route, json_of(answer)["code"]) == (route, codes[answer.status_code])
        after = rows(world)
        is_refused = answer.status_code >= 400 or (isinstance(kind, Tells) and not me.may)
        if is_refused or route.startswith("GET "):
            assert (route, after) == (route, before)
        before = after


@about_policies
@pytest.mark.parametrize("end", ["deactivated", "signed out", "ended by its owner", "another password"])
def test_a_token_that_ended_opens_nothing_even_to_an_administrator(
    world: World, sign_in: conftest.SignIn, person: Callable[[str, str], Person], end: str
) -> None:
    me = person("admin", "own")
    office = sign_in(world.all(User)[2])
    my_id = json_of(me.client.get(f"{API_PREFIX}/auth/me"))["user"]["id"]
    ways: dict[str, Callable[[], TestResponse]] = {
        "deactivated": lambda: office.patch(f"{API_PREFIX}/users/{my_id}", json={"active": False}),
        "signed out": lambda: me.client.post(f"{API_PREFIX}/auth/logout"),
        "ended by its owner": lambda: me.client.delete(f"{API_PREFIX}/auth/sign_ins/{_sign_in_of(me.client)}"),
        "another password": lambda: office.patch(
            f"{API_PREFIX}/users/{my_id}", json={"password": "three or four words"}
        ),
    }
    assert ways[end]().status_code == 200
    before = rows(world)
    for route, kind in ROUTES.items():
        if not isinstance(kind, Open):
            answer = kind.call(me.client, me.ids)
            assert (route, answer.status_code, json_of(answer)["code"]) == (route, 401, "token_revoked")
    assert rows(world) == before
    signing_in = ROUTES["POST /api/v1/auth/login"].call(me.client, me.ids)
    assert signing_in.status_code == (401 if end in ("deactivated", "another password") else 200)


def test_nobodys_sign_in_is_ended_by_another_person(
    world: World, sign_in: conftest.SignIn, person: Callable[[str, str], Person]
) -> None:
    me = person("admin", "another's")
    others = sign_in(world.all(User)[0])
    answer = me.client.delete(f"{API_PREFIX}/auth/sign_ins/{_sign_in_of(others)}")
    assert (answer.status_code, json_of(answer)["code"]) == (404, "not_found")
    assert others.get(f"{API_PREFIX}/auth/me").status_code == 200


@about_policies
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "PROPFIND"])
def test_a_method_that_a_route_does_not_have_is_405(
    app: Flask, world: World, sign_in: conftest.SignIn, method: str
) -> None:
    client = sign_in(world.user(role="admin"))
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    for rule in rules_of(app):
        values = {name: 1 if hasattr(rule._converters[name], "num_convert") else "1" for name in rule.arguments}
        address = adapter.build(rule.endpoint, values, method=min((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        answer = client.open(address, method=method)
        assert (address, answer.status_code, json_of(answer)["code"]) == (address, 405, "method_not_allowed")
