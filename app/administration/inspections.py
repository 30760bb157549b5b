"""The administration of inspections: create, change, assign, delete with all rows below (contract, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session

from app.accounts.administrators import lock_users, require_still_admin
from app.core.host.registry import current_registry
from app.core.ledger.audit import note
from app.core.ledger.record import Origin, Recorder, record
from app.core.ledger.set_aside import remove_of_inspection
from app.core.ledger.versions import require_version
from app.core.values import JsonObject, Values
from app.errors import InvalidError, NotFoundError
from app.models import OBJECTS, Attachment, FormFill, FormTemplate, Inspection, User
from app.models.serialize import is_named, serialize, undeleted
from app.models.shown import rows_with_ids
from app.plugin_api import Model, Row

T = TypeVar("T")

#: The columns that name the people of an inspection.
PEOPLE = ("owner_id", "assignee_id")


def serialize_rows(session: Session, model: Model, ids: Iterable[int]) -> list[JsonObject]:
    """The rows with these ids as JSON objects, ordered by id."""
    return [serialize(row) for row in rows_with_ids(session, model, list(ids))]


def serialize_inspection(session: Session, inspection_id: int) -> JsonObject:
    """One inspection as a JSON object. Raises `NotFoundError`."""
    rows = serialize_rows(session, Inspection, [inspection_id])
    if not rows:
        raise NotFoundError("Inspection not found")
    return rows[0]


def create_inspection(origin: Origin, values: Values, form_template_ids: Sequence[int]) -> tuple[int, list[int]]:
    """Create an inspection with one form fill for each template; returns the inspection's id and the form fills' ids.

    The owner is the origin's user unless `values` names one. Raises `InvalidError` if people or templates are unknown
    or unsuitable.
    """

    def work(recorder: Recorder) -> tuple[int, list[int]]:
        require_still_admin(recorder)
        columns = {name: _merged(None, name, value) for name, value in values.items()}
        columns = {"owner_id": origin.user_id, "form_template_id": form_template_ids[0], **columns}
        check_people(recorder.session, columns)
        _check_templates(recorder.session, form_template_ids)
        inspection: Inspection = recorder.create(Inspection, columns)
        form_fills = [
            recorder.create(FormFill, {"form_template_id": template_id, "data": {}}, inspection)
            for template_id in form_template_ids
        ]
        return inspection.id, [form_fill.id for form_fill in form_fills]

    # Ids are reserved one by one, because people call inspections by their ids, which should follow one another.
    return record("inspection_create", origin, work, lock_first=lock_people(origin, values))


def change_inspection(origin: Origin, key: int | str, values: Values, version: datetime | None = None) -> int:
    """Change columns of an inspection, owner and assignee included; returns its id. `key`: its id or client_id.

    Keys of an object that are not in `values` stay.
    Raises `NotFoundError`; `InvalidError`; `StaleError` unless it may stand on `version`.
    """

    def work(recorder: Recorder) -> int:
        require_still_admin(recorder)
        inspection = _locked_inspection(recorder.session, key)
        columns = {name: _merged(inspection, name, value) for name, value in values.items()}
        require_version(
            recorder,
            inspection,
            version,
            columns,
            lambda: {"inspection": serialize_inspection(recorder.session, inspection.id)},
        )
        # Owner and assignee may stay as they are: only new ones are checked.
        people = {
            name: value for name, value in columns.items() if name in PEOPLE and value != getattr(inspection, name)
        }
        check_people(recorder.session, people)
        if people:
            note("inspection_assigned", origin, recorder.user, ("inspection", inspection.id), **people)
        recorder.change(inspection, columns)
        return inspection.id

    return record("inspection_change", origin, work, lock_first=lock_people(origin, values))


def delete_inspection(origin: Origin, key: int | str) -> int:
    """Delete an inspection with its form fills and plugins' rows. Attachments are marked as deleted, their bytes kept.

    Returns its id. `key`: its id or client_id. Raises `NotFoundError`.
    """

    def work(recorder: Recorder) -> int:
        require_still_admin(recorder)
        inspection = _locked_inspection(recorder.session, key)
        remove_inspection(recorder, inspection)
        note("inspection_deleted", origin, recorder.user, ("inspection", inspection.id))
        return inspection.id

    return record("inspection_delete", origin, work)


def remove_inspection(recorder: Recorder, inspection: Inspection) -> None:
    """Delete a locked inspection with all rows below it, and its items that were set aside."""
    session = recorder.session
    # Locked from the top down in the one lock order, deleted from the bottom up.
    models: list[Model] = [FormFill, Attachment, *models_below(current_registry().models.values())]
    below = [_locked_below(session, model, inspection.id) for model in models]
    for row in (row for rows in reversed(below) for row in rows):
        recorder.delete(row)
    recorder.delete(inspection)
    remove_of_inspection(session, inspection.id)


def models_below(models: Iterable[Model]) -> list[Model]:
    """The plugins' models with rows below inspections, by table name."""
    core = (Inspection, FormFill, Attachment)
    plugin_models = [model for model in models if model not in core and hasattr(model, "inspection_id")]
    return sorted(plugin_models, key=lambda model: str(inspect(model).local_table.name))


