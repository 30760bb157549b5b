"""Rows that are there, for code whose types allow that they are not, and rows with a long past."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from flask import Flask
from sqlalchemy import insert, update

from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import FormFill, LedgerEntry
from app.plugin_api import Operation


def target_of(operation: Operation) -> Any:
    """The target of an operation of a type that always has one."""
    assert operation.target is not None
    return operation.target


def change_often(app: Flask, form_fill: FormFill, count: int) -> None:
    """Somebody changes the field `often` of the form fill so many times, a millisecond apart: 0, 1, 2 and so on.

    Written straight into the tables, because this takes a while through the doors.
    """
    step, unit_id = timedelta(milliseconds=1), uuid4().hex
    with app.app_context(), writing(db.engine) as connection:
        row = db.session.get_one(FormFill, form_fill.id)
        first, fields, root = row.updated_at, dict(row.data), row.inspection_id
        db.session.remove()
        entries = [
            {
                "tag": number,
                "unit_id": unit_id,
                "position": number,
                "recorded_at": first,
                "action": "change",
                "entity": "form_fill",
                "entity_id": str(form_fill.id),
                "inspection_id": root,
                "version_before": first + step * number,
                "version_after": first + step * (number + 1),
                "changes": {"often": {**({"old": number - 1} if number else {}), "new": number}},
            }
            for number in range(count)
        ]
        connection.execute(insert(LedgerEntry), entries)
        values = {"updated_at": first + step * count, "data": {**fields, "often": count - 1}}
        connection.execute(update(FormFill).where(FormFill.id == form_fill.id).values(values))
