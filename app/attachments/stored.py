"""The answer of an upload, now and when it is repeated (contract, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app import policies
from app.clock import to_wire
from app.core.values import JsonObject
from app.models import Attachment, User


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The result of an upload."""

    attachment_id: str
    #: The attachment's row as a JSON object; None if it is gone, or the user may no longer see it.
    data: JsonObject | None
    #: Whether the attachment was made from the bytes of this request.
    is_new: bool = False
    #: Whether this repeats the answer of an earlier upload with the same local_id.
    is_replayed: bool = False
    #: Whether that attachment has been deleted or replaced since.
    is_deleted: bool = False
    #: A sentence about a picture of which something may be missing.
    warning: str | None = None

    def body(self, key: str, message: str) -> JsonObject:
        """The body of the answer, with the attachment's id under `key`."""
        body = {"success": True, key: self.attachment_id, "message": message, "data": self.data}
        if self.is_replayed:
            body["replayed"] = True
        if self.is_deleted:
            body["deleted"] = True
        if self.warning is not None:
            body["warning"] = self.warning
        return body


def find_stored(session: Session, user: User | None, attachment_id: str) -> Stored:
    """The present state of an attachment that an earlier request stored, for `user`."""
    statement = select(Attachment).where(Attachment.id == attachment_id).options(joinedload(Attachment.inspection))
    attachment = session.scalar(statement)
    is_shown = attachment is not None and policies.read(user, attachment)
    return Stored(
        attachment_id=attachment_id,
        data=serialize_upload(attachment) if attachment is not None and is_shown else None,
        is_replayed=True,
        is_deleted=attachment is None or attachment.deleted_at is not None,
    )


def serialize_upload(attachment: Attachment) -> JsonObject:
    """The row as an upload answers it: as in the feed, with `uploaded_by_id` and `created_at`."""
    return {
        **Attachment.__entity__.record(attachment),  # type: ignore[misc]
        "uploaded_by_id": attachment.uploaded_by_id,
        "created_at": to_wire(attachment.created_at),
    }
