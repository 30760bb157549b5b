"""Storing an upload: verify the image, keep its bytes in the storage, then write its row (contract, section 4).

The row is written under the lock of its form fill.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flask import Request
from sqlalchemy.orm import Session

from app.attachments.destination import Destination
from app.attachments.drafts import ImageDraft, image_draft
from app.attachments.multipart import received_upload, too_large
from app.attachments.parts import OTHER_PARTS_BYTES
from app.attachments.place import Place, find_inspection, locked_place, place_reads, require_rights
from app.attachments.room import require_room, take_room
from app.attachments.storage import current_storage
from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError
from app.attachments.storage.images import ImageFacts, verify
from app.attachments.storage.turns import LONGEST_WAIT, Turns
from app.attachments.stored import Stored, find_stored, serialize_upload
from app.config import current_settings
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.ledger.entries import Remembered
from app.core.ledger.history import recall
from app.core.ledger.record import Origin, Recorder, record
from app.errors import MediaTypeError, RequestError, StorageError
from app.models import Attachment, User
from app.web import origin_of_request, signed_in_user

logger = logging.getLogger(__name__)

#: How many images a process holds in memory at once; the others wait in their drafts.
_in_memory = Turns(2)

#: Writes of a caller's own in the same transaction. It gets the session and the attachment's id.
Also = Callable[[Session, str], None]


def store_upload(request: Request, part: str, kind: str) -> Stored:
    """Store the image in the part `part` as an attachment of this kind, for the signed-in user.

    The same bytes for the same field are the same attachment. Raises the `RequestError`s of section 4's table.
    """
    # Texts and boundaries may take the rest of the body.
    check_room(signed_in_user(), max(0, (request.content_length or 0) - OTHER_PARTS_BYTES))
    with received_upload(request, part, kind) as (destination, draft):
        # Rights are checked before the image is decoded, because decoding is expensive; and again under the locks.
        check_destination(signed_in_user(), destination)
        return store_draft(origin_of_request("upload"), destination, draft)


def store_image(origin: Origin, destination: Destination, data: bytes, also: Also | None = None) -> Stored:
    """As `store_draft`, with the image's bytes."""
    facts = _verified(data, LONGEST_WAIT)
    with image_draft() as draft:
        draft.write(data)
        draft.keep()
        return _record(origin, destination, draft, facts, also)


def store_draft(origin: Origin, destination: Destination, draft: ImageDraft, also: Also | None = None) -> Stored:
    """Store an image for the origin's user. The rights are checked under the locks.

    `also` is called last, when all locks are held. Its writes are committed with the attachment or not at all, and if
    it raises, nothing is stored. It may be called again when the unit of work is repeated.
    Raises `NotFoundError`, `ForbiddenError`, `MediaTypeError`, `TooLargeError`, `StorageFullError`, `StorageError`, and
    `TryAgainError` if other images keep the decoder busy for too long.
    """
    with _in_memory.turn() as wait:
        facts = _verified(draft.content(), wait)
        # Some storages need it in memory once more.
        draft.keep()
    return _record(origin, destination, draft, facts, also)


def _record(
    origin: Origin, destination: Destination, draft: ImageDraft, facts: ImageFacts, also: Also | None
) -> Stored:
    """Write the row of an image whose bytes are kept. If it gets none, they are dropped."""
    unit = _Unit(destination=destination, draft=draft, facts=facts, also=also, reads=place_reads(destination))
    try:
        stored = record(f"{destination.kind}_upload", origin, unit.run, reads=unit.reads)
    except RequestError as error:
        # After a 503 the commit may have come through. An object without a row is collected when it is old enough.
        if error.status != 503:
            drop_object(draft.storage_key)
        raise
    if not stored.is_new:
        drop_object(draft.storage_key)
    return replace(stored, warning=facts.warning)


def check_destination(user: User, destination: Destination) -> None:
    """Raise `NotFoundError` or `ForbiddenError` if the user's image would be refused at present."""
    require_rights(user, find_inspection(destination), destination)


def check_room(user: User, byte_size: int) -> None:
    """Raise `StorageFullError` if so many more bytes of the user would be beyond a quota at present."""
    require_room(db.session(), user.id, byte_size)
    db.session.remove()


