"""Corrections from the office go through the pipeline of devices (contract, section 8)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.administration import Applied, Conflict, Correction, Form, Refused, apply_in_office, form_of, may_correct
from app.clock import to_wire
from app.models import Attachment, FormFill, Inspection, LedgerOperation, User, UserSync, db
from tests.conftest import SettableClock, World
from tests.support.cases import cases


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    """A form fill of the inspection, filled by nobody yet."""
    return world.form_fill(inspection)


def correct(app: Flask, user: User, row: Any, values: dict[str, Any], version: str | None = None) -> Correction:
    """Correct a row as a page does it."""
    with app.app_context():
        form = form_of(type(row))
        assert form is not None
        payload = form.payload(row.id, version or to_wire(row.updated_at), values)
        return apply_in_office(user, form.handler.type, payload)


def data_of(world: World, form_fill: FormFill) -> Any:
    return world.get(FormFill, form_fill.id).data


def test_a_correction_is_applied_and_the_history_names_its_door_and_user(
    app: Flask, world: World, owner: User, form_fill: FormFill
) -> None:
    answer = correct(app, owner, form_fill, {"Location_row_1": "Roof"})
    assert isinstance(answer, Applied)
    stored = world.get(FormFill, form_fill.id)
    assert (stored.data["Location_row_1"], to_wire(stored.updated_at)) == ("Roof", answer.version)
    (head,) = [row for row in world.all(LedgerOperation) if row.door == "office"]
    assert (head.user_id, head.device_id, head.type) == (owner.id, "", "form_fill")


def test_a_correction_is_no_sync_of_its_user(app: Flask, owner: User, form_fill: FormFill) -> None:
    correct(app, owner, form_fill, {"Location_row_1": "Roof"})
    with app.app_context():
        assert db.session.scalars(select(UserSync)).all() == []


def test_a_correction_of_an_older_version_is_a_conflict_and_writes_nothing(
    app: Flask, world: World, owner: User, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    first = correct(app, owner, form_fill, {"Location_row_1": "Roof"})
    clock.forward(minutes=1)
    second = correct(app, owner, form_fill, {"Location_row_1": "Cellar"})
    assert isinstance(first, Applied)
    assert isinstance(second, Conflict), "one's own earlier correction may be somebody else's for this page"
    assert (second.version, second.fields) == (first.version, ["Location_row_1"])
    assert second.present["Location_row_1"] == "Roof"
    assert data_of(world, form_fill)["Location_row_1"] == "Roof"
    third = correct(app, owner, form_fill, {"Location_row_1": "Cellar"}, second.version)
    assert isinstance(third, Applied)
    assert data_of(world, form_fill)["Location_row_1"] == "Cellar"


def test_the_policy_of_the_type_is_asked(app: Flask, world: World, stranger: User, form_fill: FormFill) -> None:
    answer = correct(app, stranger, form_fill, {"Location_row_1": "Roof"})
    assert isinstance(answer, Refused)
    assert answer.code == "forbidden"
    assert data_of(world, form_fill) == form_fill.data


def test_the_schema_of_the_type_names_the_field_at_fault(app: Flask, owner: User, inspection: Inspection) -> None:
    answer = correct(app, owner, inspection, {"status": "perhaps"})
    assert isinstance(answer, Refused)
    assert (answer.code, list(answer.details)) == ("invalid", ["status"])


@cases("value", ["\0", "\ud800", 2**70])
def test_a_value_that_no_database_takes_is_refused(
    app: Flask, world: World, owner: User, form_fill: FormFill, value: object
) -> None:
    answer = correct(app, owner, form_fill, {"Location_row_1": value})
    assert isinstance(answer, Refused)
    assert data_of(world, form_fill) == form_fill.data


def test_a_type_that_is_not_installed_is_refused(app: Flask, owner: User, form_fill: FormFill) -> None:
    with app.app_context():
        answer = apply_in_office(owner, "no_such_type", {"id": form_fill.id})
    assert isinstance(answer, Refused)
    assert answer.code == "invalid_type"


@pytest.fixture
def forms(app: Flask) -> dict[str, Form | None]:
    """How the rows of the core's models are corrected."""
    with app.app_context():
        return {model.__name__: form_of(model) for model in (Inspection, FormFill, Attachment, User)}


def test_the_type_that_corrects_a_model_is_found_by_its_target_and_schema(forms: dict[str, Form | None]) -> None:
    names = {name: form and form.handler.type for name, form in forms.items()}
    assert names == {"Inspection": "inspection", "FormFill": "form_fill", "Attachment": None, "User": None}


def test_a_form_takes_the_fields_that_its_type_sets(forms: dict[str, Form | None]) -> None:
    inspection, form_fill = forms["Inspection"], forms["FormFill"]
    assert inspection is not None
    assert form_fill is not None
    assert {attr.key for attr in Inspection.__mapper__.column_attrs if inspection.takes(attr.key)} == {
        "status",
        "notes",
    }
    assert form_fill.takes("Location_row_1")
    assert not form_fill.takes("form_template_id")
    assert not form_fill.takes("updated_at")


def test_the_policy_can_be_asked_before(
    world: World, forms: dict[str, Form | None], owner: User, stranger: User, inspection: Inspection
) -> None:
    form = forms["Inspection"]
    assert form is not None
    present = world.get(Inspection, inspection.id)
    assert may_correct(owner, form, present)
    assert not may_correct(stranger, form, present)