def _locked_inspection(session: Session, key: int | str) -> Inspection:
    rows = locking(session, select(Inspection).where(is_named(Inspection, key)))
    if not rows:
        raise NotFoundError("Inspection not found")
    return rows[0]


def _locked_below(session: Session, model: Model, inspection_id: int) -> list[Row]:
    """The rows of an inspection, locked, except those that are marked as deleted already."""
    statement = select(model).where(model.inspection_id == inspection_id, *undeleted(model))
    return locking(session, statement.order_by(inspect(model).primary_key[0]))


def lock_people(origin: Origin, values: Values) -> Callable[[Session], None]:
    """A function that locks the users in `values`, and the origin's user, before any inspection is locked."""
    return lambda session: lock_users(session, (origin.user_id, values.get("owner_id"), values.get("assignee_id")))


def _merged(inspection: Inspection | None, name: str, value: Any) -> Any:
    """The value to set: in `property` and `customer` the keys that were not sent keep their values."""
    if name not in OBJECTS or value is None:
        return value
    return {**dict.fromkeys(OBJECTS[name]), **(getattr(inspection, name, None) or {}), **value}


def check_people(session: Session, values: Values) -> None:
    """An owner is an active user, an assignee an active technician (contract, section 2). Raises `InvalidError`."""
    named = {values.get(key) for key in PEOPLE} - {None}
    statement = select(User).where(User.id.in_(named)).order_by(User.id)
    people = {user.id: user for user in locking(session, statement, read=True)} if named else {}
    details = {}
    if "owner_id" in values:
        owner = people.get(values["owner_id"])
        if owner is None or not owner.active:
            details["owner_id"] = ["There is no active user with this id."]
    if values.get("assignee_id") is not None:
        assignee = people.get(values["assignee_id"])
        if assignee is None or not assignee.active or assignee.role != "technician":
            details["assignee_id"] = ["There is no active technician with this id."]
    if details:
        raise InvalidError(extra={"details": details})


def _check_templates(session: Session, form_template_ids: Sequence[int]) -> None:
    present = set(session.scalars(select(FormTemplate.id).where(FormTemplate.id.in_(form_template_ids))))
    missing = [template_id for template_id in form_template_ids if template_id not in present]
    if missing:
        message = f"There is no form template with id {', '.join(map(str, missing))}."
        raise InvalidError(extra={"details": {"form_template_ids": [message]}})


def locking(session: Session, statement: Select[T], *, read: bool = False) -> list[T]:
    """The rows that `statement` selects, locked and as they are now; `read`: by a lock that others may have, too."""
    statement = statement.with_for_update(read=read, key_share=not read)
    return list(session.scalars(statement, execution_options={"populate_existing": True}))
