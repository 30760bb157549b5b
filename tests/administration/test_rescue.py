"""Rescue files: the queue of a device that cannot sync by itself (contract, section 14)."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import FormFill, Inspection, LedgerOperation, SetAside, SyncHour, User, UserSync
from app.testing import push, statements_of
from tests.administration.conftest import DEVICE_ID
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.racers import race
from tests.support.answers import json_of
from tests.support.cases import cases


def file_of(user: User, *items: Any, device_id: str | None = DEVICE_ID, **head: Any) -> dict[str, Any]:
    sender = {"id": user.id, "email": user.email, "name": user.name, "role": user.role}
    return {"fieldpost_rescue": 1, "user": sender, "device_id": device_id, "sync_items": [*items], **head}


def read_in(client: FlaskClient, document: Any) -> Any:
    answer = client.post("/api/v1/rescue", json=document)
    assert answer.status_code == 200, answer.text
    return json_of(answer)["data"]


def results_of(client: FlaskClient, document: Any) -> list[str]:
    return [entry["result"] for entry in read_in(client, document)["results"]]


def data_of(world: World, form_fill: FormFill) -> Any:
    return world.get(FormFill, form_fill.id).data


def heads_of(world: World, item: dict[str, Any]) -> list[LedgerOperation]:
    return [row for row in world.all(LedgerOperation) if row.local_id == item["local_id"]]


class TestIdentity:
    def test_the_phone_s_retry_is_a_replay_of_its_own_operation(
        self, world: World, office: FlaskClient, phone: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        item = {**edit(form_fill, a=1), "made_at": "2024-03-15T09:00:00.000Z", "meta": {"accuracy": 8}}
        rescued = read_in(office, file_of(tech, item, saved_at="2024-03-15T10:00:00Z"))
        assert (rescued["user"], rescued["device_id"]) == ({"id": tech.id, "name": tech.name}, DEVICE_ID)
        assert rescued["saved_at"] == "2024-03-15T10:00:00.000Z"
        assert rescued["counts"] == {"applied": 1, "replayed": 0, "conflict": 0, "refused": 0}
        assert rescued["results"] == [
            {
                **{name: item[name] for name in ("local_id", "type")},
                **{"index": 0, "result": "applied", "server_id": form_fill.id},
                "message": "FormFill updated successfully",
            }
        ]
        (entry,) = push(phone, item)["success"]
        assert (entry["replayed"], entry["message"]) == (True, "FormFill updated successfully")
        assert "decided_by" not in entry
        (head,) = heads_of(world, item)
        assert (head.user_id, head.device_id, head.door) == (tech.id, DEVICE_ID, "rescue")
        assert head.made_at is not None
        assert (to_wire(head.made_at), head.meta) == (item["made_at"], item["meta"])
        assert data_of(world, form_fill) == {"a": 1, "b": 0}

    def test_what_the_phone_has_sent_already_and_a_second_reading_change_nothing(
        self, world: World, office: FlaskClient, phone: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        first, second = edit(form_fill, a=1), edit(form_fill, a=2)
        push(phone, first)
        assert results_of(office, file_of(tech, first, second)) == ["replayed", "applied"]
        recorded = world.recorded()
        assert results_of(office, file_of(tech, first, second)) == ["replayed", "replayed"]
        assert world.recorded() == recorded
        assert data_of(world, form_fill) == {"a": 2, "b": 0}

    def test_later_edits_of_the_phone_meet_their_own_change_and_no_conflict(
        self, world: World, office: FlaskClient, phone: FlaskClient, tech: User, form_fill: FormFill,
        clock: SettableClock,
    ) -> None:  # fmt: skip
        held = to_wire(form_fill.updated_at)
        clock.forward(minutes=1)
        read_in(office, file_of(tech, edit(form_fill, held, a=1)))
        clock.forward(minutes=1)
        assert len(push(phone, edit(form_fill, held, a=2))["success"]) == 1
        assert data_of(world, form_fill) == {"a": 2, "b": 0}

    def test_the_history_names_the_sender_and_who_has_read_it_in(
        self, world: World, office: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        read_in(office, file_of(tech, edit(form_fill, a=1)))
        history = json_of(office.get(f"/api/v1/form_fills/{form_fill.id}/history"))["data"]["history"]
        (reader,) = [user.id for user in world.all(User) if user.role == "admin"]
        assert [history[0][name] for name in ("user_id", "device_id", "door", "decided_by", "read_in_by")] == [
            *(tech.id, DEVICE_ID, "rescue", None, reader)
        ]

    def test_a_new_inspection_belongs_to_its_sender(self, world: World, office: FlaskClient, tech: User) -> None:
        data = {"client_id": str(uuid4()), "date": "2024-03-20", "form_template_ids": [world.template().id]}
        item = {"type": "inspection", "local_id": "new", "data": data}
        assert results_of(office, file_of(tech, item)) == ["applied"]
        (made,) = [row for row in world.all(Inspection) if row.client_id == data["client_id"]]
        assert (made.owner_id, made.assignee_id) == (tech.id, tech.id)

    def test_it_is_no_sync_of_the_device(
        self, world: World, office: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        hours = len(world.all(SyncHour))
        read_in(office, file_of(tech, edit(form_fill, a=1)))
        assert tech.id not in {row.user_id for row in world.all(UserSync)}
        assert len(world.all(SyncHour)) == hours


class TestRights:
    def test_a_sender_reads_in_their_own_file_with_another_device(
        self, world: World, sign_in: SignIn, tech: User, form_fill: FormFill
    ) -> None:
        item = edit(form_fill, a=1)
        assert results_of(sign_in(tech, str(uuid4())), file_of(tech, item)) == ["applied"]
        (head,) = heads_of(world, item)
        assert (head.user_id, head.device_id, head.read_in_by_id) == (tech.id, DEVICE_ID, None)

    def test_nobody_but_administrators_reads_in_somebody_else_s(
        self, world: World, other: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        recorded = world.recorded()
        for sender in ({"id": tech.id, "email": tech.email}, {"id": 4711, "email": "nobody@example.com"}):
            answer = other.post("/api/v1/rescue", json={**file_of(tech, edit(form_fill, a=1)), "user": sender})
            assert (answer.status_code, json_of(answer)["code"]) == (403, "forbidden")
        assert world.recorded() == recorded

    def test_a_file_of_another_server_is_refused(
        self, world: World, office: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        recorded = world.recorded()
        for sender in ({"id": tech.id, "email": "x@example.com"}, {"id": 4711, "email": tech.email}):
            answer = office.post("/api/v1/rescue", json={**file_of(tech, edit(form_fill, a=1)), "user": sender})
            assert (answer.status_code, json_of(answer)["code"]) == (404, "not_found")
        assert world.recorded() == recorded

    def test_the_rights_of_the_sender_count_and_the_office_decides_about_the_rest(
        self, world: World, office: FlaskClient, phone: FlaskClient, tech: User, owner: User, form_fill: FormFill
    ) -> None:
        lost = world.form_fill(world.inspection(owner), data={"a": 0})
        items = [edit(lost, a=number) for number in range(3)]
        rescued = read_in(office, file_of(tech, *items, edit(form_fill, a=1)))
        assert [entry["result"] for entry in rescued["results"]] == [*["refused"] * 3, "applied"]
        assert rescued["results"][0]["code"] == "forbidden"
        assert {(row.user_id, row.device_id, row.code) for row in world.all(SetAside)} == {
            (tech.id, DEVICE_ID, "forbidden")
        }
        body = {"decision": "apply", "filter": {"user_id": tech.id}, "count": 3}
        assert office.post("/api/v1/set_aside/decisions", json=body).status_code == 200
        assert data_of(world, lost) == {"a": 2}
        assert [entry["replayed"] for entry in push(phone, *items)["success"]] == [True] * 3

    def test_the_work_of_somebody_who_was_deactivated_waits_for_a_decision(
        self, world: World, office: FlaskClient, phone: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        sent = edit(form_fill, b=1)
        push(phone, sent)
        assert office.patch(f"/api/v1/users/{tech.id}", json={"active": False}).status_code == 200
        new = {
            "type": "inspection",
            "local_id": "new",
            "data": {"client_id": str(uuid4()), "date": "2024-03-20", "form_template_ids": [world.template().id]},
        }
        rescued = read_in(office, file_of(tech, sent, edit(form_fill, a=1), new))
        assert [(entry["result"], entry.get("code")) for entry in rescued["results"]] == [
            *(("replayed", None), ("refused", "forbidden"), ("refused", "forbidden"))
        ]
        assert data_of(world, form_fill) == {"a": 0, "b": 1}
        body = {"decision": "apply", "filter": {}, "count": 2}
        answer = office.post("/api/v1/set_aside/decisions", json=body)
        assert [result["result"] for result in json_of(answer)["data"]["results"]] == ["decided"] * 2
        assert data_of(world, form_fill) == {"a": 1, "b": 1}

    @pytest.mark.parametrize("change", [{"role": "technician"}, {"active": False}])
    def test_an_administrator_who_ceases_to_be_one_meanwhile_reads_in_nothing(
        self, app: Flask, world: World, office: FlaskClient, sign_in: SignIn, tech: User, form_fill: FormFill,
        change: dict[str, Any],
    ) -> None:  # fmt: skip
        second = world.user("second@example.com", "admin")
        reader = sign_in(second)
        item = edit(form_fill, a=1)
        end = partial(office.patch, f"/api/v1/users/{second.id}", json=change)
        ended, answer = race(app, end, partial(reader.post, "/api/v1/rescue", json=file_of(tech, item)))
        assert (ended.status_code, answer.status_code) == (200, 403)
        assert heads_of(world, item) == []


class TestItems:
    def test_each_item_has_its_result_and_what_was_not_applied_is_set_aside(
        self, world: World, office: FlaskClient, other: FlaskClient, phone: FlaskClient, tech: User,
        form_fill: FormFill, clock: SettableClock,
    ) -> None:  # fmt: skip
        held = to_wire(form_fill.updated_at)
        clock.forward(minutes=1)
        push(other, edit(form_fill, a="owner"))
        clock.forward(minutes=1)
        conflict, unknown = edit(form_fill, held, a="phone"), {"type": "unheard_of", "local_id": "1", "data": {}}
        rescued = read_in(office, file_of(tech, conflict, edit(form_fill, b=1), unknown, 5))
        entries = rescued["results"]
        assert [entry["index"] for entry in entries] == [0, 1, 2, 3]
        assert [entry["result"] for entry in entries] == ["conflict", "applied", "refused", "refused"]
        assert [entry.get("code") for entry in entries] == [None, None, "invalid_type", "invalid"]
        assert rescued["counts"] == {"applied": 1, "replayed": 0, "conflict": 1, "refused": 2}
        push(phone, conflict, unknown, 5)
        assert len(world.all(SetAside)) == 3

    def test_a_value_that_cannot_be_kept_refuses_its_item_alone(
        self, world: World, office: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        assert results_of(office, file_of(tech, edit(form_fill, a="\0"), edit(form_fill, a=1))) == [
            *("refused", "applied")
        ]

    def test_a_device_without_a_name_is_taken_for_the_same(
        self, world: World, office: FlaskClient, sign_in: SignIn, tech: User, form_fill: FormFill
    ) -> None:
        item = edit(form_fill, a=1)
        assert results_of(office, file_of(tech, item, device_id=None)) == ["applied"]
        assert push(sign_in(tech), item)["success"][0]["replayed"]

    def test_the_number_of_statements_does_not_depend_on_the_number_of_items(
        self, app: Flask, office: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        counts = set()
        for size in (1, 20):
            document = file_of(tech, *(edit(form_fill, a=str(uuid4())) for _ in range(size)))
            with statements_of(app) as statements:
                read_in(office, document)
            counts.add(len(statements))
        assert len(counts) == 1, counts


class TestLong:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "FIELDPOST_MAX_BATCH_ITEMS": "3"}

    def test_a_long_file_goes_batch_by_batch(
        self, world: World, office: FlaskClient, tech: User, form_fill: FormFill
    ) -> None:
        held = to_wire(form_fill.updated_at)
        items = [edit(form_fill, held, a=number) for number in range(8)]
        rescued = read_in(office, file_of(tech, *items))
        assert [entry["index"] for entry in rescued["results"]] == [*range(8)]
        assert rescued["counts"]["applied"] == 8
        assert data_of(world, form_fill)["a"] == 7
        answer = office.post("/api/v1/rescue", json=file_of(tech, *items * 4))
        assert (answer.status_code, json_of(answer)["code"], json_of(answer)["limit"]) == (413, "too_many_items", 30)


@cases(
    "head",
    [
        {"fieldpost_rescue": 2},
        {"fieldpost_rescue": None},
        {"user": {"id": 1}},
        {"user": None},
        {"user": {"id": 1, "email": "a\0"}},
        {"device_id": "my phone"},
        {"device_id": DEVICE_ID + "\n"},
        {"saved_at": "yesterday"},
        {"sync_items": {}},
        {"sync_items": None},
    ],
)
def test_what_is_no_rescue_file_is_refused(office: FlaskClient, tech: User, head: dict[str, Any]) -> None:
    answer = office.post("/api/v1/rescue", json={**file_of(tech), **head})
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid"), answer.text


def test_keys_are_required(office: FlaskClient, tech: User) -> None:
    for name in ("fieldpost_rescue", "user", "device_id", "sync_items"):
        document = file_of(tech)
        del document[name]
        answer = office.post("/api/v1/rescue", json=document)
        assert (answer.status_code, [*json_of(answer)["details"]]) == (400, [name])
    assert office.post("/api/v1/rescue", json=[]).status_code == 400


class TestRaces:
    """The phone against the file, step by step on two connections."""

    @pytest.mark.parametrize("is_phone_first", [True, False])
    def test_the_second_is_a_replay(
        self, app: Flask, world: World, office: FlaskClient, phone: FlaskClient, tech: User, form_fill: FormFill,
        is_phone_first: bool,
    ) -> None:  # fmt: skip
        items = [edit(form_fill, a=1), edit(form_fill, b=2)]
        send, rescue = partial(push, phone, *items), partial(results_of, office, file_of(tech, *items))
        first, second = race(app, *((send, rescue) if is_phone_first else (rescue, send)))
        results, rescued = (first, second) if is_phone_first else (second, first)
        assert [entry.get("replayed", False) for entry in results["success"]] == [not is_phone_first] * 2
        assert rescued == ["replayed" if is_phone_first else "applied"] * 2
        assert [len(heads_of(world, item)) for item in items] == [1, 1]
        assert data_of(world, form_fill) == {"a": 1, "b": 2}

    @pytest.mark.parametrize("is_phone_first", [True, False])
    def test_a_new_inspection_is_made_once(
        self, app: Flask, world: World, office: FlaskClient, phone: FlaskClient, tech: User, is_phone_first: bool
    ) -> None:
        data = {"client_id": str(uuid4()), "date": "2024-03-20", "form_template_ids": [world.template().id]}
        item = {"type": "inspection", "local_id": "new", "data": data}
        send, rescue = partial(push, phone, item), partial(results_of, office, file_of(tech, item))
        first, second = race(app, *((send, rescue) if is_phone_first else (rescue, send)))
        results, rescued = (first, second) if is_phone_first else (second, first)
        assert results["success"][0].get("replayed", False) is not is_phone_first
        assert rescued == ["replayed" if is_phone_first else "applied"]
        assert len(heads_of(world, item)) == 1
        assert len([row for row in world.all(Inspection) if row.client_id == data["client_id"]]) == 1
