"""Rows as people see them, whatever their plugin declares or gets wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app.administration import (
    ShownRow,
    inspections_with_ids,
    keys_below,
    may_have_private,
    models_shown,
    rows_below,
    rows_with_keys,
    show,
    show_row,
    without_private,
)
from app.core.database.transactions import writing
from app.models import Attachment, FormFill, Inspection, User, db
from app.plugin_api import Label
from app.testing import statements_of
from tests.conftest import World

DATA = {"Location_row_1": "Roof", "Location_row_2": "Cellar", "note": "<b>"}


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    """A form fill with two rows, a photo, no signature, and a value that its template does not know."""
    form_fill = world.form_fill(inspection, data=DATA)
    world.attachment(form_fill)
    return form_fill


def shown(app: Flask, inspection: Inspection, model: Any = FormFill) -> list[ShownRow]:
    with app.app_context():
        root = db.session.get_one(Inspection, inspection.id)
        return show(rows_below(db.session(), root, model)[0])


@pytest.mark.usefixtures("form_fill")
def test_a_form_fill_is_shown_by_the_structure_of_its_template(
    app: Flask, world: World, inspection: Inspection
) -> None:
    (row,) = shown(app, inspection)
    (photo,) = world.all(Attachment)
    assert row.title == "Sprinkler"
    assert [(value.label.label, value.value) for value in row.values] == [
        ("Location", "Roof"),
        ("Riser Photo", [photo.id]),
        ("Signature", None),
        ("Location", "Cellar"),
        ("Note", "<b>"),
    ]
    assert [value.is_missing for value in row.values] == [False, False, True, False, False]
    assert [heading for heading, _ in row.sections] == ["", "2", ""]


def test_an_inspection_has_a_title_and_labels(app: Flask, world: World, owner: User) -> None:
    place = {"property_name": "City Library", "address": None, "city": "Riga", "zip_code": None}
    inspection = world.inspection(owner, property=place, customer={"name": "Ann"})
    with app.app_context():
        row = show_row(db.session.get_one(Inspection, inspection.id))
    texts = {value.label.name: value.text for value in row.values}
    assert row.title == "City Library"
    assert (texts["status"], texts["date"]) == ("pending", "2024-03-20")
    assert set(texts["property"].split(", ")) == {"Property name: City Library", "City: Riga"}
    assert "owner_id" not in texts, "the page names people by their names"
    assert [value.label.name for value in row.values if value.label.private] == ["customer"]


def test_a_choice_is_shown_by_its_options(app: Flask, world: World, inspection: Inspection) -> None:
    structure = [
        {"name": "valve", "type": "select", "options": [{"value": 1, "label": "open"}]},
        {"name": "faults", "type": "multiselect", "options": [{"value": "r", "label": "rust"}, "leak"]},
        {"name": "tested", "type": "yes_no"},
    ]
    template = world.template(form_structure=structure)
    world.form_fill(inspection, template, data={"valve": 1, "faults": ["r", "leak", "x"], "tested": False})
    (row,) = shown(app, inspection)
    assert [value.text for value in row.values] == ["open", "rust, leak, x", "no"]


def test_without_declarations_a_row_is_a_table_of_its_fields(
    app: Flask, inspection: Inspection, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(FormFill.__entity__, title=None, labels=None, expose=None)
    monkeypatch.setattr(FormFill, "__entity__", plain)
    (row,) = shown(app, inspection)
    assert row.title == f"FormFill {form_fill.id}"
    assert {value.label.label: value.value for value in row.values} == {
        "Location row 1": "Roof",
        "Location row 2": "Cellar",
        "Note": "<b>",
    }


def exploding(_row: Any) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("title", exploding),
        ("title", lambda row: row.id),
        ("title", lambda row: " "),
        ("labels", exploding),
        ("labels", lambda row: None),
        ("labels", lambda row: "labels"),
        ("labels", lambda row: [("x", "X")]),
        ("labels", lambda row: [Label(name="x", label="X", kind="video")]),
        ("labels", lambda row: [Label(name="x", label=None)]),  # type: ignore[arg-type]
        ("labels", lambda row: [Label(name="x", label="X", options=["a"])]),  # type: ignore[list-item]
        ("labels", lambda row: [Label(name="x", label="X", options=None)]),  # type: ignore[arg-type]
        ("expose", lambda row, fields: None),
    ],
)
@pytest.mark.usefixtures("form_fill")
def test_what_a_plugin_gets_wrong_is_logged_and_its_row_is_still_shown(
    app: Flask,
    inspection: Inspection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
    wrong: Any,
) -> None:
    monkeypatch.setattr(FormFill, "__entity__", replace(FormFill.__entity__, **{part: wrong}))
    (row,) = shown(app, inspection)
    assert row.title
    assert {"Roof", "Cellar", "<b>"} <= {value.text for value in row.values}
    # Without labels, nobody can tell which values are private.
    assert part != "labels" or all(value.label.private for value in row.values)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == f"{part} failed"


def test_private_values_are_hidden_from_those_who_have_not_asked(app: Flask, world: World, owner: User) -> None:
    structure = [{"name": name, "type": "text", "private": True} for name in ("a", "b")]
    inspection = world.inspection(owner)
    world.form_fill(inspection, world.template(form_structure=structure), data={"a": "secret", "c": "plain"})
    (row,) = shown(app, inspection)
    values = without_private(row).values
    assert [(value.value, value.text, value.is_hidden, value.is_missing) for value in values] == [
        (None, "hidden", True, False),
        (None, "", False, True),
        ("plain", "plain", False, False),
    ]
    assert [row.was_private(name) for name in ("a", "b", "c", "gone")] == [True, True, False, True]


def test_a_row_that_is_gone_may_have_had_private_values_if_it_had_labels(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        assert may_have_private("form_fill")
        assert may_have_private("uninstalled")
        monkeypatch.setattr(FormFill, "__entity__", replace(FormFill.__entity__, labels=None))
        assert not may_have_private("form_fill")


def test_any_number_of_rows_takes_the_same_statements(app: Flask, world: World, inspection: Inspection) -> None:
    counts = []
    for number in (1, 9):
        for _ in range(number):
            world.form_fill(inspection)
        with app.app_context(), statements_of(app) as statements:
            root = db.session.get_one(Inspection, inspection.id)
            for model in models_shown():
                show(rows_below(db.session(), root, model)[0])
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_rows_are_paged_by_their_ids(app: Flask, world: World, inspection: Inspection) -> None:
    ids = [world.form_fill(inspection).id for _ in range(5)]
    pages: list[list[int]] = []
    after = None
    with app.app_context():
        root = db.session.get_one(Inspection, inspection.id)
        while not pages or after is not None:
            rows, after = rows_below(db.session(), root, FormFill, after=after, most=2)
            pages.append([row.id for row in rows])
    assert pages == [ids[:2], ids[2:4], ids[4:]]


def test_rows_below_many_inspections_are_paged_in_the_order_of_these(app: Flask, world: World, owner: User) -> None:
    roots = [world.inspection(owner) for _ in range(3)]
    made = [(root.id, world.form_fill(root).id) for root in (roots[1], roots[0], roots[2], roots[1], roots[0])]
    wanted = sorted(pair for pair in made if pair[0] != roots[2].id)
    with app.app_context():
        known = inspections_with_ids(db.session(), [roots[1].id, roots[0].id, 10**6])
        assert known.keys() == {roots[0].id, roots[1].id}
        keys = keys_below(db.session(), known, FormFill, most=3)
        assert keys == wanted[:3]
        assert keys_below(db.session(), known, FormFill, after=keys[-1], most=3) == wanted[3:]
        rows = rows_with_keys(db.session(), known, FormFill, [*keys, (roots[0].id, 10**6)])
        assert [(row.inspection.id, row.id) for row in rows] == keys
        assert all(isinstance(row, FormFill) and isinstance(row.inspection, Inspection) for row in rows)
        assert keys_below(db.session(), {}, FormFill) == []


def test_deleted_pictures_are_not_below_an_inspection(app: Flask, form_fill: FormFill) -> None:
    with app.app_context():
        known = inspections_with_ids(db.session(), [form_fill.inspection_id])
        assert len(keys_below(db.session(), known, Attachment)) == 1
        db.session.remove()
        with writing(db.engine) as connection:
            connection.execute(update(Attachment).values(deleted_at=form_fill.created_at))
        assert keys_below(db.session(), known, Attachment) == []
