"""Everything about one customer as one ZIP file: rows as JSON lines, the history, and the photos as they were sent.

The rows are those of one moment. The photos are copied afterwards: their bytes are kept when somebody deletes them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import orjson
from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.orm import Session

from app.administration.inspections import models_below
from app.attachments.storage import current_storage
from app.attachments.storage.protocol import MissingObjectError
from app.clock import now, to_wire
from app.core.database.engine import db
from app.core.database.transactions import snapshot
from app.core.host.registry import current_registry
from app.core.ledger.history import describe_entries
from app.core.values import JsonObject
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, SetAside, User
from app.models.entities import entity_of
from app.models.serialize import select_shown, serialize, undeleted
from app.plugin_api import Model

#: Rows that are read at a time.
PIECE = 200

#: Names that are told if nobody has the wanted one.
MOST_NAMES = 10

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}


class Customer(NamedTuple):
    """How a customer is found: by any of these names and e-mail addresses, as they stand in the inspections."""

    names: Sequence[str] = ()
    emails: Sequence[str] = ()

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition for the customer's inspections."""
        name, email = (Inspection.customer[key].as_string() for key in ("name", "email"))
        return or_(name.in_(self.names), email.in_(self.emails))


@dataclass
class Archived:
    """The contents of an archive."""

    #: The name of a file of JSON lines, without its ending -> how many lines it has.
    rows: Counter[str]
    #: How many photos and signatures, and the ids of those whose bytes are not in the storage.
    files: int
    missing: list[str]


def names_like(customer: Customer) -> list[str]:
    """Some names of customers that have one of the wanted names as a part, to correct a misspelling by."""
    name = Inspection.customer["name"].as_string()
    statement = select(name).where(or_(*(name.icontains(text, autoescape=True) for text in customer.names)))
    return sorted(db.session.scalars(statement.distinct().limit(MOST_NAMES))) if customer.names else []


def has_inspections(customer: Customer) -> bool:
    """Whether there is any inspection of the customer."""
    return db.session.scalar(select(Inspection.id).where(customer.condition).limit(1)) is not None


