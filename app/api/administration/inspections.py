"""Inspections: created with their form fills, changed, assigned, deleted with all below them (contract, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session

from app.accounts.administrators import lock_users, require_still_admin
from app.core.ledger.record import Origin, Recorder, record
from app.errors import InvalidError, NotFoundError, StaleError
from app.models import Attachment, FormFill, FormTemplate, Inspection, User
from app.models.serialize import select_shown, serialize
from app.plugin_api import Row

#: The columns that are objects, and their keys (contract, section 8).
OBJECTS = {
    "property": ("property_name", "address", "city", "zip_code"),
    "customer": ("name", "email", "phone_1", "phone_2"),
}


def describe_rows(session: Session, model: Any, ids: Iterable[int]) -> list[dict[str, Any]]:
    """The rows with these ids, in their order, as they leave the server."""
    statement = select_shown(model).where(model.id.in_(list(ids))).order_by(model.id)
    return [serialize(row) for row in session.scalars(statement)]


def describe_inspection(session: Session, inspection_id: int) -> dict[str, Any]:
    """One inspection as it leaves the server. Raises `NotFoundError`."""
    found = describe_rows(session, Inspection, [inspection_id])
    if not found:
        raise NotFoundError("Inspection not found")
    return found[0]


def create_inspection(
    origin: Origin, values: Mapping[str, Any], form_template_ids: Sequence[int]
) -> tuple[int, list[int]]:
    """A new inspection with one form fill for each template; their ids.

    The owner is the origin's user where `values` names none. Raises `InvalidError` for people and templates that
    cannot be meant.
    """

    def work(recorder: Recorder) -> tuple[int, list[int]]:
        require_still_admin(recorder)
        columns = {name: _merged(None, name, value) for name, value in values.items()}
        columns = {"owner_id": origin.user_id, "form_template_id": form_template_ids[0], **columns}
        _check_people(recorder.session, columns)
        _check_templates(recorder.session, form_template_ids)
        inspection: Inspection = recorder.create(Inspection, columns)
        form_fills = [
            recorder.create(FormFill, {"form_template_id": each, "data": {}}, inspection) for each in form_template_ids
        ]
        return inspection.id, [each.id for each in form_fills]

    # Ids are reserved one by one: a number that people call an inspection by should follow the last.
    return record("inspection_create", origin, work, lock_first=_lock_people(origin, values))


def change_inspection(
    origin: Origin, inspection_id: int, values: Mapping[str, Any], version: datetime | None = None
) -> None:
    """Change columns of an inspection, its owner and assignee included; an object's keys not in `values` stay.

    Raises `NotFoundError`, `InvalidError`, and `StaleError` where `version` is older than the row's.
    """

    def work(recorder: Recorder) -> None:
        require_still_admin(recorder)
        inspection = _locked_inspection(recorder.session, inspection_id)
        if version is not None and version < inspection.updated_at:
            raise StaleError(extra={"data": {"inspection": describe_inspection(recorder.session, inspection_id)}})
        columns = {name: _merged(inspection, name, value) for name, value in values.items()}
        # Whoever it has already may stay: that is no assignment.
        _check_people(
            recorder.session,
            {name: value for name, value in columns.items() if value != getattr(inspection, name)},
        )
        recorder.change(inspection, columns)

    record("inspection_change", origin, work, lock_first=_lock_people(origin, values))


def delete_inspection(origin: Origin, inspection_id: int, plugin_models: Iterable[Any]) -> None:
    """Delete an inspection and all below it: form fills, plugins' rows; attachments are marked, their bytes kept.

    `plugin_models`: models below inspections that the core does not know, in the order of their table names.
    """

    def work(recorder: Recorder) -> None:
        require_still_admin(recorder)
        session = recorder.session
        inspection = _locked_inspection(session, inspection_id)
        # Locked from the top down in the one order, deleted from the bottom up.
        below = [_locked_below(session, model, inspection_id) for model in (FormFill, Attachment, *plugin_models)]
        for row in (each for rows in reversed(below) for each in rows):
            recorder.delete(row)
        recorder.delete(inspection)

    record("inspection_delete", origin, work)


def models_below(models: Iterable[Any]) -> list[Any]:
    """Those of the models whose rows stand below inspections and are not the core's, by table name."""
    core = (Inspection, FormFill, Attachment)
    found = [each for each in models if each not in core and hasattr(each, "inspection_id")]
    return sorted(found, key=lambda model: str(inspect(model).local_table.name))


def _locked_inspection(session: Session, inspection_id: int) -> Inspection:
    found = _locking(session, select(Inspection).where(Inspection.id == inspection_id))
    if not found:
        raise NotFoundError("Inspection not found")
    inspection: Inspection = found[0]
    return inspection


def _locked_below(session: Session, model: Any, inspection_id: int) -> list[Row]:
    """All rows, those that are marked deleted already left out."""
    statement = select(model).where(model.inspection_id == inspection_id).order_by(inspect(model).primary_key[0])
    if hasattr(model, "deleted_at"):
        statement = statement.where(model.deleted_at.is_(None))
    return _locking(session, statement)


def _lock_people(origin: Origin, values: Mapping[str, Any]) -> Callable[[Session], None]:
    """What locks the users that `values` names, and the origin's own, before any inspection."""
    return lambda session: lock_users(session, (origin.user_id, values.get("owner_id"), values.get("assignee_id")))


def _merged(inspection: Inspection | None, name: str, value: Any) -> Any:
    """The value to set: `property` and `customer` take over the keys that are sent, and have all of theirs."""
    if name not in OBJECTS or value is None:
        return value
    return {**dict.fromkeys(OBJECTS[name]), **(getattr(inspection, name, None) or {}), **value}


def _check_people(session: Session, values: Mapping[str, Any]) -> None:
    """An owner is an active user; an assignee an active technician: assigning anyone else is invalid (section 2)."""
    named = {values.get(key) for key in ("owner_id", "assignee_id")} - {None}
    statement = select(User).where(User.id.in_(named)).order_by(User.id)
    people = {user.id: user for user in _locking(session, statement, read=True)} if named else {}
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
    found = set(session.scalars(select(FormTemplate.id).where(FormTemplate.id.in_(form_template_ids))))
    missing = [each for each in form_template_ids if each not in found]
    if missing:
        message = f"There is no form template with id {', '.join(map(str, missing))}."
        raise InvalidError(extra={"details": {"form_template_ids": [message]}})


def _locking(session: Session, statement: Select[Any], *, read: bool = False) -> list[Any]:
    statement = statement.with_for_update(read=read, key_share=not read)
    return list(session.scalars(statement, execution_options={"populate_existing": True}))