def drop_object(key: str) -> None:
    """Delete an object that no row names. If the storage refuses, `storage gc` deletes it later."""
    try:
        current_storage().delete(key)
    except StorageError:
        logger.warning("unneeded object left for collection", extra={"storage_key": key}, exc_info=True)


def _verified(data: bytes, wait: float) -> ImageFacts:
    limit = current_settings().max_photo_pixels
    try:
        return verify(data, limit, wait)
    except ImageTooLargeError as error:
        raise too_large(limit, str(error)) from None
    except NotAnImageError as error:
        raise MediaTypeError(
            "File must be an image", f"Send a whole JPEG or PNG. This one cannot be read: {error}"
        ) from None


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """The unit of work of one image: the locks of its `reads`, then `run`."""

    destination: Destination
    draft: ImageDraft
    facts: ImageFacts
    also: Also | None
    reads: Sequence[Read]

    def run(self, recorder: Recorder) -> Stored:
        """Recall, check, write."""
        stored = self._recall(recorder) or self._store(recorder)
        if self.also is not None:
            self.also(recorder.session, stored.attachment_id)
        return stored

    def _recall(self, recorder: Recorder) -> Stored | None:
        """The first outcome of an upload with this local_id and content.

        A twin that is under way at the same time breaches the ledger's uniqueness; then the unit is repeated.
        """
        if self.destination.local_id is None:
            return None
        remembered = recall(recorder.session, recorder.origin, [self.destination.local_id])
        operation = remembered.get((self.destination.local_id, self._fingerprint))
        if operation is None:
            return None
        return find_stored(recorder.session, recorder.user, str(operation.entity_id))

    def _store(self, recorder: Recorder) -> Stored:
        place = locked_place(recorder.session, self.reads)
        require_rights(recorder.user, None if place is None else place.form_fill.inspection, self.destination)
        assert place is not None
        kind = place.kind_of(self.destination)
        present = [attachment for attachment in place.attachments if attachment.kind == kind]
        same = next((attachment for attachment in present if attachment.sha256 == self.draft.sha256), None)
        attachment = same or self._create(recorder, place, kind, present)
        if self.destination.local_id is not None:
            recorder.operations.append(self._operation(recorder, self.destination.local_id, attachment))
        return Stored(attachment_id=attachment.id, data=serialize_upload(attachment), is_new=same is None)

    def _operation(self, recorder: Recorder, local_id: str, attachment: Attachment) -> Remembered:
        """The operation that the ledger remembers for a retry."""
        return Remembered(
            type=self._type,
            recorded_at=recorder.now,
            local_id=local_id,
            fingerprint=self._fingerprint,
            entity=Attachment.__entity__.name,
            entity_id=attachment.id,
            version_after=attachment.updated_at,
        )

    @property
    def _type(self) -> str:
        return f"{self.destination.kind}_upload"

    @property
    def _fingerprint(self) -> str:
        """The fingerprint of an upload: type, form fill, field and content (contract, section 3.2)."""
        sent = f"{self._type}\0{self.destination.form_fill}\0{self.destination.field_name}\0{self.draft.sha256}"
        return hashlib.sha256(sent.encode()).hexdigest()

    def _create(self, recorder: Recorder, place: Place, kind: str, present: list[Attachment]) -> Attachment:
        uploader_id = recorder.user.id if recorder.user else 0
        take_room(recorder.session, uploader_id, self.draft.byte_size)
        if kind == "signature":
            for attachment in present:
                recorder.delete(attachment)
        values = {
            "form_fill_id": place.form_fill.id,
            "kind": kind,
            "field_name": self.destination.field_name,
            "position": place.next_position,
            "filename": self.destination.filename,
            "content_type": self.facts.content_type,
            "byte_size": self.draft.byte_size,
            "width": self.facts.width,
            "height": self.facts.height,
            "sha256": self.draft.sha256,
            "storage_key": self.draft.storage_key,
            "uploaded_by_id": uploader_id,
            "deleted_at": None,
        }
        created: Attachment = recorder.create(Attachment, values, place.form_fill.inspection)
        return created
