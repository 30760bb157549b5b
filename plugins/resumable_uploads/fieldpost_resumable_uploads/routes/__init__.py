"""The routes of tus 1.0.0 below `/uploads`: create, ask, add, give up; and the state of an upload as JSON."""

from __future__ import annotations

from uuid import uuid4

from flask import Blueprint, Response, jsonify, request, url_for
from sqlalchemy import select
from werkzeug.http import http_date

from app.attachments import check_destination, check_room, check_size, find_stored, max_image_bytes
from app.clock import now, to_wire
from app.errors import InvalidError, NotFoundError, RequestError
from app.models import db
from app.plugin_api import plugin_settings
from app.web import CutOffError, SlowBodyError, answer, signed_in_user, unit_of_work
from fieldpost_resumable_uploads import protocol, uploads
from fieldpost_resumable_uploads.faults import OffsetConflictError, TooManyUploadsError, UploadExpiredError
from fieldpost_resumable_uploads.models import ResumableUpload
from fieldpost_resumable_uploads.routes.descriptions import (
    ATTACHMENT_ID,
    describe_add,
    describe_create,
    describe_override,
    describe_remove,
    describe_show,
)
from fieldpost_resumable_uploads.routes.intake import expiry, take

blueprint = Blueprint("resumable_uploads", __name__, url_prefix="/uploads")

#: Response headers that pages of other origins may read, if CORS lets them call at all.
EXPOSED = (
    "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, "
    f"Upload-Length, Upload-Metadata, Upload-Expires, {ATTACHMENT_ID}"
)

#: `Retry-After` for users with too many bytes under way, in seconds.
WAIT = 60


@blueprint.after_request
def speak_tus(response: Response) -> Response:
    """Name the protocol in every answer, errors included, and forbid caching."""
    response.headers["Tus-Resumable"] = protocol.VERSION
    response.headers["Cache-Control"] = "no-store"
    response.headers.add("Access-Control-Expose-Headers", EXPOSED)
    return response


@blueprint.route("", methods=["OPTIONS"], provide_automatic_options=False)
@blueprint.route("/<_upload_id>", methods=["OPTIONS"], provide_automatic_options=False)
def show_options(_upload_id: str = "") -> Response:
    """The supported parts of tus."""
    response = Response(status=204)
    response.headers["Tus-Version"] = protocol.VERSION
    response.headers["Tus-Extension"] = protocol.EXTENSIONS
    response.headers["Tus-Max-Size"] = str(max_image_bytes())
    response.headers["Tus-Checksum-Algorithm"] = ",".join(protocol.ALGORITHMS)
    return response


@blueprint.post("")
@describe_create
def create_upload() -> Response:
    """Announce an upload: `Upload-Length`, and its destination in `Upload-Metadata`. The first bytes may come along."""
    protocol.require_version(request.headers)
    if "Upload-Defer-Length" in request.headers:
        raise InvalidError("Invalid header", "The length of a photo is known: send Upload-Length.")
    byte_size = protocol.read_number(request.headers, "Upload-Length")
    if byte_size == 0:
        raise InvalidError("Invalid header", "Upload-Length: an empty file is no image.")
    check_size(byte_size)
    metadata = request.headers.get("Upload-Metadata", "")
    check_destination(signed_in_user(), protocol.read_target(metadata))
    check_room(signed_in_user(), byte_size)
    upload_id = _announce(byte_size, metadata)
    if request.content_length or request.mimetype == protocol.CONTENT_TYPE:
        _take_first(upload_id)
    response = _progress(upload_id, 201)
    response.headers["Location"] = url_for("resumable_uploads.show_upload", upload_id=upload_id)
    return response


@blueprint.get("/<upload_id>")
@describe_show
def show_upload(upload_id: str) -> Response:
    """HEAD: the number of bytes that have arrived. GET: the same as JSON, or for a complete upload its attachment."""
    if request.method == "HEAD":
        protocol.require_version(request.headers)
    upload = _find(upload_id)
    response = _outcome(upload) if upload.attachment_id is not None else _state(upload)
    _put_progress(response, upload)
    response.headers["Upload-Length"] = str(upload.byte_size)
    response.headers["Upload-Metadata"] = upload.sent_metadata
    return response


