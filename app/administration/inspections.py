"""Inspections: created with their form fills, changed, assigned, deleted with all below them (contract, section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session, selectinload

from app.errors import InvalidError, NotFoundError, StaleError
from app.ledger.record import Origin, Recorder, entity_of, record
from app.models import Attachment, FormFill, FormTemplate, Inspection, User
from app.plugin_api import Row


def describe_rows(session: Session, model: Any, ids: Iterable[int]) -> list[dict[str, Any]]:
    """The rows with these ids, in their order, as they leave the server; one query a relationship."""
    entity = entity_of(model)
    statement = select(model).where(model.id.in_(list(ids))).order_by(model.id)
    options = [selectinload(getattr(model, name)) for name in entity.loads]
    rows = session.scalars(statement.options(*options), execution_options={"populate_existing": True})
    assert entity.record is not None
    return [entity.record(row) for row in rows]


def describe_inspection(session: Session, inspection_id: int) -> dict[str, Any]:
    """One inspection as it leaves the server."""
    return describe_rows(session, Inspection, [inspection_id])[0]


def create_inspection(
    origin: Origin, values: Mapping[str, Any], form_template_ids: Sequence[int]
) -> tuple[int, list[int]]:
    """A new inspection with one form fill for each template; their ids.

    The owner is the origin's user where `values` names none. Raises `InvalidError` for people and templates that
    cannot be meant.
    """

    def work(recorder: Recorder) -> tuple[int, list[int]]:
        columns = {"owner_id": origin.user_id, "form_template_id": form_template_ids[0], **values}
        _check_people(recorder.session, columns)
        _check_templates(recorder.session, form_template_ids)
        inspection: Inspection = recorder.create(Inspection, columns)
        form_fills = [
            recorder.create(FormFill, {"form_template_id": each, "data": {}}, inspection) for each in form_template_ids
        ]
        return inspection.id, [each.id for each in form_fills]

    return record("inspection_create", origin, work, capacity=len(form_template_ids))


def change_inspection(
    origin: Origin, inspection_id: int, values: Mapping[str, Any], version: datetime | None = None
) -> None:
    """Change columns of an inspection, its owner and assignee included.

    Raises `NotFoundError`, `InvalidError`, and `StaleError` where `version` is older than the row's.
    """

    def work(recorder: Recorder) -> None:
        _check_people(recorder.session, values)
        inspection = _locked_inspection(recorder.session, inspection_id)
        if version is not None and version < inspection.updated_at:
            raise StaleError(extra={"data": {"inspection": describe_inspection(recorder.session, inspection_id)}})
        recorder.change(inspection, values)

    record("inspection_change", origin, work)


def delete_inspection(origin: Origin, inspection_id: int, plugin_models: Iterable[Any]) -> None:
    """Delete an inspection and all below it: form fills, plugins' rows; attachments are marked, their bytes kept.

    `plugin_models`: models below inspections that the core does not know, in the order of their table names.
    """

    def work(recorder: Recorder) -> None:
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
