"""Photos and signatures: read an upload, verify and store it, send it, take care of the stored bytes (section 4).

The bytes go to the storage first and the row comes last, so that no row ever names bytes that are not there;
bytes without a row are collected once they are old enough (`care`).
"""

from app.attachments.download import send_attachment
from app.attachments.shapes import UPLOAD_FAULTS, upload_answer, upload_form
from app.attachments.upload import Stored, store_upload

__all__ = ["UPLOAD_FAULTS", "Stored", "send_attachment", "store_upload", "upload_answer", "upload_form"]
