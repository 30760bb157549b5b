"""Items that were not applied: who sees them, and what the office decides about them (contract, section 12)."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from app.administration.set_aside import Filters, count_decidable, decidable_among, listing, place_fields
from app.clock import to_wire
from app.core.database.engine import db
from app.core.ledger.set_aside import keep_up
from app.models import FormFill, LedgerOperation, SetAside, User
from app.testing import push, statements_of
from tests.administration.conftest import DEVICE_ID
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.racers import race
from tests.support.answers import json_of


@pytest.fixture
def lost(world: World, owner: User) -> FormFill:
    """A form fill of the same owner that is not the technician's any more."""
    return world.form_fill(world.inspection(owner), data={"a": 0})


@pytest.fixture
def conflict(phone: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock) -> dict[str, Any]:
    """The item that met the owner's change of the same field."""
    held = to_wire(form_fill.updated_at)
    clock.forward(minutes=1)
    push(other, edit(form_fill, a="owner"))
    clock.forward(minutes=1)
    item = edit(form_fill, held, a="phone", c="phone")
    assert len(push(phone, item)["conflicts"]) == 1
    return item


@pytest.fixture
def refusal(phone: FlaskClient, lost: FormFill) -> dict[str, Any]:
    """An item of the technician's that is forbidden by now."""
    item = edit(lost, a="phone")
    assert push(phone, item)["errors"][0]["code"] == "forbidden"
    return item


