"""Storing an upload: verify the image, put the bytes, then write the row under the form fill's lock (section 4)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from threading import BoundedSemaphore
from typing import Any
from uuid import uuid4

from flask import Request
from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session, joinedload

from app import policies
from app.attachments.destination import Destination
from app.attachments.multipart import received_upload, too_large
from app.attachments.storage import current_storage
from app.attachments.storage.images import ImageFacts, ImageTooLargeError, NotAnImageError, verify
from app.clock import to_wire
from app.config import current_settings
from app.core.database.engine import db
from app.core.database.read import Lock, Read, adopt, columns_of, read
from app.core.database.rows import set_in_memory
from app.core.ledger.entries import Remembered
from app.core.ledger.history import recall
from app.core.ledger.record import Recorder, record
from app.errors import ForbiddenError, MediaTypeError, NotFoundError, RequestError, StorageError
from app.models import Attachment, FormFill, FormTemplate, Inspection, User
from app.web import rest_origin, signed_in_user

logger = logging.getLogger(__name__)

#: What a form structure calls the fields that take one signature, a new one replacing the old (section 4).
SIGNATURE_FIELDS = {"signature", "signature_field", "signature_annex"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What became of an upload."""

    attachment_id: str
    #: The row as it is answered; None where it is gone.
    data: dict[str, Any] | None
    #: Whether the bytes of this request are the attachment's.
    is_new: bool = False
    #: Whether an earlier upload with this local_id was answered again.
    is_replayed: bool = False
    #: Whether that attachment has been deleted or replaced since.
    is_deleted: bool = False

    def body(self, key: str, message: str) -> dict[str, Any]:
        """The body of the answer, the id under `key`."""
        body = {"success": True, key: self.attachment_id, "message": message, "data": self.data}
        if self.is_replayed:
            body["replayed"] = True
        if self.is_deleted:
            body["deleted"] = True
        return body


#: Images that are in memory at once in each process; the others wait in their files.
_turns = BoundedSemaphore(2)

#: Writes of a caller's own, in the same transaction: gets the session and the attachment's id.
Also = Callable[[Session, str], None]


def store_upload(request: Request, part: str, kind: str) -> Stored:
    """Store the image in the part `part` as an attachment of this kind.

    The same bytes for the same field are the same attachment. Raises the `RequestError`s of section 4's table.
    """
    with received_upload(request, part, kind) as (destination, file):
        # Before the image is decoded, which costs; again under the locks, where it counts.
        check_destination(destination)
        with _turns:
            return store_image(destination, file.read())


def store_image(destination: Destination, data: bytes, also: Also | None = None) -> Stored:
    """Store an image as `store_upload` does, whichever way it came; rights are judged anew.

    `also` is called last, once all locks are held; what it writes is committed with the attachment or not at all,
    and if it raises, nothing is stored. It may be called again when the database asks for it.
    """
    facts = _verified(data)
    key = new_key()
    current_storage().put(key, data)
    unit = _Unit(destination=destination, data=data, facts=facts, storage_key=key, also=also)
    try:
        stored = record(f"{destination.kind}_upload", rest_origin("upload"), unit.run)
    except RequestError as error:
        # After a 503 the commit may have come through; whatever is left over is collected when it is old.
        if error.status != 503:
            drop_object(key)
        raise
    if not stored.is_new:
        drop_object(key)
    return stored


def check_destination(destination: Destination) -> None:
    """Raise `NotFoundError` or `ForbiddenError` where the signed-in user's image would be refused as things stand."""
    column = getattr(FormFill, _named_by(destination))
    form_fill = db.session.scalar(
        select(FormFill).where(column == destination.form_fill).options(joinedload(FormFill.inspection))
    )
    _require_rights(signed_in_user(), form_fill)
    db.session.remove()


def find_stored(attachment_id: str) -> Stored:
    """What has become, for the signed-in user, of an attachment that was once stored."""
    return _as_remembered(db.session(), signed_in_user(), attachment_id)


