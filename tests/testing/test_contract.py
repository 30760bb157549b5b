"""The contract for handlers finds what is wrong with a careless one; each mistake fails the test that is about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from marshmallow import EXCLUDE, Schema, fields
from sqlalchemy import select

from app import policies
from app.core.database.engine import db
from app.core.host.registry import Registered
from app.errors import NoFieldError
from app.models import FormFill, Inspection
from app.plugin_api import Context, Label, Operation, Outcome, Row, SyncHandler, by_id, edit, recorded_columns
from app.testing import HandlerContract, Scene, World, push


class NoteSchema(Schema):
    note = fields.String(required=True)


class CarelessSchema(NoteSchema):
    class Meta:
        unknown = EXCLUDE


good = SyncHandler(
    type="note",
    schema=NoteSchema,
    target=by_id(FormFill),
    policy=policies.change,
    apply=edit,
    examples=({"type": "note", "local_id": "1", "data": {"id": 1, "note": "x"}},),
)


def query(operation: Operation, context: Context) -> Outcome:
    db.session.execute(select(FormFill.id)).all()
    return edit(operation, context)


def trust(operation: Operation, context: Context) -> Outcome:
    context.change(operation.target, {"note": operation.data["note"][0] + "…"})
    return Outcome()


class NoteContract(HandlerContract):
    def target(self, world: World, inspection: Inspection) -> Row:
        return world.form_fill(inspection)

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        return {"id": target.id, "note": f"{number}"}


def contract_for(app: Flask, handler: SyncHandler, kind: type[NoteContract] | None = None) -> NoteContract:
    """The contract of a handler that is installed in this application."""
    registry = app.extensions["fieldpost.registry"]
    registry.handlers["note"] = Registered(handler=handler, entry_point="x:y", distribution="x", version="1")
    registry.routes["note"] = handler
    found = (kind or NoteContract)()
    found.handler = handler  # type: ignore[misc]
    return found


MISTAKES: dict[str, tuple[dict[str, Any], Callable[[NoteContract, Scene], None]]] = {
    "everybody may": (
        {"policy": lambda *_: True},
        lambda contract, scene: contract.test_nobody_else_may_nor_sees_any_data(scene, "stranger"),
    ),
    "nobody may": (
        {"policy": lambda *_: False},
        lambda contract, scene: contract.test_whoever_may_change_the_inspection_may_do_it(scene, "technician"),
    ),
    "unknown keys are dropped": (
        {"schema": CarelessSchema},
        lambda contract, scene: contract.test_an_unknown_key_is_invalid_and_named(scene),
    ),
    "it queries": (
        {"apply": query},
        lambda contract, scene: contract.test_the_number_of_statements_does_not_depend_on_the_number_of_items(scene),
    ),
    "it trusts a value": (
        {"apply": trust},
        lambda contract, scene: contract.test_no_value_makes_it_fail(scene),
    ),
    "an example is wrong": (
        {"examples": ({"type": "note", "local_id": "1", "data": {"id": 1}},)},
        lambda contract, scene: contract.test_its_examples_are_valid(scene.app),
    ),
    "it changes nothing": (
        {"apply": lambda *_: Outcome()},
        lambda contract, scene: contract.test_a_stale_version_is_a_conflict_and_nothing_is_written(scene),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails_the_test_that_is_about_it(app: Flask, mistake: str) -> None:
    parts, run = MISTAKES[mistake]
    with pytest.raises((AssertionError, ValueError)):
        run(contract_for(app, replace(good, **parts)), Scene(app))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_handler_without_it_passes(app: Flask, mistake: str) -> None:
    MISTAKES[mistake][1](contract_for(app, good), Scene(app))


class CreatingContract(HandlerContract):
    creates_only = True

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        return {
            "inspection_id": inspection.id,
            "form_template_id": self.world.template().id,
            "data": {"note": f"{number}"},
        }


def test_a_type_that_only_creates_rows_is_tested_without_changes(app: Flask) -> None:
    contract = CreatingContract()
    contract.handler = app.extensions["fieldpost.registry"].routes["form_fill"]  # type: ignore[misc]
    scene = Scene(app)
    contract.world = scene.world
    contract.test_whoever_may_change_the_inspection_may_create(scene, "technician")
    with pytest.raises(pytest.skip.Exception):
        contract.test_a_retry_is_answered_again_and_changes_nothing(scene)
    with pytest.raises(NotImplementedError):
        HandlerContract().target(scene.world, scene.inspection)


def no_title(_form_fill: Row) -> str:
    raise KeyError("name")


DECLARATIONS: dict[str, dict[str, Any]] = {
    "the title raises": {"title": no_title},
    "the title is no text": {"title": lambda form_fill: form_fill.id},
    "the labels are texts": {"labels": lambda form_fill: ["Location"]},
    "the labels are of no known kind": {"labels": lambda form_fill: [Label(name="x", label="X", kind="video")]},
    "the record raises": {"record": no_title},
    "the record is no JSON": {"record": lambda form_fill: {"id": Decimal(form_fill.id)}},
    "the record queries": {"record": lambda form_fill: {"id": db.session.scalar(select(1))}},
    "the labels query": {"labels": lambda form_fill: [Label(name=str(db.session.scalar(select(1))), label="X")]},
}


@pytest.mark.parametrize("mistake", DECLARATIONS)
def test_a_wrong_declaration_of_the_entity_fails_the_test_that_is_about_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    contract, scene = contract_for(app, good), Scene(app)
    contract.test_people_see_its_rows_as_the_entity_declares(scene)
    monkeypatch.setattr(FormFill, "__entity__", replace(FormFill.__entity__, **DECLARATIONS[mistake]))
    with pytest.raises((AssertionError, KeyError, TypeError)):
        contract.test_people_see_its_rows_as_the_entity_declares(scene)


class InspectionNoteContract(NoteContract):
    def target(self, world: World, inspection: Inspection) -> Row:
        return inspection

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        return {"id": target.id, "notes": f"{number}"}


class NotesSchema(Schema):
    notes = fields.String(required=True)


@pytest.fixture
def notes_are_forgotten() -> Iterator[None]:
    """The column `notes` of inspections is no field."""
    object.__setattr__(Inspection.__entity__, "unrecorded", ("notes",))
    recorded_columns.cache_clear()
    yield
    object.__setattr__(Inspection.__entity__, "unrecorded", ())
    recorded_columns.cache_clear()


@pytest.mark.usefixtures("notes_are_forgotten")
def test_a_change_of_what_is_no_field_fails_with_a_line_that_names_the_fields(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    handler = replace(good, schema=NotesSchema, target=by_id(Inspection), examples=())
    contract, scene = contract_for(app, handler, InspectionNoteContract), Scene(app)
    with pytest.raises(ValueError, match="not enough values to unpack"):
        contract.test_a_merge_writes_over_nothing(scene)
    (failure,) = [record for record in caplog.records if record.getMessage() == "handler failed"]
    assert failure.exc_info is not None
    assert isinstance(failure.exc_info[1], NoFieldError)
    assert "Inspection was to change something that is no field. Its fields are date, status, sys" in str(
        failure.exc_info[1]
    )


def test_a_merge_that_writes_over_a_change_fails_the_test_that_is_about_it(app: Flask) -> None:
    def overwrite(operation: Operation, context: Context) -> Outcome:
        context.change(operation.target, {"notes": operation.data["notes"]})
        return Outcome()

    handler = replace(
        good,
        schema=NotesSchema,
        target=by_id(Inspection),
        apply=overwrite,
        changes=lambda data: {"said": data["notes"]},
        examples=(),
    )
    with pytest.raises(AssertionError, match="must be fields of the entity"):
        contract_for(app, handler, InspectionNoteContract).test_a_merge_writes_over_nothing(Scene(app))


def test_a_failed_assertion_of_the_helpers_shows_its_values(app: Flask) -> None:
    """`pytest.register_assert_rewrite("app.testing")` covers the modules of the package, too."""
    with pytest.raises(AssertionError, match="401 == 200"):
        push(app.test_client())
