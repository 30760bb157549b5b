"""Photos and signatures: reading, verifying, storing and sending them (contract, section 4).

The bytes go into the storage as they arrive, and the row is written last, so that no row ever names bytes that are not
there.
Bytes without a row are collected once they are old enough (`upkeep`).
"""

from app.attachments.deletion import delete_attachments
from app.attachments.destination import Destination, read_destination
from app.attachments.download import attachment_pieces, attachment_size, attachment_thumbnail, send_attachment
from app.attachments.drafts import ImageDraft, image_draft, new_key
from app.attachments.multipart import check_size, max_image_bytes
from app.attachments.room import bytes_of_user, user_quota
from app.attachments.shapes import UPLOAD_ERRORS, upload_answer, upload_form
from app.attachments.storage import MissingObjectError, current_storage
from app.attachments.stored import Stored, find_stored
from app.attachments.upload import check_destination, check_room, drop_object, store_draft, store_image, store_upload
from app.core.values import NameField

__all__ = [
    "UPLOAD_ERRORS",
    "Destination",
    "ImageDraft",
    "MissingObjectError",
    "NameField",
    "Stored",
    "attachment_pieces",
    "attachment_size",
    "attachment_thumbnail",
    "bytes_of_user",
    "check_destination",
    "check_room",
    "check_size",
    "current_storage",
    "delete_attachments",
    "drop_object",
    "find_stored",
    "image_draft",
    "max_image_bytes",
    "new_key",
    "read_destination",
    "send_attachment",
    "store_draft",
    "store_image",
    "store_upload",
    "upload_answer",
    "upload_form",
    "user_quota",
]