def new_key(suffix: str = "") -> str:
    """The key of a new object in the storage."""
    name = str(uuid4())
    return f"{name[:2]}/{name}{suffix}"


def drop_object(key: str) -> None:
    """Delete what no row names. If the storage refuses, `storage gc` does it later."""
    try:
        current_storage().delete(key)
    except StorageError:
        logger.warning("unneeded object left for collection", extra={"storage_key": key}, exc_info=True)


def _verified(data: bytes) -> ImageFacts:
    limit = current_settings().max_photo_pixels
    try:
        return verify(data, limit)
    except ImageTooLargeError:
        raise too_large(limit) from None
    except NotAnImageError as error:
        raise MediaTypeError(
            "File must be an image", f"Send a whole JPEG or PNG. This one cannot be read: {error}"
        ) from None


def _named_by(destination: Destination) -> str:
    """The column that the destination names its form fill by."""
    return "client_id" if isinstance(destination.form_fill, str) else "id"


def _require_rights(user: User | None, form_fill: FormFill | None) -> None:
    if form_fill is None:
        raise NotFoundError("FormFill not found")
    if not policies.change(user, form_fill):
        raise ForbiddenError("Not authorized to update this form")


def _as_remembered(session: Session, user: User | None, attachment_id: str) -> Stored:
    """What became of an attachment that an earlier request has stored; what it is only where the user may read it."""
    statement = select(Attachment).where(Attachment.id == attachment_id).options(joinedload(Attachment.inspection))
    attachment = session.scalar(statement)
    is_shown = attachment is not None and policies.read(user, attachment)
    return Stored(
        attachment_id=attachment_id,
        data=describe(attachment) if attachment is not None and is_shown else None,
        is_replayed=True,
        is_deleted=attachment is None or attachment.deleted_at is not None,
    )


@cache
def _locking(name: str) -> dict[type, Select[Any]]:
    """What locks an inspection, its form fill, found by the column `name`, and the live attachments of a field, in this
    order (rule 6); and what reads the form's template."""
    return {
        Inspection: select(*columns_of(Inspection))
        .where(Inspection.id == _of_form_fill(name, FormFill.inspection_id))
        .with_for_update(read=True),
        FormFill: select(*columns_of(FormFill)).where(_is_named(name)).with_for_update(key_share=True),
        FormTemplate: select(*columns_of(FormTemplate)).where(
            FormTemplate.id == _of_form_fill(name, FormFill.form_template_id)
        ),
        Attachment: select(*columns_of(Attachment))
        .where(
            Attachment.form_fill_id == _of_form_fill(name, FormFill.id),
            Attachment.field_name == bindparam("field_name"),
            Attachment.deleted_at.is_(None),
        )
        .order_by(Attachment.id)
        .with_for_update(key_share=True),
    }


@cache
def _last_position(name: str) -> Select[Any]:
    """Finds the last position in a form fill; to be sent behind its lock."""
    form_fill_id = _of_form_fill(name, FormFill.id)
    return select(func.max(Attachment.position)).where(Attachment.form_fill_id == form_fill_id)


def _of_form_fill(name: str, column: Any) -> Any:
    return select(column).where(_is_named(name)).scalar_subquery()


