"""Every call of the OpenAPI document, with what it allows and with what it does not (Schemathesis).

All of its checks: statuses, headers, types and schemas of answers, errors for bad data, none for good data, sign-in,
methods, and chains of calls. Beside them that every error has a code which the document names for that call. Only
`POST /sync` answers bad items with 200: that each has its `invalid` entry is a check of ours. `POST /sync/device`
leaves wrong values out, and names them.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from argon2 import PasswordHasher
from flask import Flask
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis.engine import Status, events, from_schema
from schemathesis.generation.meta import TestPhase
from schemathesis.transport.wsgi import WSGITransport

from app import create_app
from app.accounts import passwords, tokens
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.models import User
from app.testing import PASSWORD, World
from tests.api.documents import answers_of, item_schema_of, validator_of
from tests.support.databases import sqlite_file
from tests.support.pictures import jpeg, png

METRICS_TOKEN = "for tests only, and long enough to be accepted"

#: The same calls in every run; about 3 900 of them.
SEED, EXAMPLES, STEPS = 1, 2, 4

#: What the document says of times and dates, images, and text, in Schemathesis' words.
schemathesis.openapi.format("date", st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 31)).map(str))
schemathesis.openapi.format(
    "date-time",
    st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2099, 12, 31)).map(lambda each: f"{each.isoformat()}Z"),
)
schemathesis.openapi.media_type("image/png", st.sampled_from([png(), png(colour="green")]))
schemathesis.openapi.media_type("image/jpeg", st.sampled_from([jpeg(), jpeg(colour="green")]))

#: The statuses of calls about items that were not applied, whose keys and values are made up.
UNDECIDED = ["2xx", "400", "403", "404", "409"]

CONFIGURATION = {
    "seed": SEED,
    # The transport to an application in this process does not decompress.
    "headers": {"Accept-Encoding": "identity"},
    "cache": {"enabled": False},
    "generation": {"max-examples": EXAMPLES, "allow-x00": False, "database": "none"},
    "phases": {
        # It takes keys of our errors for parameters that it has overlooked.
        "fuzzing": {"error-feedback": {"enabled": False}},
        "stateful": {"max-steps": STEPS},
    },
    "operations": [
        # 200 whatever its items are: see `bad_items_are_invalid_entries`.
        {"include-name": "POST /api/v1/sync", "checks": {"negative_data_rejection": {"enabled": False}}},
        {"include-name": "POST /api/v1/sync/device", "checks": {"negative_data_rejection": {"enabled": False}}},
        # A body may also be refused for its length, before it is looked into.
        {
            "include-name": "POST /api/v1/auth/login",
            "checks": {"negative_data_rejection": {"expected-statuses": ["400", "401", "413", "415", "429"]}},
        },
        # GET of this address asks for an item of this name, which cannot be there.
        {
            "include-name": "POST /api/v1/set_aside/decisions",
            "checks": {
                "allow_header_conformance": {"enabled": False},
                "positive_data_acceptance": {"expected-statuses": UNDECIDED},
            },
        },
        # Which keys go together is said in words, and no id that is made up names an item.
        {
            "include-path-regex": "^/api/v1/set_aside",
            "checks": {"positive_data_acceptance": {"expected-statuses": UNDECIDED}},
        },
        # Any text may be the `next` of an earlier page, as far as a schema can tell.
        {
            "include-name": "GET /api/v1/audit",
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403"]}},
        },
        # 200 whatever its items are, as for a batch.
        {"include-name": "POST /api/v1/rescue", "checks": {"negative_data_rejection": {"enabled": False}}},
        # Any text may be a cursor, as far as a schema can tell.
        {
            "include-name": "GET /api/v1/sync/changes",
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "410"]}},
        },
    ],
}


class Office:
    """The people and rows that calls are about, put right before each call: other calls change them."""

    def __init__(self, app: Flask) -> None:
        self.app, self.world, self.numbers = app, World(app), count()
        self.technician = self.world.user()
        self.admin = self.world.user("admin@example.com", "admin")
        # The last administrator could not be deactivated.
        self.second_admin = self.world.user("second@example.com", "admin")
        self.templates = [self.world.template().id for _ in range(3)]
        for template in self.templates:
            inspection = self.world.inspection(self.admin, self.technician)
            self.world.attachment(self.world.form_fill(inspection, form_template_id=template))

    def sign_in(self) -> dict[str, Any]:
        """Fresh tokens of an administrator."""
        with self.app.app_context():
            unit_of_work(self._restore_users)
            found = tokens.start_sign_in(db.session.get_one(User, self.admin.id), None)
            assert found is not None
            return found

    def _restore_users(self, _unit_id: str) -> None:
        for made in (self.technician, self.admin, self.second_admin):
            user = db.session.get_one(User, made.id)
            user.role, user.active = made.role, True

    def make_meaningful(self, label: str, body: Any) -> None:
        """What no schema can say: ids of rows that are there, passwords, addresses and names that are not taken yet."""
        if label.startswith("POST /api/v1/sync/upload_"):
            # It may leave all parts but the image empty.
            body |= {"form_fill_id": "1", "field_name": body["field_name"] or "Riser_Photo"}
        if "password" in body and label.endswith(("/users", "/users/{user_id}")):
            body["password"] = PASSWORD
        if label == "POST /api/v1/auth/password":
            body |= {"current_password": PASSWORD, "new_password": PASSWORD}
        if label == "POST /api/v1/rescue":
            body["user"] = {"id": self.technician.id, "email": self.technician.email}
        if label == "POST /api/v1/users":
            body["email"] = f"{next(self.numbers)}@example.com"
        if label == "POST /api/v1/form_templates":
            for number, field in enumerate(body["form_structure"]):
                field["name"] = f"{number} {field['name']}"[:255]
        if label in ("POST /api/v1/inspections", "PATCH /api/v1/inspections/{key}"):
            ids = {"owner_id": self.admin.id, "assignee_id": self.technician.id}
            body |= {name: value for name, value in ids.items() if body.get(name) is not None}
            if "form_template_ids" in body:
                body["form_template_ids"] = self.templates[: len(body["form_template_ids"])]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An application and its people. On SQLite alone: what is tested is what stands before the database."""
    with sqlite_file(tmp_path) as url:
        app = create_app(
            {
                "FIELDPOST_DATA_DIR": str(tmp_path),
                "DATABASE_URL": url,
                "FIELDPOST_LOG_LEVEL": "ERROR",
                "FIELDPOST_LOGIN_RATE": "1000000 per minute",
                "FIELDPOST_ACCOUNT_LOGIN_RATE": "1000000 per hour",
                "FIELDPOST_METRICS_TOKEN": METRICS_TOKEN,
            }
        )
        yield Office(app)
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some checks hand settings of connections on, for which the transport to an application has no use."""
    send = WSGITransport.send

    def send_without(transport: WSGITransport, case: Any, **settings: Any) -> Any:
        for name in ("max_redirects", "verify", "cert"):
            settings.pop(name, None)
        return send(transport, case, **settings)

    monkeypatch.setattr(WSGITransport, "send", send_without)


@pytest.fixture
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are set and compared as ever, without the time that a hash is to take."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    monkeypatch.setattr(passwords, "_NOBODY", passwords.hash_password("the password of nobody"))


def form_of(item: object) -> object:
    """What an item is apart from the values in its data: its type, and the JSON type of each of its keys."""
    if not isinstance(item, dict):
        return type(item)
    return str(item.get("type")), tuple(sorted((name, type(value)) for name, value in item.items()))


class OneOfEachForm:
    """Of the rescue files whose one item has another value at the same place, lets the first through.

    Their items are those of batches (`app/administration/rescue.py`), and go the same way once they have been read.
    There every value is tried, as an item of `POST /sync`.
    """

    def __init__(self) -> None:
        self._seen: set[object] = set()

    def __call__(self, case: Any) -> bool:
        if case.operation.label != "POST /api/v1/rescue" or case.meta.phase.name != TestPhase.COVERAGE:
            return True
        items = case.body.get("sync_items") if isinstance(case.body, dict) else None
        if not isinstance(items, list) or len(items) != 1:
            return True
        made = case.meta.phase.data
        kind = (case.method, case.meta.generation.mode, made.scenario, made.description, form_of(items[0]))
        is_first = kind not in self._seen
        self._seen.add(kind)
        return is_first


@pytest.fixture
def _one_of_each_form() -> Iterator[None]:
    is_new = OneOfEachForm()

    @schemathesis.hook
    def filter_case(context: Any, case: Any) -> bool:
        return is_new(case)

    yield
    schemathesis.hooks.unregister_all()


@pytest.fixture
def schema(office: Office, _no_connections: None) -> Iterator[Any]:
    """The document of the application, with our tokens, data and checks."""
    configuration = schemathesis.Config.from_dict(CONFIGURATION)
    found = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", office.app, config=configuration)
    document = found.raw_schema
    items = validator_of(document, item_schema_of(document))

    # An operation's calls are made before the first of them is sent, with the token of that time. Each has a sign-in of
    # its own, because others end theirs.
    @found.auth(cache_by_key=lambda case, context: case.operation.label)
    class Tokens:
        def get(self, case: Any, context: Any) -> str:
            if case.operation.path == "/metrics":
                return METRICS_TOKEN
            kind = "refresh_token" if case.operation.path.endswith("/auth/refresh") else "access_token"
            return str(office.sign_in()[kind])

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    @schemathesis.hook
    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        if case.meta is not None and not case.meta.generation.mode.is_negative and isinstance(case.body, dict):
            office.make_meaningful(case.operation.label, case.body)
            # Still good data; of itself it would now take an image's bytes for what is no text.
            case.meta.generation.mode = schemathesis.GenerationMode.POSITIVE

    @schemathesis.check
    def every_error_has_a_documented_code(context: Any, response: Any, case: Any) -> None:
        if response.status_code >= 400 and response.status_code != 405:
            operation = document["paths"][case.operation.path][case.operation.method]
            answer = answers_of(document, operation)[str(response.status_code)]
            assert response.json()["code"] in answer["content"]["application/json"]["examples"]

    @schemathesis.check
    def bad_items_are_invalid_entries(context: Any, response: Any, case: Any) -> None:
        # Other methods are tried, too.
        is_batch = case.operation.label == "POST /api/v1/sync" and response.request.method == "POST"
        if is_batch and response.status_code == 200:
            assert_bad_items_are_invalid(items, case.body, response.json()["results"])

    yield found
    schemathesis.hooks.unregister_all()


#: How many bad items have been seen.
BAD_ITEMS = Counter[str]()


def assert_bad_items_are_invalid(
    items: Draft202012Validator, body: Any, results: dict[str, list[dict[str, Any]]]
) -> None:
    entries = {each["index"]: each for each in results["errors"]}
    replayed = {each["index"] for each in results["success"] if each.get("replayed")}
    for index, item in enumerate(body["sync_items"]):
        # A retry is known without these two, whatever they are now.
        operation = item if index not in replayed else {**item, "made_at": None, "meta": None}
        if not items.is_valid(operation):
            assert entries[index]["code"] in ("invalid", "invalid_type"), (item, entries.get(index))
            BAD_ITEMS[entries[index]["code"]] += 1


def findings_of(schema: Any, calls: Counter[str]) -> Iterator[str]:
    """What Schemathesis finds; `calls` counts how often each operation was called."""
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            yield str(event)
        if isinstance(event, events.PhaseFinished) and event.status in (Status.ERROR, Status.INTERRUPTED):
            yield f"{event.phase.name}: {event.status}"
        if isinstance(event, events.ScenarioFinished):
            for key in event.recorder.interactions:
                label = event.recorder.cases[key].value.operation.label
                calls[label] += 1
                for check in event.recorder.checks.get(key, ()):
                    if check.failure_info is not None:
                        yield f"{label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"


@pytest.mark.usefixtures("_cheap_hashes", "_one_of_each_form")
def test_schemathesis_finds_nothing(schema: Any) -> None:
    calls = Counter[str]()
    findings = list(dict.fromkeys(findings_of(schema, calls)))
    assert not findings, "\n\n".join(each[:3000] for each in findings[:20])
    assert set(calls) == {each.ok().label for each in schema.get_all_operations()}
    assert sum(calls.values()) > 1000
    assert BAD_ITEMS["invalid"] > 50
    assert BAD_ITEMS["invalid_type"] > 0
