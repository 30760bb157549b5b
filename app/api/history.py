"""`GET /form_fills/:id/history` and the like: the changes of a row, newest first (contract, section 7).

Users who may read a row may read its history. The history of a deleted row is for administrators only: they want to
know who deleted it and its last content, and nobody can tell any more whether others were allowed to see it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from flask import Response
from sqlalchemy import Column, String, inspect, select

from app import policies
from app.api.fields import NUMBER_FORM
from app.api.form_fills import visible_form_fill
from app.api.paging import PageSchema, read_page
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.history import describe_entries, entries_of
from app.core.values import MAX_INTEGER, Values
from app.errors import NotFoundError
from app.models import FormFill, Inspection
from app.models.entities import entity_of
from app.openapi.shapes import (
    FORM_FILL_KEY,
    ID,
    ID_IN_ADDRESS,
    OBJECT,
    TEXT,
    TIME,
    Named,
    nullable,
    obj,
    page_of,
    with_description,
)
from app.plugin_api import Model
from app.web import RestBlueprint, answer, described, signed_in_user

#: The id of a row in its column's type.
RowId: TypeAlias = int | str

blueprint = RestBlueprint("history", __name__, description="Who changed what, when, from which value to which")

#: A change of a row, or a user's gain or loss of it.
ENTRY = Named(
    "HistoryEntry",
    obj(
        id=ID,
        action=TEXT,
        recorded_at=TIME,
        user_id=nullable(ID),
        device_id=nullable(TEXT),
        door=with_description(nullable(TEXT), "`sync`, `upload`, `rest`, `cli`: the way it came in."),
        type=nullable(TEXT),
        local_id=nullable(TEXT),
        made_at=with_description(nullable(TIME), "When the change was made, by the device's clock."),
        meta=with_description(nullable(OBJECT), "What the app has noted about the change."),
        version_before=nullable(TIME),
        version_after=nullable(TIME),
        changes=with_description(
            nullable(OBJECT), 'Field → `{"old", "new"}`; a missing `old` says that the field was absent.'
        ),
    ),
)
HISTORY = page_of("history", ENTRY)


@blueprint.get("/form_fills/<key>/history")
@described(path={"key": FORM_FILL_KEY}, data=HISTORY, errors=("not_found",))
@blueprint.query(PageSchema)
def form_fill_history(query: Values, key: str) -> Response:
    """The changes of a form fill, named by its id or client_id."""
    return _history(FormFill, key, query, visible_form_fill)


@blueprint.get("/inspections/<key>/history")
@described(path={"key": ID_IN_ADDRESS}, data=HISTORY, errors=("not_found",))
@blueprint.query(PageSchema)
def inspection_history(query: Values, key: str) -> Response:
    """The changes of an inspection itself."""
    return _history(Inspection, key, query, partial(_visible, Inspection))


@blueprint.get("/entities/<name>/<key>/history")
@described(
    path={
        "name": with_description(TEXT, "The entity, as in the feed."),
        "key": with_description(TEXT, "The row's id."),
    },
    data=HISTORY,
    errors=("not_found",),
)
@blueprint.query(PageSchema)
def entity_history(query: Values, name: str, key: str) -> Response:
    """The changes of a row of any entity below inspections, plugins' entities included."""
    model: Model | None = current_registry().models.get(name)
    if model is None or not hasattr(model, "inspection_id"):
        raise NotFoundError("There is no such entity")
    return _history(model, key, query, partial(_visible, model))


def _visible(model: Model, key: str) -> RowId:
    """The id of the row that an address names. Raises `NotFoundError` unless the user may see it."""
    column = inspect(model).primary_key[0]
    statement = select(model.id).where(column == _typed(column, key), policies.visible(signed_in_user()))
    if model is not Inspection:
        statement = statement.join(Inspection, Inspection.id == model.inspection_id)
    row_id: RowId | None = db.session.scalar(statement)
    if row_id is None:
        raise NotFoundError(f"{entity_of(model).label} not found")
    return row_id


def _deleted(model: Model, key: str) -> RowId | None:
    """The id of a row that has a history but cannot be seen any more; None for all but administrators."""
    row_id = _typed(inspect(model).primary_key[0], key)
    newest = entries_of(entity_of(model).name, row_id).limit(1)
    return row_id if policies.is_admin(signed_in_user()) and db.session.scalar(newest) is not None else None


def _typed(column: Column[Any], key: str) -> RowId:
    """The key in the column's type; a key that cannot be an id becomes one that no row has."""
    if isinstance(column.type, String):
        return key.replace("\0", "")
    number = int(key) if NUMBER_FORM.fullmatch(key) else 0
    return number if number <= MAX_INTEGER else 0


def _history(model: Model, key: str, query: Values, find: Callable[[str], RowId]) -> Response:
    """A page of the history of the row that `find` returns for the key, or of a deleted row."""
    try:
        row_id = find(key)
    except NotFoundError:
        deleted_id = _deleted(model, key)
        if deleted_id is None:
            raise
        row_id = deleted_id
    statement = entries_of(entity_of(model).name, row_id)
    page = read_page(db.session(), statement, query, "history", partial(describe_entries, db.session()))
    return answer(page, "History retrieved successfully")
