"""The errors of resumable uploads, answered with the JSON body of all errors of Fieldpost."""

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
    """The bytes do not begin at the upload's offset: another request was faster, or an answer was lost."""

    status = 409
    code = "offset_conflict"
    error = "The upload is at another offset"
    message = "Nothing was kept. Ask for the offset with HEAD and go on from there."


class UploadExpiredError(RequestError):
    """Nothing has arrived for too long, or the bytes that had arrived are lost."""

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
    """The user's unfinished uploads have too many bytes together."""

    status = 429
    code = "too_many_uploads"
    error = "Too much is under way"
    retryable = True
    message = "Finish or DELETE other uploads first, or wait until they expire; then send the same request again."


class ChecksumMismatchError(RequestError):
    """The bytes that arrived are not the bytes that were sent. The status is defined by tus."""

    status = 460
    code = "checksum_mismatch"
    error = "The checksum does not match the bytes"
    retryable = True
    message = "Nothing was kept. Send the same bytes again."
