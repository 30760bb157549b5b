"""`GET /form_fills/:id/history` and the like: the changes of a row, newest first (contract, section 7).

Users who may read a row may read its history. The history of a deleted row is for administrators only: they want to
know who deleted it and its last content, and nobody can tell any more whether others were allowed to see it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from flask import Response
from sqlalchemy import String, inspect, select

from app import policies
from app.api.form_fills import visible_form_fill
from app.api.inspections import visible_inspection
from app.api.paging import PageSchema, read_page
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.history import describe_entries, entries_of
from app.core.values import Values, read_id, read_key, read_text_id
from app.errors import NotFoundError
from app.models import FormFill, Inspection
from app.models.entities import entity_of
from app.models.serialize import is_named
from app.openapi.shapes import (
    FORM_FILL_KEY,
    ID,
    INSPECTION_KEY,
    OBJECT,
    TEXT,
    TIME,
    TRUE,
    Named,
    nullable,
    obj,
    page_of,
    with_description,
)
from app.plugin_api import Model
from app.web import RestBlueprint, answer, described, signed_in_user, wrong_id

#: The id of a row in its column's type.
RowId: TypeAlias = int | str

blueprint = RestBlueprint("history", __name__, description="Who changed what, when, from which value to which")

#: A change of a row, or a user's gain or loss of it.
ENTRY = Named(
    "HistoryEntry",
    obj(
        ("is_cut",),
        id=ID,
        action=TEXT,
        recorded_at=TIME,
        user_id=nullable(ID),
        device_id=nullable(TEXT),
        door=with_description(
            nullable(TEXT), "`sync`, `rescue`, `upload`, `rest`, `page`, `office`, `cli`: the way it came in."
        ),
        decided_by=with_description(nullable(ID), "Who in the office decided it in the user's place."),
        read_in_by=with_description(nullable(ID), "The administrator who has read in the user's rescue file."),
        type=nullable(TEXT),
        local_id=nullable(TEXT),
        made_at=with_description(nullable(TIME), "When the change was made, by the device's clock."),
        meta=with_description(nullable(OBJECT), "What the app has noted about the change."),
        version_before=nullable(TIME),
        version_after=nullable(TIME),
        changes=with_description(
            nullable(OBJECT), 'Field → `{"old", "new"}`; a missing `old` says that the field was absent.'
        ),
        is_cut=with_description(TRUE, "The page had no room for `changes`: ask with a smaller `per_page`."),
    ),
)
HISTORY = page_of("history", ENTRY)


@blueprint.get("/form_fills/<row_key:key>/history")
@described(path={"key": FORM_FILL_KEY}, data=HISTORY, errors=("not_found",))
@blueprint.query(PageSchema)
def form_fill_history(query: Values, key: RowId) -> Response:
    """The changes of a form fill, named by its id or client_id."""
    return _history(FormFill, key, query, visible_form_fill)


@blueprint.get("/inspections/<row_key:key>/history")
@described(path={"key": INSPECTION_KEY}, data=HISTORY, errors=("not_found",))
@blueprint.query(PageSchema)
def inspection_history(query: Values, key: RowId) -> Response:
    """The changes of an inspection itself, named by its id or client_id."""
    return _history(Inspection, key, query, visible_inspection)


@blueprint.get("/entities/<name>/<key>/history")
@described(
    path={
        "name": with_description(TEXT, "The entity, as in the feed."),
        "key": with_description(TEXT, "The row's id."),
    },
    data=HISTORY,
    errors=("invalid", "not_found"),
)
@blueprint.query(PageSchema)
def entity_history(query: Values, name: str, key: str) -> Response:
    """The changes of a row of any entity below inspections, plugins' entities included."""
    model: Model | None = current_registry().models.get(name)
    if model is None or not hasattr(model, "inspection_id"):
        raise NotFoundError("There is no such entity")
    return _history(model, _row_id(model, key), query, partial(_visible, model))


def _visible(model: Model, key: RowId) -> RowId:
    """The id of the row that an address names. Raises `NotFoundError` unless the user may see it."""
    statement = select(model.id).where(is_named(model, key), policies.visible(signed_in_user()))
    if model is not Inspection:
        statement = statement.join(Inspection, Inspection.id == model.inspection_id)
    row_id: RowId | None = db.session.scalar(statement)
    if row_id is None:
        raise NotFoundError(f"{entity_of(model).label} not found")
    return row_id


def _is_deleted(model: Model, key: RowId) -> bool:
    """Whether a row has a history but cannot be seen any more; False for all but administrators."""
    newest = entries_of(entity_of(model).name, key).limit(1)
    return policies.is_admin(signed_in_user()) and db.session.scalar(newest) is not None


def _row_id(model: Model, key: str) -> RowId:
    """The id in an address, of the type that the model's ids have, or a client_id. Raises `InvalidError`."""
    try:
        if isinstance(inspect(model).primary_key[0].type, String):
            return read_text_id(key)
        return read_key(key) if hasattr(model, "client_id") else read_id(key)
    except ValueError:
        raise wrong_id("key") from None


def _history(model: Model, key: RowId, query: Values, find: Callable[[RowId], RowId]) -> Response:
    """A page of the history of the row that `find` returns for the key, or of a deleted row with this id."""
    try:
        row_id = find(key)
    except NotFoundError:
        if not _is_deleted(model, key):
            raise
        row_id = key
    statement = entries_of(entity_of(model).name, row_id)
    page = read_page(db.session(), statement, query, "history", partial(describe_entries, db.session()))
    return answer(page, "History retrieved successfully")
