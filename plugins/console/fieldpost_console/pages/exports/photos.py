"""The photos and signatures of a list of inspections as one ZIP file, whose length is known before it is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from flask import Response, stream_with_context
from sqlalchemy import select
from zipstream import ZipStream

from app.attachments import attachment_pieces, attachment_size
from app.errors import InvalidError
from app.models import Attachment, FormFill, db
from app.pages import gettext
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.exports.noted import note_file
from fieldpost_console.pages.exports.pieces import inspection_pieces
from fieldpost_console.pages.exports.tables import read_export_filters
from fieldpost_console.pages.filters import given_filters
from fieldpost_console.pages.private import PrivateFields, asks_for_private

#: Pictures in one file: their names and places are kept in memory until the end.
MOST_PICTURES = 20_000

#: Characters that some system does not allow in the name of a file.
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}


@blueprint.get("/exports/photos.zip")
def export_photos() -> Response:
    """The pictures as they are stored, a folder an inspection."""
    archive = ZipStream(sized=True)
    for count, (folder, attachment) in enumerate(_pictures(read_export_filters()), 1):
        if count > MOST_PICTURES:
            raise InvalidError(
                gettext("There are more than %(most)s pictures", most=MOST_PICTURES),
                gettext("Choose fewer inspections, and export them one after another."),
            )
        pieces = partial(attachment_pieces, attachment)
        archive.add(_Pieces(pieces), f"{folder}/{_file_name(attachment)}", size=attachment_size(attachment))
    note_file("photos.zip", given_filters())
    response = Response(stream_with_context(archive), mimetype="application/zip")
    response.content_length = len(archive)
    response.headers.set("Content-Disposition", "attachment", filename="photos.zip")
    return response


class _Pieces:
    """The bytes of one picture, which is opened when its turn comes."""

    def __init__(self, read: Any) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._read())


def _pictures(filters: dict[str, Any]) -> Iterator[tuple[str, Attachment]]:
    """The pictures of the list's inspections, each with the name of its folder; private ones only if asked for."""
    private = None if asks_for_private() else PrivateFields()
    for rows in inspection_pieces(signed_in_user(), filters):
        folders = {row.id: _folder(row) for row in rows}
        attachments = _attachments_of(folders, private)
        db.session.expunge_all()
        for attachment in attachments:
            yield folders[attachment.inspection_id], attachment


def _attachments_of(inspection_ids: Iterable[int], private: PrivateFields | None) -> list[Attachment]:
    """The live pictures below some inspections; without those of private fields, if these are given."""
    statement = (
        select(Attachment, FormFill.form_template_id)
        .outerjoin(FormFill, FormFill.id == Attachment.form_fill_id)
        .where(Attachment.inspection_id.in_(inspection_ids), Attachment.deleted_at.is_(None))
        .order_by(Attachment.inspection_id, Attachment.position)
    )
    found = db.session.execute(statement).all()
    if private is not None:
        private.learn({template_id for _, template_id in found} - {None})
    return [one for one, template_id in found if private is None or not private.has(one, template_id)]


def _folder(row: Any) -> str:
    place = row.property or {}
    name = place.get("property_name") or place.get("address") or ""
    return _safe(f"{row.date.isoformat()} {row.id} {name}")


def _file_name(attachment: Attachment) -> str:
    """The field, which may be cut, and the picture's place, which makes the name unique."""
    name = f"{_safe(attachment.field_name)} {attachment.form_fill_id}-{attachment.position}"
    return name + SUFFIXES.get(attachment.content_type, "")


def _safe(name: str) -> str:
    """A name that every system takes, of at most 100 characters."""
    return FORBIDDEN.sub("_", name)[:100].strip(" .") or "_"
