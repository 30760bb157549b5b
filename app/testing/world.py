"""Rows for tests: users, inspections, form fills and attachments, made through the ledger like anybody's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import func, inspect, select

from app.core.database.engine import db
from app.core.ledger.record import Origin, Recorder, record
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, LedgerOperation, User

T = TypeVar("T")

PASSWORD = "correct horse battery staple"

#: It is cheap on purpose: these tests are not about the cost of a real hash.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

STRUCTURE = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location"},
    {"name": "Riser_Photo", "type": "photo"},
    {"name": "Signature", "type": "signature"},
]


class World:
    """Creates users, inspections and form fills in the database, through the ledger like everybody else."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._recorder: Recorder | None = None

    def make(self, model: type, root: Any = None, **values: Any) -> Any:
        """Create a row of `model`; `root` is the id of its inspection."""
        recorder = self._recorder
        if recorder is None:
            return self.together(lambda: self.make(model, root, **values))
        parent = recorder.created.get((Inspection, root)) or recorder.session.get(Inspection, root) if root else None
        return recorder.create(model, values, parent)

    def together(self, work: Callable[[], T]) -> T:
        """Call `work`, and write all rows that it makes in one unit of work: `world.together(lambda: ...)`.

        It takes less time than a unit for each row. As every unit's, `work` may run again if the database asks for it.
        """
        if self._recorder is not None:
            return work()

        def unit(recorder: Recorder) -> T:
            self._recorder = recorder
            try:
                return work()
            finally:
                self._recorder = None

        with self.app.app_context():
            result = record("test.make", Origin(door="cli"), unit)
            db.session.expunge_all()
            return result

    def user(self, email: str = "tech@example.com", role: str = "technician", **values: Any) -> User:
        """A user who can sign in with `PASSWORD`."""
        defaults = {"name": email.split("@")[0].title(), "active": True, "password_hash": PASSWORD_HASH}
        row: User = self.make(User, **{**defaults, "email": email, "role": role, **values})
        return row

    def template(self, **values: Any) -> FormTemplate:
        """A form template with a text, a photo and a signature."""
        row: FormTemplate = self.make(FormTemplate, **{"name": "Sprinkler", "form_structure": STRUCTURE, **values})
        return row

    def inspection(self, owner: User, assignee: User | None = None, **values: Any) -> Inspection:
        """A pending inspection."""
        defaults = {"date": dt.date(2024, 3, 20), "owner_id": owner.id, "status": "pending"}
        row: Inspection = self.make(
            Inspection, **{**defaults, "assignee_id": None if assignee is None else assignee.id, **values}
        )
        return row

    def form_fill(self, inspection: Inspection, template: FormTemplate | None = None, **values: Any) -> FormFill:
        """An empty form fill, of a new template unless you name one."""

        def work() -> FormFill:
            template_id = (template or self.template()).id
            row: FormFill = self.make(
                FormFill, inspection.id, **{"form_template_id": template_id, "data": {}, **values}
            )
            return row

        return self.together(work)

    def attachment(self, form_fill: FormFill, field_name: str = "Riser_Photo", kind: str = "photo") -> Attachment:
        """The row of an attachment, without bytes in the storage."""
        name = str(uuid4())
        row: Attachment = self.make(
            Attachment,
            form_fill.inspection_id,
            form_fill_id=form_fill.id,
            kind=kind,
            field_name=field_name,
            position=1 + sum(row.form_fill_id == form_fill.id for row in self.all(Attachment)),
            filename=None,
            content_type="image/jpeg",
            byte_size=1,
            width=1,
            height=1,
            sha256=sha256(name.encode()).hexdigest(),
            storage_key=f"{name[:2]}/{name}",
            uploaded_by_id=0,
            deleted_at=None,
        )
        return row

    def get(self, model: type, key: Any) -> Any:
        """The row as it is stored now, read in a session of its own; None if it is not there."""
        with self.app.app_context():
            row: Any = db.session.get(model, key)
            if row is not None:
                db.session.expunge(row)
            return row

    def all(self, model: type) -> list[Any]:
        """All rows of a table in the order of their ids, read in a session of their own."""
        with self.app.app_context():
            rows: list[Any] = list(db.session.scalars(select(model).order_by(inspect(model).primary_key[0])))
            db.session.expunge_all()
            return rows

    def recorded(self) -> tuple[int, int]:
        """The numbers of operations and of changed rows in the ledger."""
        with self.app.app_context():
            tables = (LedgerOperation, LedgerEntry)
            counts = [db.session.scalar(select(func.count(table.id))) or 0 for table in tables]
        return counts[0], counts[1]
