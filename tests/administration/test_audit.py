"""The audit log: who has signed in and administered, noted with the deed or not at all (contract, section 15)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.accounts.users import add_user
from app.core.ledger import audit
from app.core.ledger.record import Origin
from app.models import AuditEntry, FormFill, Inspection, User
from app.testing import push, statements_of
from tests.accounts.calls import DEVICE, LOGIN, LOGOUT, log_in, refresh
from tests.administration.conftest import DEVICE_ID
from tests.conftest import PASSWORD, SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.pages.browser import signed_in_browser
from tests.support.answers import json_of

API = "/api/v1"
NEW: dict[str, Any] = {
    "email": "new@example.com",
    "name": "Nora New",
    "role": "technician",
    "password": "long enough pw",
}


def entries(world: World, *actions: str) -> list[AuditEntry]:
    """The entries of these actions, oldest first; of all actions but sign-ins if none is named."""
    rows: list[AuditEntry] = world.all(AuditEntry)
    return [row for row in rows if (row.action in actions if actions else row.action != "signed_in")]


def listed(client: FlaskClient, query: str = "") -> dict[str, Any]:
    answer = client.get(f"{API}/audit{query}")
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = json_of(answer)["data"]
    return data


def fail(app: Flask, email: str, address: str = "192.0.2.1") -> int:
    body = {"email": email, "password": "not the password"}
    return app.test_client().post(LOGIN, json=body, environ_base={"REMOTE_ADDR": address}).status_code


class TestSignIns:
    def test_a_sign_in_tells_who_with_which_device_and_from_where(
        self, app: Flask, world: World, tech: User, clock: SettableClock
    ) -> None:
        log_in(app.test_client(), tech, device_id=DEVICE)
        (entry,) = world.all(AuditEntry)
        assert (entry.action, entry.door, entry.actor_id, entry.actor_email) == (
            *("signed_in", "rest", tech.id, tech.email),
        )
        assert (entry.at, entry.address, entry.device_id, entry.times) == (clock.time, "127.0.0.1", DEVICE, 1)

    def test_the_failures_of_a_day_are_one_entry_an_account_and_those_of_strangers_one_altogether(
        self, app: Flask, world: World, tech: User, clock: SettableClock
    ) -> None:
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            clock.forward(minutes=1)
            assert fail(app, tech.email, address) == 401
            assert fail(app, f"{address}@example.com", address) == 401
        account, strangers = world.all(AuditEntry)
        assert (account.action, account.times, account.address) == ("sign_in_failed", 3, "192.0.2.3")
        assert (account.actor_id, account.entity, account.entity_id) == (None, "user", str(tech.id))
        assert (account.last_at - account.at).total_seconds() == 120
        assert (strangers.times, strangers.entity, strangers.entity_id) == (3, None, None)
        clock.forward(days=1)
        fail(app, tech.email)
        assert len(world.all(AuditEntry)) == 3

    def test_a_failure_takes_the_same_statements_for_an_account_that_is_not_there(
        self, app: Flask, world: World, tech: User
    ) -> None:
        taken = []
        for email in (tech.email, "nobody@example.com", tech.email, "nobody@example.com"):
            with statements_of(app) as statements:
                fail(app, email)
            taken.append(statements)
        assert taken[0] == taken[1]
        assert taken[2] == taken[3]

    def test_failures_at_the_same_moment_are_all_counted(self, app: Flask, world: World, tech: User) -> None:
        with ThreadPoolExecutor(4) as pool:
            assert {*pool.map(lambda number: fail(app, tech.email, f"192.0.2.{number}"), range(8))} == {401}
        (entry,) = world.all(AuditEntry)
        assert entry.times == 8

    def test_a_limit_that_is_used_up_is_noted_once_an_hour(self, app: Flask, world: World, tech: User) -> None:
        assert [fail(app, tech.email) for _ in range(13)] == [401] * 10 + [429] * 3
        (entry,) = entries(world, "sign_in_throttled")
        assert (entry.times, entry.entity_id) == (1, str(tech.id))

    def test_the_copy_of_a_token_is_noted_with_the_end_of_the_sign_in(
        self, app: Flask, world: World, tech: User, clock: SettableClock
    ) -> None:
        client = app.test_client()
        stolen = log_in(client, tech, device_id=DEVICE)["refresh_token"]
        following = json_of(refresh(client, stolen))["refresh_token"]
        refresh(client, following)
        clock.forward(minutes=2)
        for _ in range(2):
            assert refresh(client, stolen).status_code == 401
        (entry,) = entries(world)
        assert (entry.action, entry.actor_id, entry.entity_id, entry.device_id) == (
            *("refresh_token_reused", None, str(tech.id), DEVICE),
        )

    def test_password_and_sign_ins_that_people_end(
        self, world: World, tech: User, phone: FlaskClient, office: FlaskClient
    ) -> None:
        (device,) = json_of(office.get(f"{API}/devices"))["data"]["devices"]
        assert office.delete(f"{API}/devices/{device['id']}/sign_ins").status_code == 200
        assert office.delete(f"{API}/devices/{device['id']}/sign_ins").status_code == 200
        new = {"current_password": PASSWORD, "new_password": "three or four words"}
        assert office.post(f"{API}/auth/password", json=new).status_code == 200
        told = [(row.action, row.actor_email, row.entity_id, row.details) for row in entries(world)]
        admin_id = str(entries(world)[1].actor_id)
        assert told == [
            ("sign_ins_ended", "admin@example.com", str(tech.id), {"count": 1}),
            ("password_changed", "admin@example.com", admin_id, {}),
        ]

    def test_a_sign_out_is_noted_once_by_either_door(
        self, app: Flask, world: World, tech: User, sign_in: SignIn, phone: FlaskClient
    ) -> None:
        assert [phone.post(LOGOUT).status_code for _ in range(2)] == [200, 401]
        signed_in_browser(app, tech).send("/my-account", "/sign-out")
        told = [(row.action, row.door, row.actor_email, row.device_id) for row in entries(world)]
        assert told == [("signed_out", "rest", tech.email, DEVICE_ID), ("signed_out", "page", tech.email, None)]

    def test_wrong_present_passwords_of_a_day_are_one_entry_of_the_person(
        self, world: World, tech: User, phone: FlaskClient
    ) -> None:
        wrong = {"current_password": "not the password", "new_password": "three or four words"}
        assert [phone.post(f"{API}/auth/password", json=wrong).status_code for _ in range(2)] == [400, 400]
        (entry,) = entries(world)
        assert (entry.action, entry.door, entry.times) == ("password_change_failed", "rest", 2)
        assert (entry.actor_email, entry.entity_id) == (tech.email, str(tech.id))


class TestAdministration:
    def test_a_single_inspection_that_gets_other_people_is_noted_and_no_other_change_of_it(
        self, world: World, office: FlaskClient, tech: User, stranger: User, inspection: Inspection
    ) -> None:
        address = f"{API}/inspections/{inspection.id}"
        for change in ({"assignee_id": stranger.id}, {"assignee_id": stranger.id, "notes": "x"}, {"assignee_id": None}):
            assert office.patch(address, json=change).status_code == 200
        told = [(row.action, row.entity, row.entity_id, row.details) for row in entries(world)]
        assert told == [
            ("inspection_assigned", "inspection", str(inspection.id), {"assignee_id": stranger.id}),
            ("inspection_assigned", "inspection", str(inspection.id), {"assignee_id": None}),
        ]

    def test_each_change_of_a_user_is_named(self, world: World, office: FlaskClient, tech: User) -> None:
        change = {"role": "user", "active": False, "name": "Other", "password": "three or four words"}
        assert office.patch(f"{API}/users/{tech.id}", json=change).status_code == 200
        assert office.patch(f"{API}/users/{tech.id}", json={"active": True, "role": "user"}).status_code == 200
        told = [(row.action, row.details) for row in entries(world)]
        assert told == [
            ("user_role_changed", {"from": "technician", "to": "user"}),
            ("user_deactivated", {}),
            ("user_renamed", {}),
            ("password_set", {}),
            ("user_reactivated", {}),
        ]
        assert {(row.entity, row.entity_id, row.actor_email, row.door) for row in entries(world)} == {
            ("user", str(tech.id), "admin@example.com", "rest")
        }

    def test_what_was_refused_is_not_noted(self, world: World, office: FlaskClient, admin: User) -> None:
        assert office.patch(f"{API}/users/{admin.id}", json={"active": False}).status_code == 400
        assert office.post(f"{API}/users", json={**NEW, "email": admin.email}).status_code == 400
        assert entries(world) == []

    def test_what_cannot_be_noted_is_not_done(self, app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit, "entry", _broken)
        with app.app_context(), pytest.raises(RuntimeError):
            add_user(Origin(door="cli"), **NEW)
        assert world.all(User) == []

    def test_the_deeds_of_administrators(
        self, world: World, office: FlaskClient, tech: User, phone: FlaskClient, inspection: Inspection
    ) -> None:
        (user, template) = (
            json_of(office.post(f"{API}/{name}", json=body))["data"]
            for name, body in (
                ("users", NEW),
                ("form_templates", {"name": "T", "form_structure": [{"name": "a", "type": "text"}]}),
            )
        )
        refused = {"type": "inspection", "local_id": "1", "data": {"id": inspection.id, "status": "none"}}
        assert push(phone, refused)["errors"]
        (item,) = json_of(office.get(f"{API}/set_aside"))["data"]["set_aside"]
        decision = {"decision": "discard", "reason": "no"}
        assert office.post(f"{API}/set_aside/{item['id']}/decision", json=decision).status_code == 200
        sender = {"id": tech.id, "email": tech.email}
        file = {"fieldpost_rescue": 1, "user": sender, "device_id": DEVICE_ID, "sync_items": [refused]}
        assert office.post(f"{API}/rescue", json=file).status_code == 200
        assert office.delete(f"{API}/inspections/{inspection.id}").status_code == 200
        told = [(row.action, row.entity, row.entity_id, row.details) for row in entries(world)]
        template_id = template["form_template"]["id"]
        assert told == [
            ("user_created", "user", str(user["user"]["id"]), {"role": "technician"}),
            ("form_template_created", "form_template", str(template_id), {"name": "T"}),
            ("set_aside_decided", "set_aside", item["id"], {"decision": "discarded", "count": 1}),
            ("rescue_read_in", "user", str(tech.id), {"items": 1}),
            ("inspection_deleted", "inspection", str(inspection.id), {}),
        ]
        assert {row.actor_email for row in entries(world)} == {"admin@example.com"}

    def test_a_batch_of_a_device_notes_nothing(self, world: World, phone: FlaskClient, form_fill: FormFill) -> None:
        before = len(world.all(AuditEntry))
        assert push(phone, edit(form_fill, a=1))["success"]
        assert len(world.all(AuditEntry)) == before


class TestReading:
    def test_pages_by_key_have_every_entry_once_and_the_newest_first(
        self, office: FlaskClient, clock: SettableClock
    ) -> None:
        for number in range(3):
            clock.forward(minutes=number)
            office.post(f"{API}/users", json={**NEW, "email": f"{number}@example.com"})
        whole = [entry["id"] for entry in listed(office)["audit"]]
        assert whole == sorted(whole, reverse=True)
        pieces: list[int] = []
        after = ""
        while True:
            page = listed(office, f"?per_page=2{after}")
            pieces.extend(entry["id"] for entry in page["audit"])
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert pieces == whole
        assert len(whole) == 4
        assert office.get(f"{API}/audit?after=3").status_code == 400

    def test_filters(self, office: FlaskClient, admin: User, sign_in: SignIn, tech: User, clock: SettableClock) -> None:
        clock.forward(minutes=10)
        sign_in(tech)
        office.post(f"{API}/users", json=NEW)

        def actions(query: str) -> list[str]:
            return [entry["action"] for entry in listed(office, query)["audit"]]

        assert actions("") == ["user_created", "signed_in", "signed_in"]
        assert actions(f"?actor_id={tech.id}") == ["signed_in"]
        assert actions("?action=user_created") == ["user_created"]
        assert actions("?from=2024-03-15T10:40:00Z") == ["user_created", "signed_in"]
        assert actions(f"?to=2024-03-15T10:40:00Z&actor_id={admin.id}") == ["signed_in"]
        for wrong in ("action=sleep", "from=yesterday", "page=1"):
            assert office.get(f"{API}/audit?{wrong}").status_code == 400, wrong

    def test_the_command_line_lists_the_oldest_first(
        self, app: Flask, office: FlaskClient, admin: User, clock: SettableClock
    ) -> None:
        clock.forward(minutes=10)
        office.post(f"{API}/users", json=NEW)

        def run(*arguments: str) -> list[str]:
            result = app.test_cli_runner().invoke(args=["audit", *arguments])
            assert result.exit_code == 0, result.output
            return list(result.output.splitlines())

        first, second = run()
        assert first.split("\t")[:4] == ["2024-03-15T10:30:00.000Z", "rest", admin.email, "signed_in"]
        assert second.split("\t")[3:] == [
            *("user_created", f"user {admin.id + 1}", '{"role":"technician"}', "127.0.0.1"),
        ]
        assert run("--since", "2024-03-15T10:40:00") == run("--action", "user_created") == [second]
        assert [json.loads(line)["action"] for line in run("--json", "--actor", admin.email)] == [
            *("signed_in", "user_created"),
        ]
        strange = app.test_cli_runner().invoke(args=["audit", "--actor", "nobody@example.com"])
        assert "There is no user nobody@example.com" in strange.output


@pytest.mark.database("sqlite")
def test_old_entries_go_with_the_maintenance(
    app: Flask, world: World, office: FlaskClient, clock: SettableClock
) -> None:
    clock.forward(days=399)
    assert "audit log: removed 0\n" in app.test_cli_runner().invoke(args=["maintenance"]).output
    clock.forward(days=2)
    assert "audit log: removed 1\n" in app.test_cli_runner().invoke(args=["maintenance"]).output
    assert world.all(AuditEntry) == []


def _broken(*_: object, **__: object) -> Any:
    raise RuntimeError
