"""`GET /form_fills/:id/history` and its like: what happened to a row, newest first (contract, section 7).

Whoever may read a row may read its history. Of a row that is gone only administrators may: nobody else could tell
whether it was theirs to see, and administrators are those who want to know who deleted it, and what it said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flask import Response
from sqlalchemy import String, inspect, select

from app import policies
from app.api.fields import NUMBER_FORM
from app.api.form_fills import visible_form_fill
from app.api.paging import PageSchema, read_page
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.history import describe_entries, entries_of
from app.core.values import MAX_INTEGER
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
    told,
)
from app.web import RestBlueprint, answer, described, signed_in_user

blueprint = RestBlueprint("history", __name__, description="Who changed what, when, from which value to which")


#: One change of a row, or gain or loss of sight of it.
ENTRY = Named(
    "HistoryEntry",
    obj(
        id=ID,
        action=TEXT,
        recorded_at=TIME,
        user_id=nullable(ID),
        device_id=nullable(TEXT),
        door=told(nullable(TEXT), "`sync`, `upload`, `rest`, `cli`: the way it came in."),
        type=nullable(TEXT),
        local_id=nullable(TEXT),
        version_before=nullable(TIME),
        version_after=nullable(TIME),
        changes=told(nullable(OBJECT), 'Field → `{"old", "new"}`; a missing `old` says that the field was absent.'),
    ),
)
HISTORY = page_of("history", ENTRY)


@blueprint.get("/form_fills/<key>/history")
@described(path={"key": FORM_FILL_KEY}, data=HISTORY, faults=("not_found",))
@blueprint.query(PageSchema)
def form_fill_history(query: Mapping[str, Any], key: str) -> Response:
    """What happened to a form fill, named by its id or client_id."""
    return _history(FormFill, key, query, visible_form_fill)


@blueprint.get("/inspections/<key>/history")
@described(path={"key": ID_IN_ADDRESS}, data=HISTORY, faults=("not_found",))
@blueprint.query(PageSchema)
def inspection_history(query: Mapping[str, Any], key: str) -> Response:
    """What happened to an inspection itself."""
    return _history(Inspection, key, query, partial(_visible, Inspection))


@blueprint.get("/entities/<name>/<key>/history")
@described(
    path={"name": told(TEXT, "The entity, as in the feed."), "key": told(TEXT, "The row's id.")},
    data=HISTORY,
    faults=("not_found",),
)
@blueprint.query(PageSchema)
def entity_history(query: Mapping[str, Any], name: str, key: str) -> Response:
    """What happened to a row of any entity that stands below an inspection, plugins' included."""
    model: Any = current_registry().models.get(name)
    if model is None or not hasattr(model, "inspection_id"):
        raise NotFoundError("There is no such entity")
    return _history(model, key, query, partial(_visible, model))


def _visible(model: Any, key: str) -> Any:
    """The id of the row that an address names. Raises `NotFoundError` unless the user may see it."""
    column = inspect(model).primary_key[0]
    statement = select(model.id).where(column == _typed(column, key), policies.visible(signed_in_user()))
    if model is not Inspection:
        statement = statement.join(Inspection, Inspection.id == model.inspection_id)
    found = db.session.scalar(statement)
    if found is None:
        raise NotFoundError(f"{entity_of(model).label} not found")
    return found


def _gone(model: Any, key: str) -> Any:
    """The id of a row that is told of, though it cannot be seen; None for anybody but administrators."""
    row_id = _typed(inspect(model).primary_key[0], key)
    told = entries_of(entity_of(model).name, row_id).limit(1)
    return row_id if policies.is_admin(signed_in_user()) and db.session.scalar(told) is not None else None


def _typed(column: Any, key: str) -> Any:
    """The key as the column has it; what it cannot be is no row's id."""
    if isinstance(column.type, String):
        return key.replace("\0", "")
    number = int(key) if NUMBER_FORM.fullmatch(key) else 0
    return number if number <= MAX_INTEGER else 0


def _history(model: Any, key: str, query: Mapping[str, Any], find: Callable[[str], Any]) -> Response:
    """A page of what happened to the row that `find` makes of the key, or to one that is gone."""
    try:
        row_id = find(key)
    except NotFoundError:
        row_id = _gone(model, key)
        if row_id is None:
            raise

    def described(ids: Sequence[int]) -> list[dict[str, Any]]:
        return describe_entries(db.session(), ids)

    statement = entries_of(entity_of(model).name, row_id)
    found = read_page(db.session(), statement, query, "history", described)
    return answer(found, "History retrieved successfully")