def _is_named(name: str) -> Any:
    return getattr(FormFill, name) == bindparam("named")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an image goes: the form fill, the field's live attachments, and the position of the next one."""

    form_fill: FormFill
    attachments: list[Attachment]
    next_position: int


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """The unit of work of one image."""

    destination: Destination
    data: bytes
    facts: ImageFacts
    storage_key: str
    also: Also | None

    def run(self, recorder: Recorder) -> Stored:
        """Recall, lock, check, write."""
        stored = self._recall(recorder) or self._store(recorder)
        if self.also is not None:
            self.also(recorder.session, stored.attachment_id)
        return stored

    def _store(self, recorder: Recorder) -> Stored:
        place = self._locked_place(recorder.session)
        _require_rights(recorder.user, None if place is None else place.form_fill)
        assert place is not None
        kind = self._kind_in(place.form_fill)
        present = [each for each in place.attachments if each.kind == kind]
        same = next((each for each in present if each.sha256 == self._sha256), None)
        attachment = same or self._create(recorder, place, kind, present)
        if self.destination.local_id is not None:
            recorder.operations.append(
                Remembered(
                    type=self._type,
                    recorded_at=recorder.now,
                    local_id=self.destination.local_id,
                    fingerprint=self._fingerprint,
                    entity=Attachment.__entity__.name,
                    entity_id=attachment.id,
                    version_after=attachment.updated_at,
                )
            )
        return Stored(attachment_id=attachment.id, data=describe(attachment), is_new=same is None)

    @property
    def _type(self) -> str:
        return f"{self.destination.kind}_upload"

    @cached_property
    def _sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def _fingerprint(self) -> str:
        """Of what was sent, as that of an operation (contract, section 3.2)."""
        sent = f"{self._type}\0{self.destination.form_fill}\0{self.destination.field_name}\0{self._sha256}"
        return hashlib.sha256(sent.encode()).hexdigest()

    def _recall(self, recorder: Recorder) -> Stored | None:
        """The first outcome of an upload with this local_id and content. A twin that is under way meanwhile
        breaches the ledger's uniqueness, and the unit is repeated."""
        if self.destination.local_id is None:
            return None
        found = recall(recorder.session, recorder.origin, [self.destination.local_id])
        operation = found.get((self.destination.local_id, self._fingerprint))
        if operation is None:
            return None
        return _as_remembered(recorder.session, recorder.user, str(operation.entity_id))

    def _locked_place(self, session: Session) -> _Place | None:
        """Where the image goes, locked; None where no such form fill is there (any more)."""
        name = _named_by(self.destination)
        parameters = {"named": self.destination.form_fill, "field_name": self.destination.field_name}
        locks = [Lock(model=each, statement=lock, parameters=parameters) for each, lock in _locking(name).items()]
        last = Read(statement=_last_position(name), parameters=parameters)
        read(session.connection(), *locks, last)
        inspections, form_fills, form_templates, attachments = (
            [adopt(session, each.model, values) for values in each.found] for each in locks
        )
        # The form fill may have been made just after its inspection was looked for.
        if not inspections or not form_fills:
            return None
        set_in_memory(form_fills[0], {"inspection": inspections[0], "form_template": form_templates[0]})
        ((position,),) = last.found
        return _Place(form_fill=form_fills[0], attachments=attachments, next_position=(position or 0) + 1)

    def _kind_in(self, form_fill: FormFill) -> str:
        """A signature, if the form structure says that the field takes one."""
        for field in form_fill.form_template.form_structure:
            if field["name"] == self.destination.field_name:
                called = {str(field["name"]).lower(), str(field.get("type", "")).lower()}
                return "signature" if called & SIGNATURE_FIELDS else self.destination.kind
        return self.destination.kind

    def _create(self, recorder: Recorder, place: _Place, kind: str, present: list[Attachment]) -> Attachment:
        if kind == "signature":
            for each in present:
                recorder.delete(each)
        values = {
            "form_fill_id": place.form_fill.id,
            "kind": kind,
            "field_name": self.destination.field_name,
            "position": place.next_position,
            "filename": self.destination.filename,
            "content_type": self.facts.content_type,
            "byte_size": len(self.data),
            "width": self.facts.width,
            "height": self.facts.height,
            "sha256": self._sha256,
            "storage_key": self.storage_key,
            "uploaded_by_id": recorder.user.id if recorder.user else 0,
            "deleted_at": None,
        }
        created: Attachment = recorder.create(Attachment, values, place.form_fill.inspection)
        return created


def describe(attachment: Attachment) -> dict[str, Any]:
    """The row as an upload answers it: as in the feed, and by whom and when."""
    return {
        **Attachment.__entity__.record(attachment),  # type: ignore[misc]
        "uploaded_by_id": attachment.uploaded_by_id,
        "created_at": to_wire(attachment.created_at),
    }
