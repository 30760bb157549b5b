"""The order in which an operation is judged: remembered, schema, rows, policy, conflict (contract, section 3)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import Schema, fields

from app.models import Attachment, FormFill, User
from app.plugin_api import Context, Operation, Outcome, by_id
from app.testing import World, push
from tests.core.sync.conftest import stored
from tests.core.sync.test_plugin_safety import AnySchema, install, item


class StricterSchema(Schema):
    """The next version of a plugin asks for a field that earlier apps do not send."""

    unit = fields.String(required=True)


def forget_the_type(app: Flask) -> None:
    del app.extensions["fieldpost.registry"].routes["careless"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda app: install(app, schema=StricterSchema), id="the schema is stricter now"),
        pytest.param(lambda app: install(app, policy=lambda *_: False), id="nobody may do it now"),
        pytest.param(forget_the_type, id="the type is gone"),
    ],
)
def test_an_applied_operation_is_answered_again_although_it_would_be_refused_now(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, change: Any
) -> None:
    install(app)
    sent = item(form_fill, "x")
    (first,) = push(device, sent)["success"]
    change(app)
    (again,) = push(device, sent)["success"]
    assert (again["replayed"], again["server_id"]) == (True, first["server_id"])
    assert stored(world, form_fill) == {"a": 0, "b": 0, "x": 1}


def test_a_retry_about_a_row_that_was_deleted_meanwhile_shows_nothing_of_it(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    photo = world.attachment(form_fill)
    install(app, target=by_id(Attachment))
    sent = {"type": "careless", "local_id": "x", "data": {"id": photo.id, "caption": "Riser"}}
    (first,) = push(device, sent)["success"]
    assert first["data"]["caption"] == "Riser"
    delete = {"form_fill_id": form_fill.id, "field_name": photo.field_name}
    assert push(device, {"type": "photo_delete", "local_id": "d", "data": delete})["success"]
    (again,) = push(device, sent)["success"]
    assert (again["replayed"], again["server_id"]) == (True, photo.id)
    assert not {"data", "updated_at"} & again.keys()


def test_the_policy_is_asked_about_every_row_that_may_be_changed(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, tech: User, owner: User
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        context.change(operation.rows["other"], {"x": 1})
        return Outcome()

    install(app, schema=AnySchema, rows={"other": by_id(FormFill, "other_id")}, apply=apply)
    forbidden, permitted = (world.form_fill(world.inspection(owner, assignee)) for assignee in (None, tech))
    (entry,) = push(device, item(form_fill, "a", other_id=forbidden.id))["errors"]
    assert entry["code"] == "forbidden"
    assert "x" not in stored(world, forbidden)
    assert push(device, item(form_fill, "b", other_id=permitted.id))["success"]
    assert stored(world, permitted)["x"] == 1
