"""A row that comes to point elsewhere between the look at it and its lock: the batch locks the row it points to now."""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import Schema, fields
from sqlalchemy import update

from app import policies
from app.core.database.engine import db
from app.core.host.registry import Registered
from app.core.ledger.record import Origin, Recorder, record
from app.core.ledger.unit import RaceError, is_repeatable, unit_of_work
from app.models import Attachment, FormFill, Inspection, User
from app.plugin_api import Context, Operation, Outcome, SyncHandler, by_id, via
from app.testing import push
from tests.conftest import World
from tests.core.sync.conftest import stored
from tests.core.sync.racers import race


class CaptionSchema(Schema):
    caption = fields.String(required=True)


def write_caption(operation: Operation, context: Context) -> Outcome:
    """Change the form fill that the photo belongs to."""
    context.change(operation.rows["form_fill"], dict(operation.data))
    return Outcome()


HANDLER = SyncHandler(
    type="caption",
    schema=CaptionSchema,
    target=by_id(Attachment),
    rows={"form_fill": via(FormFill, column="form_fill_id")},
    policy=policies.change,
    apply=write_caption,
)


@pytest.fixture
def app(app: Flask) -> Flask:
    registry = app.extensions["fieldpost.registry"]
    registry.handlers["caption"] = Registered(
        handler=HANDLER, entry_point="captions:handler", distribution="captions", version="1.0"
    )
    registry.routes["caption"] = HANDLER
    return app


@pytest.fixture
def photo(world: World, form_fill: FormFill) -> Attachment:
    return world.attachment(form_fill)


def move(app: Flask, photo: Attachment, form_fill: FormFill) -> None:
    """Let the photo belong to this form fill, in a unit of work of its own."""
    statement = update(Attachment).where(Attachment.id == photo.id).values(form_fill_id=form_fill.id)
    with app.app_context():
        unit_of_work(lambda _: db.session.execute(statement))


def caption(photo: Attachment, text: str) -> dict[str, Any]:
    return {"type": "caption", "local_id": text, "data": {"id": photo.id, "caption": text}}


@pytest.mark.parametrize("is_shown", [False, True], ids=["unknown to the batch", "shown by a retry in the batch"])
def test_a_pointer_that_moves_before_its_row_is_locked_repeats_the_unit(
    app: Flask,
    database: str,
    world: World,
    device: FlaskClient,
    inspection: Inspection,
    form_fill: FormFill,
    photo: Attachment,
    caplog: pytest.LogCaptureFixture,
    is_shown: bool,
) -> None:
    """A retry is answered with its row, which is loaded without a lock: nothing may be changed in such a row."""
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "data": {"a": 1}}
    retry = {"type": "form_fill", "local_id": "create", "data": new}
    target = world.get(FormFill, push(device, retry)["success"][0]["server_id"])
    items = [*([retry] if is_shown else []), caption(photo, "Riser")]
    with caplog.at_level(logging.WARNING):
        _, results = race(app, lambda: move(app, photo, target), lambda: push(device, *items))
    assert len(results["success"]) == len(items)
    assert stored(world, target) == {"a": 1, "caption": "Riser"}
    assert "caption" not in stored(world, form_fill)
    # On SQLite the batch looks at nothing before its turn, when nobody else writes.
    warnings = [(each.message, each.__dict__.get("reason")) for each in caplog.records]
    assert warnings == ([("unit repeated", "form_fill_id of Attachment changed meanwhile")] if database else [])


def test_a_row_of_another_inspection_that_appears_before_its_lock_repeats_the_unit(
    app: Flask,
    database: str,
    world: World,
    device: FlaskClient,
    inspection: Inspection,
    form_fill: FormFill,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The batch waits for an inspection while a form fill that it names is made below one that it has not locked."""
    other = world.inspection(world.get(User, inspection.owner_id), world.get(User, inspection.assignee_id))
    values = {"form_template_id": form_fill.form_template_id, "data": {}, "client_id": str(uuid4())}

    def create(recorder: Recorder) -> None:
        db.session.get_one(Inspection, inspection.id, with_for_update=True)
        recorder.create(FormFill, values, db.session.get_one(Inspection, other.id))

    def create_below_other() -> None:
        with app.app_context():
            record("test.create", Origin(door="cli"), create)

    items = [
        {"type": "inspection", "local_id": "waits", "data": {"id": inspection.id, "notes": "x"}},
        {"type": "form_fill", "local_id": "edit", "data": {"id": values["client_id"], "changes": {"a": 1}}},
    ]
    with caplog.at_level(logging.WARNING):
        _, results = race(app, create_below_other, lambda: push(device, *items))
    assert [entry["local_id"] for entry in results["success"]] == ["waits", "edit"]
    warnings = [each.__dict__.get("reason") for each in caplog.records if each.message == "unit repeated"]
    assert warnings == (["A row of another inspection appeared meanwhile"] if database else [])


def test_a_race_is_a_reason_to_repeat_the_unit() -> None:
    assert is_repeatable(RaceError())
