"""The office decides while phones send again, in any order: each operation once, and nothing is ever gone."""

from __future__ import annotations

import os
from itertools import count
from typing import Any
from uuid import uuid4

from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from app.clock import to_wire
from app.core.database.engine import db
from app.models import FormFill, LedgerEntry, LedgerOperation, SetAside
from app.testing import World, push, sign_in
from tests.conftest import SettableClock
from tests.core.sync.conftest import edit
from tests.support.answers import json_of

IS_LONG = "TEST_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "6"))

phones = st.integers(0, 1)
which = st.integers(0, 99)
decisions = st.sampled_from(["apply", "change", "discard"])


class People:
    """A technician with two phones, the owner, and an administrator; they stay the same for all examples."""

    def __init__(self, app: Flask, clock: SettableClock) -> None:
        self.app, self.clock, self.world = app, clock, World(app)
        self._owner, self.tech = self.world.user("owner@example.com", "user"), self.world.user("tech@example.com")
        self._admin = self.world.user("admin@example.com", "admin")
        self.inspection = self.world.inspection(self._owner, self.tech)
        self.template = self.world.template()

    def sign_in(self) -> None:
        """Sign all of them in: the clock has gone on since the example before."""
        self.owner, self.admin = sign_in(self.app, self._owner), sign_in(self.app, self._admin)
        self.device_ids = [str(uuid4()) for _ in range(2)]
        self.phones = [sign_in(self.app, self.tech, device_id) for device_id in self.device_ids]


