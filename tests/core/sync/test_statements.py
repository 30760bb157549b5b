"""The number of SQL statements does not depend on the number of items, whatever becomes of them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg import _queries

from app.clock import to_wire
from app.models import FormFill, FormTemplate, Inspection, User
from app.testing import push, statements_of
from tests.conftest import World
from tests.support.answers import json_of
from tests.support.rows import change_often

#: The largest is the largest batch that is taken.
SIZES = (1, 10, 1000)


def item(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "local_id": str(uuid4()), "data": data}


class Place:
    """Ten inspections with a form fill each, and items of every type for them."""

    def __init__(self, world: World, owner: User, tech: User) -> None:
        self.template: FormTemplate = world.template()
        self.inspections: list[Inspection] = [world.inspection(owner, tech) for _ in range(10)]
        self.form_fills: list[FormFill] = [
            world.form_fill(each, self.template, client_id=str(uuid4())) for each in self.inspections
        ]
        self.world = world

    def attach(self) -> None:
        """Something to delete for whoever deletes: without it there would be less to write."""
        self.world.attachment(self.form_fills[0])
        self.world.attachment(self.form_fills[0], "Signature", "signature")

    def items(self, kind: str, size: int, **more: Any) -> list[dict[str, Any]]:
        make = getattr(self, kind)
        return [make(number, number % 10, **more) for number in range(size)]

    def form_fill(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        return item("form_fill", {"id": self.form_fills[place].id, "changes": {f"f{number}": number}, **more})

    def by_client_id(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        return item("form_fill", {"id": self.form_fills[place].client_id, "changes": {f"f{number}": number}, **more})

    def create(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        ids = {"inspection_id": self.inspections[place].id, "form_template_id": self.template.id}
        return item("form_fill", {**ids, "client_id": str(uuid4()), "data": {"n": number}, **more})

    def inspection(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        return item("inspection", {"id": self.inspections[place].id, "notes": str(number), **more})

    def photo_delete(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        return item("photo_delete", {"form_fill_id": self.form_fills[place].id, "field_name": "Riser_Photo"})

    def signature_delete(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        return item("signature_delete", {"form_fill_id": self.form_fills[place].id, "field_name": "Signature"})

    def missing(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        return item("form_fill", {"id": 10_000 + number, "changes": {"a": 1}})

    def mixed(self, number: int, place: int, **more: Any) -> dict[str, Any]:
        """Every type in one; only a batch that is large enough has them all."""
        kinds = ("form_fill", "by_client_id", "create", "inspection", "photo_delete", "signature_delete", "missing")
        return getattr(self, kinds[number % len(kinds)])(number, place, **more)  # type: ignore[no-any-return]


KINDS = ("form_fill", "by_client_id", "create", "inspection", "photo_delete", "signature_delete", "missing")


@pytest.fixture
def place(world: World, owner: User, tech: User) -> Place:
    return Place(world, owner, tech)


def count(app: Flask, client: FlaskClient, items: list[dict[str, Any]]) -> tuple[int, dict[str, int]]:
    """How many statements the batch takes, and how many entries of each kind it is answered with."""
    with statements_of(app) as found:
        results = push(client, *items)
    return len(found), {name: len(entries) for name, entries in results.items() if entries}


@pytest.mark.parametrize("kind", KINDS)
def test_new_items_and_their_retries(app: Flask, place: Place, device: FlaskClient, kind: str) -> None:
    fresh: set[int] = set()
    replayed: set[int] = set()
    expected = "errors" if kind == "missing" else "success"
    for size in SIZES:
        place.attach()
        items = place.items(kind, size)
        for counts in (fresh, replayed):
            statements, entries = count(app, device, items)
            assert entries == {expected: size}
            counts.add(statements)
    assert len(fresh) == len(replayed) == 1, (fresh, replayed)


@pytest.mark.parametrize("kind", ["form_fill", "by_client_id", "inspection"])
@pytest.mark.parametrize("strategy", [None, "merge", "use_local", "use_server"])
def test_conflicts_however_they_are_resolved(
    app: Flask, place: Place, device: FlaskClient, other: FlaskClient, kind: str, strategy: str | None
) -> None:
    held = to_wire(place.form_fills[0].updated_at)
    push(other, *place.items(kind, 10))
    counts = set()
    # Two sizes are enough here: a thousand are in the test above.
    for size in SIZES[:2]:
        items = place.items(kind, size, updated_at=held, resolve_strategy=strategy)
        for number, each in enumerate(items):
            if kind == "inspection":
                each["data"]["notes"] = f"mine {number}"
            else:
                # Other fields than the other's can be merged.
                name = f"mine{number}" if strategy == "merge" else f"f{number}"
                each["data"]["changes"] = {name: "mine"}
        statements, entries = count(app, device, items)
        assert sum(entries.values()) == size
        if strategy is None:
            assert entries == {"conflicts": size}
        counts.add(statements)
        push(other, *({**each, "local_id": str(uuid4())} for each in place.items(kind, 10)))
    assert len(counts) == 1, counts


def test_a_mixed_batch_takes_no_more_for_more_of_the_same(app: Flask, place: Place, device: FlaskClient) -> None:
    counts = set()
    for size in (70, 1000):
        place.attach()
        counts.add(count(app, device, place.items("mixed", size))[0])
    assert len(counts) == 1, counts
    assert counts.pop() <= 25


def test_a_retry_reads_nothing_of_what_has_happened_to_its_row_since(
    app: Flask, place: Place, device: FlaskClient
) -> None:
    form_fill = place.form_fills[0]
    kept = item("form_fill", {"id": form_fill.id, "updated_at": to_wire(form_fill.updated_at), "changes": {"a": 1}})
    ids = {"inspection_id": form_fill.inspection_id, "form_template_id": form_fill.form_template_id}
    created = item("form_fill", {**ids, "client_id": form_fill.client_id, "data": {"b": 1}})
    with statements_of(app) as first:
        push(device, kept, created)
    retries = []
    for count in (1, 9_999):
        change_often(app, form_fill, count)
        with statements_of(app) as found:
            assert [len(entries) for entries in push(device, kept, created).values()] == [2, 0, 0]
        assert not [statement for statement in found if "ledger_entries" in statement]
        retries.append(found)
    assert retries[0] == retries[1]
    assert len(retries[0]) <= len(first)


def test_a_new_item_on_the_present_version_reads_nothing_of_the_past_either(
    app: Flask, place: Place, device: FlaskClient
) -> None:
    form_fill = place.form_fills[0]
    change_often(app, form_fill, 1)
    present = to_wire(place.world.get(FormFill, form_fill.id).updated_at)
    with statements_of(app) as found:
        push(device, item("form_fill", {"id": form_fill.id, "updated_at": present, "changes": {"a": 1}}))
    assert not [statement for statement in found if "FROM ledger_entries" in statement]


@pytest.mark.database("postgresql")
def test_the_driver_reads_the_text_of_no_statement_anew(
    device: FlaskClient, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would do so where the parameters of more than 4096 characters, or more than 50 of them, were not numbered."""
    look = f"/api/v1/sync/changes?cursor={json_of(device.get('/api/v1/sync/changes'))['data']['cursor']}"
    anew: list[bytes] = []
    read = _queries._query2pg_nocache

    def read_anew(text: bytes, encoding: str) -> object:
        anew.append(text)
        return read(text, encoding)

    monkeypatch.setattr(_queries, "_query2pg_nocache", read_anew)
    push(device, *place.items("form_fill", 10))
    assert device.get(look).status_code == 200
    assert anew == []
