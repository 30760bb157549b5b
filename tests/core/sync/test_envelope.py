"""Reading the envelope, and telling operations apart (contract, sections 3 and 3.2)."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

from flask import Flask
from flask.testing import FlaskClient

from app.core.sync.items import canonical, fingerprint
from app.models import FormFill
from app.testing import push
from tests.conftest import World
from tests.core.sync.conftest import edit, stored
from tests.support.cases import cases


def mark(payload: Any, type_: str = "t") -> str:
    return fingerprint(canonical(type_, payload))


def test_a_fingerprint_is_a_sha256() -> None:
    assert len(bytes.fromhex(mark({}))) == 32


def test_the_order_of_keys_does_not_matter() -> None:
    assert mark({"a": {"x": 1, "y": 2}, "b": 2}) == mark({"b": 2, "a": {"y": 2, "x": 1}})


@cases(
    ("one", "another"),
    [
        ({"a": 1}, {"a": 1.5}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1.0}, {"a": "1.0"}),
        ({"a": 1.0}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ({"a": []}, {"a": {}}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": "é"}, {"a": "e\u0301"}),
        ({"a": "x"}, {"a": "x "}),
        ({"A": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 1, "b": 1}),
        ({"a": "2024-03-15T10:30:00Z"}, {"a": "2024-03-15T10:30:00.000Z"}),
    ],
)
def test_whatever_was_sent_otherwise_is_another_operation(one: Any, another: Any) -> None:
    assert mark(one) != mark(another)


@cases(
    ("one", "another"),
    [
        ({"a": 2}, {"a": 2.0}),
        ({"a": 0}, {"a": -0.0}),
        ({"b": {"c": [1, 2.50, "1.0"]}, "a": -7}, {"a": -7.0, "b": {"c": [1.0, 2.5, "1.0"]}}),
        ({"a": 9007199254740991}, {"a": 9007199254740991.0}),
        ({"a": 1e20}, {"a": 100000000000000000000.0}),
    ],
)
def test_numbers_count_by_value(one: Any, another: Any) -> None:
    assert mark(one) == mark(another)


def test_the_fingerprint_of_an_operation_never_changes() -> None:
    """Retries of what an older server has applied must be known by this one."""
    known = "5167c62982a03c04"
    assert mark({"id": 1, "changes": {"a": 1.5, "b": "x.0", "c": None}}, "form_fill")[:16] == known


def test_the_type_belongs_to_it() -> None:
    assert mark({}, "t") != mark({}, "u")


# Elements that are no items

GOOD: dict[str, Any] = {"type": "inspection", "local_id": "x", "data": {}}


@cases(
    "element", [None, 1, 1.5, True, "x", [], [GOOD], {}],)  # fmt: skip
def test_an_element_that_is_no_item_is_an_entry_and_no_fault_of_the_batch(
    world: World, device: FlaskClient, form_fill: FormFill, element: Any
) -> None:
    results = push(device, edit(form_fill, a=1), element, edit(form_fill, b=1))
    assert [entry["index"] for entry in results["success"]] == [0, 2]
    (entry,) = results["errors"]
    assert (entry["index"], entry["local_id"], entry["type"]) == (1, None, None)
    assert (entry["code"], entry["error"], entry["retryable"]) == ("invalid", "Invalid payload", False)
    assert stored(world, form_fill) == {"a": 1, "b": 1}


@cases("key", ["type", "local_id", "data"])
def test_what_an_item_lacks_is_named(device: FlaskClient, form_fill: FormFill, key: str) -> None:
    item = edit(form_fill, a=1)
    del item[key]
    (entry,) = push(device, item)["errors"]
    assert (entry["code"], list(entry["details"])) == ("invalid", [key])
    assert entry["local_id"] == item.get("local_id")
    assert entry["type"] == item.get("type")


@cases(
    ("key", "value"),
    [
        ("type", None), ("type", 1), ("type", []), ("type", {}),
        ("local_id", None), ("local_id", ""), ("local_id", "x" * 256), ("local_id", 7), ("local_id", ["x"]),
        ("data", None), ("data", []), ("data", "x"), ("data", 1), ("data", True),
    ],)  # fmt: skip
def test_a_key_of_the_wrong_kind_is_named(device: FlaskClient, form_fill: FormFill, key: str, value: Any) -> None:
    (entry,) = push(device, {**edit(form_fill, a=1), key: value})["errors"]
    assert (entry["code"], list(entry["details"])) == ("invalid", [key])


def test_a_local_id_may_have_255_characters_of_any_kind(device: FlaskClient, form_fill: FormFill) -> None:
    for local_id in ("x" * 255, "😀" * 255, " ", "'; DROP TABLE users; --", "null"):
        item = {**edit(form_fill, a=1), "local_id": local_id}
        (entry,) = push(device, item)["success"]
        assert entry["local_id"] == local_id
        assert push(device, item)["success"][0]["replayed"] is True


@cases("echoed", [7, 1.5, True, None])
def test_a_local_id_of_another_kind_is_echoed_as_sent(device: FlaskClient, form_fill: FormFill, echoed: Any) -> None:
    (entry,) = push(device, {**edit(form_fill, a=1), "local_id": echoed})["errors"]
    assert repr(entry["local_id"]) == repr(echoed)


@cases("kind", ["unknown", "", "FORM_FILL", "form fill", "__class__", "form_fill ", "x" * 5000])
def test_an_unknown_type_is_invalid_and_the_known_ones_are_named(
    app: Flask, device: FlaskClient, form_fill: FormFill, kind: str
) -> None:
    results = push(device, {**edit(form_fill, a=1), "type": kind}, edit(form_fill, a=2))
    (entry,) = results["errors"]
    assert (entry["code"], entry["error"], entry["type"]) == ("invalid_type", "Invalid sync type", kind)
    for known in app.extensions["fieldpost.registry"].types:
        assert known in entry["message"]
    assert len(results["success"]) == 1


def test_keys_beside_those_of_an_item_are_ignored(device: FlaskClient, form_fill: FormFill) -> None:
    assert push(device, {**edit(form_fill, a=1), "attempts": 3, "queued_at": "yesterday"})["success"]


def test_an_empty_batch_is_a_batch(device: FlaskClient) -> None:
    answer = device.post("/api/v1/sync", json={"sync_items": []})
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "results": {"success": [], "errors": [], "conflicts": []},
        "synced_at": "2024-03-15T10:30:00.000Z",
        "generation": ANY,
        "message": "Sync completed: 0 successful, 0 errors, 0 conflicts",
    }