@blueprint.patch("/<upload_id>")
@describe_add
def add_to_upload(upload_id: str) -> Response:
    """Add bytes from `Upload-Offset` on. The bytes that arrive are kept even if the rest does not arrive."""
    protocol.require_version(request.headers)
    protocol.require_content_type(request)
    upload, offset = _find(upload_id), protocol.read_number(request.headers, "Upload-Offset")
    if offset != upload.received:
        raise OffsetConflictError()
    take(upload)
    return _progress(upload_id, 204)


@blueprint.delete("/<upload_id>")
@describe_remove
def remove_upload(upload_id: str) -> Response:
    """Give up an upload, or forget a complete one. Its attachment stays."""
    protocol.require_version(request.headers)
    _forget(_find(upload_id).id)
    return Response(status=204)


@blueprint.post("/<upload_id>")
@describe_override
def override_method(upload_id: str) -> Response:
    """PATCH or DELETE, as `X-HTTP-Method-Override` says, for clients that cannot send these methods."""
    views = {"PATCH": add_to_upload, "DELETE": remove_upload}
    view = views.get(request.headers.get("X-HTTP-Method-Override", "").upper())
    if view is None:
        raise InvalidError("Invalid header", "X-HTTP-Method-Override: send PATCH or DELETE, or use these methods.")
    return view(upload_id)


def _announce(byte_size: int, metadata: str) -> str:
    """Create an upload of the signed-in user; returns its id."""
    user_id, upload_id = signed_in_user().id, str(uuid4())
    most = plugin_settings("resumable_uploads")["most_pending_bytes"]
    counted = max(byte_size, uploads.LEAST_COUNTED)

    def work(_unit_id: str) -> None:
        session = db.session()
        if uploads.pending_bytes(session, user_id, now()) + counted > most:
            raise TooManyUploadsError(extra={"limit": most}, headers={"Retry-After": str(WAIT)})
        session.add(
            ResumableUpload(
                id=upload_id,
                user_id=user_id,
                sent_metadata=metadata,
                byte_size=byte_size,
                received=0,
                attachment_id=None,
                expires_at=expiry(),
            )
        )

    unit_of_work(work)
    return upload_id


def _find(upload_id: str) -> ResumableUpload:
    """The signed-in user's upload, detached from any session. Raises `NotFoundError`, `UploadExpiredError`."""
    mine = ResumableUpload.user_id == signed_in_user().id
    statement = select(ResumableUpload).where(ResumableUpload.id == upload_id, mine)
    upload: ResumableUpload | None = db.session.scalar(statement)
    # No database connection is held while a body arrives, which may take a minute.
    db.session.remove()
    if upload is None:
        raise NotFoundError("Upload not found", "Start again with a new upload.")
    if upload.expires_at <= now():
        raise UploadExpiredError()
    return upload


def _take_first(upload_id: str) -> None:
    """Take in the bytes that came with the announcement. If they are refused, the upload is removed again."""
    try:
        protocol.require_content_type(request)
        take(_find(upload_id))
    except (CutOffError, SlowBodyError):
        return
    except RequestError:
        _forget(upload_id)
        raise


def _forget(upload_id: str) -> None:
    uploads.drop(unit_of_work(lambda _unit_id: uploads.remove(db.session(), [upload_id])))


def _progress(upload_id: str, status: int) -> Response:
    """The answer with the upload's progress, without a body."""
    response = Response(status=status)
    _put_progress(response, _find(upload_id))
    return response


def _put_progress(response: Response, upload: ResumableUpload) -> None:
    response.headers["Upload-Offset"] = str(upload.received)
    response.headers["Upload-Expires"] = http_date(upload.expires_at)
    if upload.attachment_id is not None:
        response.headers[ATTACHMENT_ID] = upload.attachment_id


def _outcome(upload: ResumableUpload) -> Response:
    """The attachment of a complete upload, as `POST /sync/upload_photo` answers it."""
    kind = protocol.read_target(upload.sent_metadata).kind
    stored = find_stored(db.session(), signed_in_user(), str(upload.attachment_id))
    return jsonify(stored.body(f"{kind}_attachment_id", f"{kind.capitalize()} uploaded successfully"))


def _state(upload: ResumableUpload) -> Response:
    return answer(
        {
            "id": upload.id,
            "byte_size": upload.byte_size,
            "offset": upload.received,
            "expires_at": to_wire(upload.expires_at),
        },
        "Upload in progress",
    )