def write_archive(customer: Customer, file: BinaryIO) -> Archived:
    """Write the customer's archive; the memory that it takes does not depend on the number of rows and bytes.

    Raises `StorageError` if the storage is out of reach.
    """
    archived = Archived(Counter(), 0, [])
    moment = to_wire(now())
    with ZipFile(file, "w", ZIP_DEFLATED) as archive, tempfile.TemporaryFile() as places:
        # A snapshot begins with the connection.
        db.session.remove()
        session = db.session()
        with snapshot(session):
            for name, rows in _tables(customer, session, places).items():
                archived.rows[name] = _write_lines(archive, f"{name}.jsonl", rows())
        db.session.remove()
        _copy_files(archive, places, archived)
        manifest = {
            "customer": customer._asdict(),
            "made_at": moment,
            "rows": archived.rows,
            "files": archived.files,
            "missing_files": archived.missing,
        }
        archive.writestr("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return archived


def _tables(customer: Customer, session: Session, places: BinaryIO) -> dict[str, Callable[[], Iterator[JsonObject]]]:
    """The files of JSON lines. The places of photos are noted on the way."""
    mine = customer.condition
    below: list[Model] = [FormFill, *models_below(current_registry().models.values())]
    tables = {"inspections": lambda: _rows(session, Inspection, Inspection, mine)}
    for model in below:
        tables[_name_of(model)] = lambda model=model: _rows(session, model, model, _below(model, mine))  # type: ignore[misc]
    tables["attachments"] = lambda: _attachments(session, mine, places)
    tables["form_templates"] = lambda: _rows(session, FormTemplate, FormTemplate, _is_used(mine))
    tables["people"] = lambda: _people(session, mine)
    tables["history"] = lambda: _history(session, mine)
    tables["not_applied"] = lambda: _set_aside(session, mine)
    return tables


def _name_of(model: Model) -> str:
    return f"{entity_of(model).name}s"


def _below(model: Any, mine: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(Inspection.id == model.inspection_id, mine)


def _is_used(mine: ColumnElement[bool]) -> ColumnElement[bool]:
    return FormTemplate.id.in_(
        select(FormFill.form_template_id).join(Inspection, Inspection.id == FormFill.inspection_id).where(mine)
    )


def _rows(session: Session, model: Model, row: Any, condition: ColumnElement[bool]) -> Iterator[JsonObject]:
    """The rows that meet the condition, as devices get them."""
    for page in _pages(session, select_shown(model).where(condition, *undeleted(model)), row.id):
        yield from map(serialize, page)
        session.expunge_all()


def _attachments(session: Session, mine: ColumnElement[bool], places: BinaryIO) -> Iterator[JsonObject]:
    statement = select(Attachment).where(_below(Attachment, mine), *undeleted(Attachment))
    for page in _pages(session, statement, Attachment.id):
        for row in page:
            name = f"files/{row.inspection_id}/{row.id}{SUFFIXES.get(row.content_type, '')}"
            place = {"id": row.id, "key": row.storage_key, "name": name}
            places.write(orjson.dumps(place, option=orjson.OPT_APPEND_NEWLINE))
            yield {**serialize(row), "inspection_id": row.inspection_id, "created_at": row.created_at, "file": name}
        session.expunge_all()


def _people(session: Session, mine: ColumnElement[bool]) -> Iterator[JsonObject]:
    """The owners and assignees, by name."""
    condition = exists().where(or_(Inspection.owner_id == User.id, Inspection.assignee_id == User.id), mine)
    for page in _pages(session, select(User).where(condition), User.id):
        yield from ({"id": user.id, "name": user.name} for user in page)


def _history(session: Session, mine: ColumnElement[bool]) -> Iterator[JsonObject]:
    """Every change of the customer's rows, as the history of a row tells it, oldest first."""
    places = (LedgerEntry.id, LedgerEntry.entity, LedgerEntry.entity_id, LedgerEntry.inspection_id)
    statement = select(*places).where(_below(LedgerEntry, mine), LedgerEntry.viewer_id.is_(None))
    last = 0
    while page := session.execute(statement.where(LedgerEntry.id > last).order_by(LedgerEntry.id).limit(PIECE)).all():
        last = page[-1].id
        for place in page:
            # One by one, because a page of entries has its changes only up to some bytes.
            (entry,) = describe_entries(session, [place.id])
            yield {**place._mapping, **entry}
            session.expunge_all()


def _set_aside(session: Session, mine: ColumnElement[bool]) -> Iterator[JsonObject]:
    """The items that devices have sent to the customer's inspections and that were not applied."""
    names = ("id", "inspection_id", "user_id", "type", "entity", "entity_id", "outcome", "code", "item", "last_at")
    for page in _pages(session, select(SetAside).where(_below(SetAside, mine)), SetAside.id):
        yield from ({name: getattr(row, name) for name in names} for row in page)
        session.expunge_all()


def _pages(session: Session, statement: Select[Any], key: Any) -> Iterator[Sequence[Any]]:
    """The rows that the statement selects, in the order of their keys, a piece at a time."""
    page = session.scalars(statement.order_by(key).limit(PIECE)).all()
    while page:
        last = page[-1].id
        yield page
        page = session.scalars(statement.where(key > last).order_by(key).limit(PIECE)).all()


def _write_lines(archive: ZipFile, name: str, rows: Iterable[JsonObject]) -> int:
    count = 0
    with archive.open(name, "w", force_zip64=True) as file:
        for row in rows:
            file.write(orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _copy_files(archive: ZipFile, places: BinaryIO, archived: Archived) -> None:
    places.seek(0)
    for place in map(orjson.loads, places):
        try:
            pieces = current_storage().open(place["key"])
        except MissingObjectError:
            archived.missing.append(place["id"])
            continue
        # Pictures are compressed already.
        with archive.open(_stored(place["name"]), "w", force_zip64=True) as file:
            for piece in pieces:
                file.write(piece)
        archived.files += 1


def _stored(name: str) -> ZipInfo:
    info = ZipInfo(name)
    info.compress_type = ZIP_STORED
    return info