class Inbox(RuleBasedStateMachine):
    """What phones and the office do about one form."""

    people: People

    def __init__(self) -> None:
        super().__init__()
        self.people.sign_in()
        self.numbers = count(1)
        self.form_fill: FormFill = self.people.world.form_fill(self.people.inspection, self.people.template, data={})
        #: What each phone has sent, and the version of the form that it holds.
        self.sent: list[list[dict[str, Any]]] = [[], []]
        self.held = [to_wire(self.form_fill.updated_at)] * 2
        #: local_id -> the message of its first success; and those that were once not applied.
        self.told: dict[str, str] = {}
        self.missed: set[str] = set()

    @rule(phone=phones, is_current=st.booleans(), kind=st.sampled_from(["plain", "merge", "use_server", "wrong"]))
    def edit(self, phone: int, is_current: bool, kind: str) -> None:
        if is_current:
            self.held[phone] = self._version()
        item = edit(self.form_fill, self.held[phone], a=next(self.numbers))
        if kind == "wrong":
            item["type"] = "unheard_of"
        elif kind != "plain":
            item["data"]["resolve_strategy"] = kind
        self.sent[phone].append(item)
        self._push(phone, [item])

    @rule(phone=phones, which=which, size=st.integers(1, 3))
    def send_again(self, phone: int, which: int, size: int) -> None:
        sent = self.sent[phone]
        if sent:
            start = which % len(sent)
            self._push(phone, sent[start : start + size])

    @rule(phone=phones, which=which, size=st.integers(1, 3))
    def read_in_a_rescue_file(self, phone: int, which: int, size: int) -> None:
        sent = self.sent[phone]
        if sent:
            self._read_in(phone, sent[which % len(sent) :][:size])

    @rule()
    def change_by_the_owner(self) -> None:
        push(self.people.owner, edit(self.form_fill, a=next(self.numbers)))

    @rule(is_assigned=st.booleans())
    def assign(self, is_assigned: bool) -> None:
        people = self.people
        body = {"assignee_id": people.tech.id if is_assigned else None}
        assert people.admin.patch(f"/api/v1/inspections/{people.inspection.id}", json=body).status_code == 200

    @rule(which=which, decision=decisions, is_owner=st.booleans(), is_current=st.booleans())
    def decide(self, which: int, decision: str, is_owner: bool, is_current: bool) -> None:
        """Also what was decided or solved long ago: a page may have been open since."""
        rows = self._rows()
        if not rows:
            return
        row = rows[which % len(rows)]
        client = self.people.owner if is_owner and row.inspection_id is not None else self.people.admin
        body: dict[str, Any] = {"decision": decision}
        if decision == "change":
            body["changes"] = {"changes": {"a": next(self.numbers)}}
        if is_current and decision != "discard":
            body["updated_at"] = self._version()
        answer = client.post(f"/api/v1/set_aside/{row.id}/decision", json=body)
        codes = {"stale", "already_decided", "refused"}
        assert answer.status_code == 200 or json_of(answer)["code"] in codes, answer.text

    @rule(decision=st.sampled_from(["apply", "discard"]), which=which)
    def decide_many(self, decision: str, which: int) -> None:
        ids = [row.id for row in self._rows()[which % 3 :]]
        if ids:
            body = {"decision": decision, "ids": ids}
            assert self.people.admin.post("/api/v1/set_aside/decisions", json=body).status_code == 200

    @rule(seconds=st.sampled_from([1, 40]))
    def wait(self, seconds: int) -> None:
        self.people.clock.forward(seconds=seconds)

    @invariant()
    def each_operation_is_applied_once_at_most_and_nothing_is_gone(self) -> None:
        mine = {item["local_id"] for sent in self.sent for item in sent}
        with self.people.app.app_context():
            heads = [head for head in db.session.scalars(select(LedgerOperation)) if head.local_id in mine]
            entries = {(entry.unit_id, entry.position) for entry in db.session.scalars(select(LedgerEntry))}
            db.session.expunge_all()
        by_id = {head.local_id: head for head in heads}
        assert len(by_id) == len(heads), "an operation was applied twice"
        states = {row["local_id"]: row for row in self._listed()}
        for head in heads:
            if (head.result or {}).get("result") == {"discarded": True}:
                assert (head.unit_id, head.position) not in entries, "it was discarded and applied"
        for local_id in self.missed:
            row, own = states[local_id], by_id.get(local_id)
            is_decided = own is not None and own.decided_by_id is not None
            is_discarded = own is not None and own.result == {"result": {"discarded": True}}
            assert (row["state"] == "decided", row["decision"] == "discarded") == (is_decided, is_discarded)
            assert row["state"] != "open" or own is None
            assert row["state"] == "superseded" or own is None or is_decided
        assert self.told.keys() <= by_id.keys(), "an acknowledged operation is gone"

    def _push(self, phone: int, items: list[dict[str, Any]]) -> None:
        results = push(self.people.phones[phone], *items)
        for entry in results["success"]:
            assert self.told.setdefault(entry["local_id"], entry["message"]) == entry["message"]
        for entry in [*results["errors"], *results["conflicts"]]:
            assert entry["local_id"] not in self.told, "it was applied before"
            self.missed.add(entry["local_id"])

    def _read_in(self, phone: int, items: list[dict[str, Any]]) -> None:
        tech = self.people.tech
        head = {"fieldpost_rescue": 1, "user": {"id": tech.id, "email": tech.email}}
        document = {**head, "device_id": self.people.device_ids[phone], "sync_items": items}
        answer = self.people.admin.post("/api/v1/rescue", json=document)
        assert answer.status_code == 200, answer.text
        for result in json_of(answer)["data"]["results"]:
            if result["result"] in ("applied", "replayed"):
                assert self.told.setdefault(result["local_id"], result["message"]) == result["message"]
            else:
                assert result["local_id"] not in self.told, "it was applied before"
                self.missed.add(result["local_id"])

    def _version(self) -> str:
        return to_wire(self.people.world.get(FormFill, self.form_fill.id).updated_at)

    def _rows(self) -> list[SetAside]:
        return [row for row in self.people.world.all(SetAside) if row.local_id in self.missed]

    def _listed(self) -> list[dict[str, Any]]:
        answer = self.people.admin.get("/api/v1/set_aside?state=all&per_page=200")
        rows: list[dict[str, Any]] = json_of(answer)["data"]["set_aside"]
        return [row for row in rows if row["local_id"] in self.missed]

    def teardown(self) -> None:
        self.assign(is_assigned=True)


def test_phones_and_the_office_in_any_order(app: Flask, clock: SettableClock) -> None:
    class InboxOfPeople(Inbox):
        people = People(app, clock)

    run_state_machine_as_test(
        InboxOfPeople,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            derandomize=not IS_LONG,
            phases=tuple(Phase) if IS_LONG else (Phase.generate,),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
