"""The errors that only resumable uploads have; each is answered with the JSON body of all of Fieldpost's errors."""

from __future__ import annotations

from app.errors import RequestError

__all__ = [
    "ChecksumMismatchError",
    "OffsetConflictError",
    "TooManyUploadsError",
    "UploadExpiredError",
    "WrongVersionError",
]


class OffsetConflictError(RequestError):
    """The bytes do not begin where the upload has got to: another request has been quicker, or an answer was lost."""

    status = 409
    code = "offset_conflict"
    error = "The upload is at another offset"
    message = "Nothing was kept. Ask for the offset with HEAD and go on from there."


class UploadExpiredError(RequestError):
    """Nothing has arrived for too long, or what had arrived is gone."""

    status = 410
    code = "upload_expired"
    error = "The upload has expired"
    message = "Start again with a new upload."


class WrongVersionError(RequestError):
    """The client speaks another version of tus, or none."""

    status = 412
    code = "wrong_tus_version"
    error = "This is not the tus protocol, version 1.0.0"
    message = "Send `Tus-Resumable: 1.0.0`."


class TooManyUploadsError(RequestError):
    """The user's unfinished uploads come to too much."""

    status = 429
    code = "too_many_uploads"
    error = "Too much is under way"
    message = "Finish or DELETE other uploads first, or wait until they expire; then send the same request again."


class ChecksumMismatchError(RequestError):
    """What arrived is not what was sent. The status is tus's own."""

    status = 460
    code = "checksum_mismatch"
    error = "The checksum does not match the bytes"
    message = "Nothing was kept. Send the same bytes again."