def listed(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json_of(client.get(f"/api/v1/set_aside{query}"))["data"]["set_aside"]
    return rows


def key_of(client: FlaskClient, item: dict[str, Any]) -> str:
    keys = [row["id"] for row in listed(client, "?state=all") if row["local_id"] == item["local_id"]]
    assert len(keys) == 1
    return str(keys[0])


def decide(client: FlaskClient, item: dict[str, Any], decision: str, **more: Any) -> Any:
    return client.post(f"/api/v1/set_aside/{key_of(client, item)}/decision", json={"decision": decision, **more})


def one(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The entry of the only item, which succeeded."""
    assert [len(entries) for entries in results.values()] == [1, 0, 0], results
    return results["success"][0]


def data_of(world: World, form_fill: FormFill) -> Any:
    return world.get(FormFill, form_fill.id).data


def heads_of(world: World, item: dict[str, Any]) -> list[LedgerOperation]:
    return [row for row in world.all(LedgerOperation) if row.local_id == item["local_id"]]


def places_in(client: FlaskClient, items: list[dict[str, Any]], query: str) -> list[int]:
    """Which of the items all pages of a list have, in their order."""
    places = {item["local_id"]: place for place, item in enumerate(items)}
    after, found = "", []
    while True:
        page = json_of(client.get(f"/api/v1/set_aside{query}{after}"))["data"]
        found += [places[row["local_id"]] for row in page["set_aside"]]
        if not page["next"]:
            return found
        after = f"&after={page['next']}"


class TestReading:
    def test_readers_of_the_inspection_see_it_and_nobody_else_does(
        self, office: FlaskClient, other: FlaskClient, phone: FlaskClient, sign_in: SignIn, stranger: User,
        conflict: dict[str, Any], refusal: dict[str, Any],
    ) -> None:  # fmt: skip
        both = {conflict["local_id"], refusal["local_id"]}
        assert {row["local_id"] for row in listed(office)} == both
        assert {row["local_id"] for row in listed(other)} == both
        assert {row["local_id"] for row in listed(phone)} == {conflict["local_id"]}
        assert listed(sign_in(stranger)) == []
        key = key_of(office, conflict)
        assert sign_in(stranger).get(f"/api/v1/set_aside/{key}").status_code == 404
        assert (
            sign_in(stranger).post(f"/api/v1/set_aside/{key}/decision", json={"decision": "discard"}).status_code == 404
        )

    def test_an_item_without_an_inspection_is_its_senders_and_the_administrators(
        self, office: FlaskClient, other: FlaskClient, phone: FlaskClient
    ) -> None:
        push(phone, {"type": "unheard_of", "local_id": "1", "data": {"x": 1}})
        assert [row["code"] for row in listed(office)] == ["invalid_type"]
        assert [row["code"] for row in listed(phone)] == ["invalid_type"]
        assert listed(other) == []

    def test_filters_pages_and_causes(
        self, office: FlaskClient, phone: FlaskClient, lost: FormFill, conflict: dict[str, Any], clock: SettableClock
    ) -> None:
        items = []
        for number in range(5):
            clock.forward(seconds=number % 2)
            items.append(edit(lost, a=number))
            push(phone, items[-1])
        assert len(listed(office)) == 6
        assert len(listed(office, "?outcome=conflict")) == 1
        assert len(listed(office, f"?code=forbidden&inspection_id={lost.inspection_id}&device_id={DEVICE_ID}")) == 5
        assert listed(office, "?user_id=4711") == listed(office, "?type=photo_delete") == []
        assert listed(office, "?state=decided") == listed(office, "?state=superseded") == []
        seen: list[str] = []
        query = "?per_page=2"
        while query:
            page = json_of(office.get(f"/api/v1/set_aside{query}"))["data"]
            seen += [row["id"] for row in page["set_aside"]]
            query = f"?per_page=2&after={page['next']}" if page["next"] else ""
        assert seen == [row["id"] for row in listed(office)]
        causes = json_of(office.get("/api/v1/set_aside?group=cause"))["data"]["causes"]
        assert [(cause["code"], cause["count"]) for cause in causes] == [("forbidden", 5), ("conflict", 1)]
        assert office.get("/api/v1/set_aside?after=nothing").status_code == 400

    def test_a_row_shows_the_item_and_both_sides_of_a_conflict(
        self, office: FlaskClient, world: World, form_fill: FormFill, conflict: dict[str, Any], tech: User
    ) -> None:
        row = json_of(office.get(f"/api/v1/set_aside/{key_of(office, conflict)}"))["data"]["set_aside"]
        present = world.get(FormFill, form_fill.id)
        assert row["item"] == conflict
        assert (row["seen"]["mine"], row["seen"]["base"], row["seen"]["theirs"], row["seen"]["conflicting_fields"]) == (
            {"a": "phone", "c": "phone"},
            {"a": 0},
            {"a": "owner"},
            ["a"],
        )
        assert row["seen_version"] == row["present"]["updated_at"] == to_wire(present.updated_at)
        assert row["present"]["data"]["a"] == "owner"
        assert row["user"] == {"id": tech.id, "name": tech.name}

    def test_what_devices_have_solved_is_listed_before_and_after_the_upkeep_has_noted_it(
        self, app: Flask, office: FlaskClient, other: FlaskClient, phone: FlaskClient, lost: FormFill, tech: User,
        clock: SettableClock, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        items = [edit(lost, a=number) for number in range(4)]
        for item in items:
            clock.forward(seconds=1)
            push(phone, item)
        office.patch(f"/api/v1/inspections/{lost.inspection_id}", json={"assignee_id": tech.id})
        one(push(phone, items[0]))
        with app.app_context():
            keep_up(timedelta(days=180), timedelta(days=30))
        assert decide(office, items[3], "discard").status_code == 200
        push(phone, *items[1:3])
        for reader in (office, other, phone):
            assert places_in(reader, items, "?state=superseded&per_page=1") == [2, 1, 0]
            assert places_in(reader, items, "?state=decided") == [3]
            assert places_in(reader, items, "?state=superseded&type=photo_delete") == []
        causes = json_of(office.get("/api/v1/set_aside?group=cause&state=superseded"))["data"]["causes"]
        assert [cause["count"] for cause in causes] == [3]
        # Of those that nobody has noted, the newest are looked through.
        monkeypatch.setattr(listing, "MOST_LOOKED_THROUGH", 1)
        assert places_in(office, items, "?state=superseded&per_page=1") == [2, 0]

    def test_a_count_ends_where_no_more_could_be_decided_at_once(
        self, app: Flask, office: FlaskClient, phone: FlaskClient, lost: FormFill, tech: User, admin: User, owner: User
    ) -> None:
        items = [edit(lost, a=number) for number in range(4)]
        push(phone, *items)
        office.patch(f"/api/v1/inspections/{lost.inspection_id}", json={"assignee_id": tech.id})
        push(phone, items[0])
        rows = listed(office, "?state=all")
        with app.app_context():
            for user, count in ((admin, 3), (owner, 3), (tech, 0)):
                assert count_decidable(user, Filters(), most=4) == count_decidable(user, Filters(state=None), most=4)
                assert count_decidable(user, Filters(), most=4) == len(decidable_among(user, rows)) == count
                assert count_decidable(user, Filters(state="decided"), most=4) == 0
            # The solved one counts here: there would be too many without it, too.
            assert count_decidable(owner, Filters(), most=2) == 3

    def test_a_list_takes_the_same_number_of_statements_for_any_number_of_rows(
        self, app: Flask, office: FlaskClient, phone: FlaskClient, lost: FormFill, conflict: dict[str, Any]
    ) -> None:
        counts = set()
        for _ in range(2):
            with statements_of(app) as found:
                listed(office)
            counts.add(len(found))
            push(phone, *(edit(lost, a=number) for number in range(30)))
        assert len(counts) == 1


class TestDeciding:
    def test_a_refused_item_is_applied_for_its_sender_and_the_next_retry_is_answered_so(
        self, world: World, office: FlaskClient, phone: FlaskClient, lost: FormFill, refusal: dict[str, Any],
        tech: User, admin: User, clock: SettableClock,
    ) -> None:  # fmt: skip
        clock.forward(minutes=3)
        answer = decide(office, refusal, "apply", reason="He was there")
        assert answer.status_code == 200, answer.text
        row = json_of(answer)["data"]["set_aside"]
        assert (row["state"], row["decision"], row["reason"]) == ("decided", "applied", "He was there")
        assert (row["decided_by"], row["decided_at"]) == ({"id": admin.id, "name": admin.name}, to_wire(clock.time))
        assert data_of(world, lost) == {"a": "phone"}
        (head,) = heads_of(world, refusal)
        assert (head.user_id, head.device_id, head.decided_by_id, head.door) == (tech.id, DEVICE_ID, admin.id, "office")
        entry = one(push(phone, refusal))
        assert (entry["replayed"], entry["decided_by"]) == (True, admin.id)
        assert entry["message"] == f"Decided by {admin.name}. FormFill updated successfully"
        # The phone has no rights any more, so that no data are shown.
        assert "data" not in entry
        assert len(heads_of(world, refusal)) == 1

    def test_the_history_names_both(
        self, office: FlaskClient, lost: FormFill, refusal: dict[str, Any], tech: User, admin: User
    ) -> None:
        decide(office, refusal, "apply")
        newest = json_of(office.get(f"/api/v1/form_fills/{lost.id}/history"))["data"]["history"][0]
        assert (newest["user_id"], newest["device_id"], newest["decided_by"]) == (tech.id, DEVICE_ID, admin.id)

    def test_a_conflict_is_decided_on_the_version_that_was_seen(
        self,
        app: Flask,
        world: World,
        office: FlaskClient,
        phone: FlaskClient,
        form_fill: FormFill,
        conflict: dict[str, Any],
    ) -> None:
        with app.app_context():
            changes = place_fields({"item": conflict, "seen": {"mine": {"a": 1, "c": 1}}}, {"a": "office"})
        assert changes == {"changes": {"a": "office"}}
        answer = decide(office, conflict, "change", changes=changes)
        assert json_of(answer)["data"]["set_aside"]["decision"] == "changed"
        assert data_of(world, form_fill) == {"a": "office", "b": 0, "c": "phone"}
        entry = one(push(phone, conflict))
        assert entry["replayed"] is True
        assert entry["data"]["a"] == "office"

    def test_a_decision_on_an_old_version_is_stale_and_nothing_is_written(
        self, world: World, office: FlaskClient, other: FlaskClient, form_fill: FormFill, conflict: dict[str, Any],
        clock: SettableClock,
    ) -> None:  # fmt: skip
        seen = to_wire(world.get(FormFill, form_fill.id).updated_at)
        clock.forward(minutes=1)
        push(other, edit(form_fill, a="newer"))
        for more in ({}, {"updated_at": seen}):
            answer = decide(office, conflict, "apply", **more)
            assert (answer.status_code, json_of(answer)["code"]) == (409, "stale")
            present = json_of(answer)["data"]["present"]
            assert present["data"]["a"] == "newer"
        assert heads_of(world, conflict) == []
        assert listed(office)[0]["state"] == "open"
        answer = decide(office, conflict, "apply", updated_at=present["updated_at"])
        assert answer.status_code == 200
        assert data_of(world, form_fill)["a"] == "phone"

    def test_the_senders_own_later_change_makes_a_decision_stale_too(
        self, world: World, office: FlaskClient, phone: FlaskClient, form_fill: FormFill, conflict: dict[str, Any],
        clock: SettableClock,
    ) -> None:  # fmt: skip
        seen = to_wire(world.get(FormFill, form_fill.id).updated_at)
        clock.forward(minutes=1)
        # Without a version, as old apps send it: it solves nothing, because it does not know what it meets.
        push(phone, edit(form_fill, a="phone again"))
        answer = decide(office, conflict, "apply", updated_at=seen)
        assert json_of(answer)["code"] in ("stale", "already_decided")
        assert data_of(world, form_fill)["a"] == "phone again"

    @pytest.mark.parametrize("strategy", ["use_local", "merge", "use_server"])
    def test_what_the_device_asked_for_in_a_conflict_decides_nothing_in_the_office(
        self, world: World, office: FlaskClient, phone: FlaskClient, owner: User, other: FlaskClient, lost: FormFill,
        clock: SettableClock, strategy: str,
    ) -> None:  # fmt: skip
        held = to_wire(lost.updated_at)
        item = edit(lost, held, strategy=strategy, a="phone")
        push(phone, item)
        clock.forward(minutes=1)
        push(other, edit(lost, a="owner"))
        assert json_of(decide(office, item, "apply"))["code"] == "stale"
        assert data_of(world, lost) == {"a": "owner"}

    def test_a_discarded_item_changes_nothing_and_its_retry_says_who_and_why(
        self, world: World, office: FlaskClient, phone: FlaskClient, form_fill: FormFill, conflict: dict[str, Any],
        admin: User,
    ) -> None:  # fmt: skip
        before = world.get(FormFill, form_fill.id).updated_at
        row = json_of(decide(office, conflict, "discard", reason="Visited twice"))["data"]["set_aside"]
        assert (row["state"], row["decision"], row["decided_by"]["id"]) == ("decided", "discarded", admin.id)
        entry = one(push(phone, conflict))
        assert entry["message"] == f"Discarded by {admin.name}: Visited twice"
        assert (entry["replayed"], entry["result"], entry["decided_by"]) == (True, {"discarded": True}, admin.id)
        assert world.get(FormFill, form_fill.id).updated_at == before
        assert listed(office) == []

    def test_what_follows_a_discarded_create_need_not_be_sent_again(
        self, office: FlaskClient, phone: FlaskClient, lost: FormFill
    ) -> None:
        ids = {"inspection_id": lost.inspection_id, "form_template_id": lost.form_template_id}
        client_id = str(uuid4())
        create = {"type": "form_fill", "local_id": "new", "data": {**ids, "client_id": client_id}}
        assert push(phone, create)["errors"][0]["code"] == "forbidden"
        assert decide(office, create, "discard").status_code == 200
        results = push(phone, create, edit(client_id, a=1))
        assert results["success"][0]["result"] == {"discarded": True}
        assert [(entry["code"], entry["retryable"]) for entry in results["errors"]] == [("not_found", False)]

    def test_the_second_decision_is_told_who_was_faster(
        self,
        office: FlaskClient,
        other: FlaskClient,
        refusal: dict[str, Any],
        world: World,
        lost: FormFill,
        admin: User,
    ) -> None:
        assert decide(office, refusal, "discard").status_code == 200
        for decision in ("apply", "discard"):
            answer = decide(other, refusal, decision)
            assert (answer.status_code, json_of(answer)["code"]) == (409, "already_decided")
            assert json_of(answer)["error"] == f"This was already decided by {admin.name}"
        assert data_of(world, lost) == {"a": 0}
        assert len(heads_of(world, refusal)) == 1

    def test_what_the_device_has_solved_is_decided_already(
        self, office: FlaskClient, phone: FlaskClient, lost: FormFill, refusal: dict[str, Any], tech: User
    ) -> None:
        office.patch(f"/api/v1/inspections/{lost.inspection_id}", json={"assignee_id": tech.id})
        one(push(phone, refusal))
        for decision in ("apply", "discard"):
            answer = decide(office, refusal, decision)
            assert (answer.status_code, json_of(answer)["code"]) == (409, "already_decided")
            assert json_of(answer)["data"]["set_aside"]["state"] == "superseded"

    def test_a_decision_about_one_item_tells_nothing_of_another_of_the_same_device(
        self, office: FlaskClient, phone: FlaskClient, form_fill: FormFill, conflict: dict[str, Any]
    ) -> None:
        second = edit(form_fill, conflict["data"]["updated_at"], a="second")
        push(phone, second)
        assert decide(office, conflict, "apply").status_code == 200
        assert [row["local_id"] for row in listed(office)] == [second["local_id"]]

    def test_a_decision_is_not_the_devices_own_change(
        self, world: World, office: FlaskClient, phone: FlaskClient, form_fill: FormFill, conflict: dict[str, Any],
        clock: SettableClock,
    ) -> None:  # fmt: skip
        """The phone has seen neither the owner's change nor the decision: what it made meanwhile is a conflict."""
        seen = to_wire(world.get(FormFill, form_fill.id).updated_at)
        clock.forward(minutes=1)
        changes = {"changes": {"a": "office"}}
        assert decide(office, conflict, "change", changes=changes).status_code == 200
        later = edit(form_fill, seen, a="phone later")
        assert len(push(phone, later)["conflicts"]) == 1
        # Not even in one batch with the item that was decided.
        again = edit(form_fill, seen, a="phone latest")
        results = push(phone, conflict, again)
        assert (len(results["success"]), len(results["conflicts"])) == (1, 1)
        assert data_of(world, form_fill)["a"] == "office"

    def test_only_administrators_and_the_owner_decide(
        self, world: World, other: FlaskClient, phone: FlaskClient, form_fill: FormFill, conflict: dict[str, Any]
    ) -> None:
        for decision in ("apply", "discard"):
            assert decide(phone, conflict, decision).status_code == 403
        assert heads_of(world, conflict) == []
        assert decide(other, conflict, "apply").status_code == 200

    def test_what_the_pipeline_refuses_again_says_why_and_stays_open(
        self, office: FlaskClient, refusal: dict[str, Any]
    ) -> None:
        answer = decide(office, refusal, "change", changes={"changes": 5})
        assert (answer.status_code, json_of(answer)["code"], json_of(answer)["reason"]) == (409, "refused", "invalid")
        assert "changes" in json_of(answer)["details"]
        assert [(row["state"], row["code"]) for row in listed(office)] == [("open", "forbidden")]
        assert decide(office, refusal, "apply").status_code == 200

    def test_the_work_of_somebody_who_was_deactivated_can_still_be_saved(
        self, world: World, office: FlaskClient, lost: FormFill, refusal: dict[str, Any], tech: User
    ) -> None:
        assert office.patch(f"/api/v1/users/{tech.id}", json={"active": False}).status_code == 200
        assert decide(office, refusal, "apply").status_code == 200
        assert data_of(world, lost) == {"a": "phone"}

    def test_an_item_that_is_not_kept_can_only_be_discarded(
        self, world: World, office: FlaskClient, phone: FlaskClient, lost: FormFill
    ) -> None:
        item = edit(lost, a="y" * 70_000)
        push(phone, item)
        answer = decide(office, item, "apply")
        assert (answer.status_code, json_of(answer)["reason"]) == (409, "not_kept")
        assert decide(office, item, "discard").status_code == 200
        assert one(push(phone, item))["result"] == {"discarded": True}

    def test_what_is_no_item_can_be_discarded_and_stays_so(self, office: FlaskClient, phone: FlaskClient) -> None:
        push(phone, {"type": "form_fill"}, 5, {"type": "unheard_of", "local_id": "1", "data": {}})
        keys = [row["id"] for row in listed(office)]
        body = {"decision": "discard", "ids": keys}
        results = json_of(office.post("/api/v1/set_aside/decisions", json=body))["data"]["results"]
        assert [result["result"] for result in results] == ["decided"] * 3
        push(phone, {"type": "form_fill"}, 5)
        assert listed(office) == []


class TestMany:
    def test_all_that_match_are_decided_in_the_order_in_which_they_were_sent(
        self, world: World, office: FlaskClient, phone: FlaskClient, lost: FormFill
    ) -> None:
        held = to_wire(lost.updated_at)
        push(phone, *(edit(lost, held, a=number) for number in range(8)))
        body = {"decision": "apply", "filter": {"code": "forbidden"}, "count": 8}
        answer = office.post("/api/v1/set_aside/decisions", json=body)
        assert [result["result"] for result in json_of(answer)["data"]["results"]] == ["decided"] * 8
        assert data_of(world, lost) == {"a": 7}

    def test_another_number_than_was_confirmed_decides_nothing(
        self, office: FlaskClient, refusal: dict[str, Any], conflict: dict[str, Any]
    ) -> None:
        for count in (1, 3):
            answer = office.post(
                "/api/v1/set_aside/decisions", json={"decision": "discard", "filter": {}, "count": count}
            )
            assert (answer.status_code, json_of(answer)["code"]) == (409, "count_changed")
        assert len(listed(office)) == 2

    def test_each_item_has_its_own_result(
        self, world: World, office: FlaskClient, other: FlaskClient, phone: FlaskClient, form_fill: FormFill,
        refusal: dict[str, Any], conflict: dict[str, Any], clock: SettableClock,
    ) -> None:  # fmt: skip
        clock.forward(minutes=1)
        push(other, edit(form_fill, a="newer"))
        push(phone, {"type": "unheard_of", "local_id": "1", "data": {"x": 1}})
        keys = {row["local_id"]: row["id"] for row in listed(office)}
        wanted = [keys[conflict["local_id"]], keys["1"], "f" * 64, keys[refusal["local_id"]]]
        answer = office.post("/api/v1/set_aside/decisions", json={"decision": "apply", "ids": wanted})
        results = json_of(answer)["data"]["results"]
        assert [result["result"] for result in results] == ["stale", "refused", "not_found", "decided"]
        assert [result["id"] for result in results] == wanted

    def test_the_number_of_statements_does_not_depend_on_the_number_of_items(
        self, app: Flask, office: FlaskClient, phone: FlaskClient, lost: FormFill
    ) -> None:
        for decision in ("apply", "discard"):
            counts = set()
            for size in (1, 20):
                push(phone, *(edit(lost, a=str(uuid4())) for _ in range(size)))
                body = {"decision": decision, "ids": [row["id"] for row in listed(office)]}
                with statements_of(app) as found:
                    assert office.post("/api/v1/set_aside/decisions", json=body).status_code == 200
                counts.add(len(found))
                assert listed(office) == []
            assert len(counts) == 1, counts

    def test_a_wrong_body_is_refused(self, office: FlaskClient) -> None:
        for body in (
            {"decision": "apply"},
            {"decision": "apply", "ids": ["a"], "filter": {}, "count": 1},
            {"decision": "apply", "filter": {}},
            {"decision": "change", "ids": ["a"]},
            {"decision": "apply", "filter": {}, "count": 1001},
        ):
            assert office.post("/api/v1/set_aside/decisions", json=body).status_code == 400
        for body in ({"decision": "apply", "changes": {}}, {"decision": "change"}, {"decision": "burn"}):
            assert office.post(f"/api/v1/set_aside/{'f' * 64}/decision", json=body).status_code == 400


@pytest.mark.database("sqlite")
class TestHundreds:
    """As many as a month of one mistake leaves, and more than a batch may have."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_MAX_BATCH_ITEMS": "100"}

    def test_all_that_match_are_decided_batch_by_batch_each_with_its_result(
        self, app: Flask, world: World, office: FlaskClient, phone: FlaskClient, sign_in: SignIn, stranger: User,
        lost: FormFill, form_fill: FormFill, clock: SettableClock,
    ) -> None:  # fmt: skip
        for start in range(0, 300, 100):
            push(phone, *(edit(lost, a=number) for number in range(start, start + 100)))
            clock.forward(seconds=1)
        push(sign_in(stranger), *(edit(form_fill, b=number) for number in range(80)))
        push(phone, {"type": "unheard_of", "local_id": "1", "data": {"x": 1}})
        body = {"decision": "apply", "filter": {"outcome": "refused"}, "count": 381}
        with statements_of(app) as statements:
            answer = office.post("/api/v1/set_aside/decisions", json=body)
        results = json_of(answer)["data"]["results"]
        assert len({result["id"] for result in results}) == 381
        assert [result["result"] for result in results].count("decided") == 380
        (refused,) = [result for result in results if result["result"] != "decided"]
        assert (refused["result"], refused["entry"]["code"]) == ("refused", "invalid_type")
        assert (data_of(world, lost), data_of(world, form_fill)["b"]) == ({"a": 299}, 79)
        assert [row["local_id"] for row in listed(office)] == ["1"]
        assert len(statements) < 150, "a fixed number for each batch of a device"


def test_nothing_is_decided_by_a_plain_correction(
    app: Flask, office: FlaskClient, other: FlaskClient, form_fill: FormFill, conflict: dict[str, Any]
) -> None:
    push(office, edit(form_fill, a="office"))
    assert [row["state"] for row in listed(office)] == ["open"]
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(SetAside)) == 1


class TestRaces:
    """The phone against the office, step by step on two connections."""

    @pytest.fixture
    def given_back(self, office: FlaskClient, lost: FormFill, refusal: dict[str, Any], tech: User) -> dict[str, Any]:
        """The refused item, which the phone may apply by now."""
        address = f"/api/v1/inspections/{lost.inspection_id}"
        assert office.patch(address, json={"assignee_id": tech.id}).status_code == 200
        return refusal

    @pytest.mark.parametrize("decision", ["apply", "discard"])
    @pytest.mark.parametrize("is_phone_first", [True, False])
    def test_the_second_is_told_what_the_first_has_done(
        self, app: Flask, world: World, office: FlaskClient, phone: FlaskClient, lost: FormFill,
        given_back: dict[str, Any], decision: str, is_phone_first: bool,
    ) -> None:  # fmt: skip
        address = f"/api/v1/set_aside/{key_of(office, given_back)}/decision"
        send = partial(push, phone, given_back)
        settle = partial(office.post, address, json={"decision": decision})
        first, second = race(app, *((send, settle) if is_phone_first else (settle, send)))
        results, answer = (first, second) if is_phone_first else (second, first)
        entry = one(results)
        (head,) = heads_of(world, given_back)
        if is_phone_first:
            assert (answer.status_code, json_of(answer)["code"]) == (409, "already_decided")
            assert head.decided_by_id is None
        else:
            assert answer.status_code == 200
            assert (entry["replayed"], entry["decided_by"]) == (True, head.decided_by_id)
        is_applied = is_phone_first or decision == "apply"
        assert data_of(world, lost) == {"a": "phone" if is_applied else 0}
        assert len(world.all(SetAside)) == 1
        assert listed(office) == []

    @pytest.mark.parametrize("decisions", [("apply", "discard"), ("discard", "apply"), ("discard", "discard")])
    def test_of_two_people_in_the_office_one_decides(
        self, app: Flask, world: World, office: FlaskClient, other: FlaskClient, lost: FormFill,
        refusal: dict[str, Any], decisions: tuple[str, str],
    ) -> None:  # fmt: skip
        address = f"/api/v1/set_aside/{key_of(office, refusal)}/decision"
        calls = zip((office, other), decisions, strict=True)
        first, second = race(app, *(partial(who.post, address, json={"decision": what}) for who, what in calls))
        assert (first.status_code, second.status_code) == (200, 409)
        assert json_of(second)["code"] == "already_decided"
        assert data_of(world, lost) == {"a": "phone" if decisions[0] == "apply" else 0}
        assert len(heads_of(world, refusal)) == 1
