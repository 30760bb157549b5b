"""Every error that Fieldpost raises on purpose, and the one JSON body that an HTTP error has.

Three kinds that never mix (contract, sections 0 and 3)::

    Exception
    ├── StartError                 stops the start; never answered over HTTP
    │   ├── ConfigurationError     a setting that cannot work
    │   └── PluginError            a plugin that cannot be loaded
    ├── Rejected                   outcome of one operation: an entry in `errors`
    ├── NoFieldError               a handler's bug: it set what is no field
    ├── StorageError               the storage did not do what was asked (disk full, unreachable)
    └── RequestError               answers the whole request, with a status and a code
        ├── BadJsonError           400 bad_json
        ├── InvalidError           400 invalid
        ├── UnauthorizedError      401 token_*, wrong_credentials
        ├── ForbiddenError         403 forbidden
        ├── NotFoundError          404 not_found
        ├── StaleError             409 stale
        ├── ConflictError          409 already_decided, count_changed, refused
        ├── ExpiredError           410 cursor_expired
        ├── TooLargeError          413 too_large, too_many_items
        ├── MediaTypeError         415 unsupported_media_type
        ├── TryAgainError          503 try_again
        └── StorageFullError       507 storage_full

Any module may import this one; it imports none of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class StartError(Exception):
    """The server must not start as it is. Its text names the fault, its place and its cure."""


class ConfigurationError(StartError):
    """A setting is missing, malformed or dangerous."""


class PluginError(StartError):
    """One or more plugins cannot be loaded; the text lists all findings."""


class Rejected(Exception):
    """Raised by a handler's `apply`: this operation is refused, and nothing of it is written.

    `code` is stable and machine readable (`invalid`, `not_found`, `forbidden`, or a plugin's own),
    `error` is one sentence, `message` says what to do, `details` maps fields to lists of messages.
    `retryable` tells the device to keep the operation queued (contract, section 3).
    """

    def __init__(
        self,
        code: str,
        error: str,
        message: str = "",
        *,
        retryable: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(error)
        self.code = code
        self.error = error
        self.message = message or error
        self.retryable = retryable
        self.details = details


class NoFieldError(TypeError):
    """A change of something that is no field: nobody would see it, and a merge would write over it in silence.

    The text names the fields that there are, and not the name that was tried, which may be a device's.
    """

    def __init__(self, label: str, fields: Iterable[str]) -> None:
        super().__init__(
            f"{label} was to change something that is no field. Its fields are {', '.join(fields) or 'none'}: all of "
            "its columns that `unrecorded` does not name."
        )


class StorageError(Exception):
    """The storage could not do what was asked: full, unreachable, or refusing. Answered as 503."""


class RequestError(Exception):
    """Answers the request with `status` and the JSON error body (contract, section 0).

    `error` is a sentence, `code` a stable snake_case word, `message` says what to do.
    `retryable` says that the same request may succeed later; the body has it only where it is true.
    `extra` adds keys to the body (`limit`, `details`); `headers` adds response headers.
    """

    status = 400
    code = "bad_request"
    error = "Bad request"
    message = "Correct the request and send it again."
    retryable = False

    def __init__(
        self,
        error: str | None = None,
        message: str | None = None,
        *,
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error or self.error)
        self.error = error or self.error
        self.message = message or self.message
        self.code = code or self.code
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def body(self, request_id: str | None) -> dict[str, Any]:
        """The JSON error body of contract section 0."""
        return {
            "success": False,
            "error": self.error,
            "code": self.code,
            "message": self.message,
            "request_id": request_id,
            **({"retryable": True} if self.retryable else {}),
            **self.extra,
        }


class BadJsonError(RequestError):
    """The body is not JSON that every reader understands the same way."""

    code = "bad_json"
    error = "The body is not valid JSON"
    message = "Send one JSON document, UTF-8, within the limits of the contract."


class InvalidError(RequestError):
    """The body is JSON, but does not fit this endpoint; `extra["details"]` names the fields."""

    code = "invalid"
    error = "Invalid payload"
    message = "Correct the fields named in `details` and send the request again."


class UnauthorizedError(RequestError):
    """No usable token, or wrong credentials (contract, section 1)."""

    status = 401
    code = "token_invalid"
    error = "Unauthorized"
    message = "Sign in again."

    def __init__(self, code: str, message: str, error: str | None = None) -> None:
        super().__init__(error, message, code=code, headers={"WWW-Authenticate": "Bearer"})


class ForbiddenError(RequestError):
    """Signed in, but not allowed."""

    status = 403
    code = "forbidden"
    error = "Forbidden"
    message = "Ask an administrator for the rights, or work on an inspection that is yours."


class NotFoundError(RequestError):
    """Not there, or not visible to this user: the answer does not tell which."""

    status = 404
    code = "not_found"
    error = "Not found"
    message = "Check the address and the id; it may be gone, or not visible to you."


class StaleError(RequestError):
    """A PATCH named a version that is no longer the row's; `extra["data"]` is the present row."""

    status = 409
    code = "stale"
    error = "The row has changed since"
    message = "Take the present row from `data`, decide, and send the change with its `updated_at`."


class ConflictError(RequestError):
    """The state of things does not allow it; `code` says why, and `extra` more about it (contract, section 12)."""

    status = 409

    def __init__(self, code: str, error: str, message: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(error, message, code=code, extra=extra)


class ExpiredError(RequestError):
    """A feed cursor that can no longer be continued."""

    status = 410
    code = "cursor_expired"
    error = "The cursor can no longer be used"
    message = "Start again without a cursor and replace the local copy, unsent work excepted."


class TooLargeError(RequestError):
    """Over one of the limits of contract section 0, named in `limit`."""

    status = 413
    code = "too_large"
    error = "The request is too large"

    def __init__(
        self, limit: int, error: str | None = None, message: str | None = None, *, code: str | None = None
    ) -> None:
        message = message or f"Send less at once: the limit is {limit}."
        super().__init__(error, message, code=code, extra={"limit": limit})


class MediaTypeError(RequestError):
    """The body is of a kind that this endpoint does not read."""

    status = 415
    code = "unsupported_media_type"
    error = "Unsupported media type"
    message = "Send the body with `Content-Type: application/json`."


class TryAgainError(RequestError):
    """Overload, a full disk, or a database that does not answer; nothing was recorded."""

    status = 503
    code = "try_again"
    error = "The server cannot do this right now"
    message = "Nothing was recorded. Send the same request again after the time in Retry-After."
    retryable = True

    def __init__(self, error: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(error, headers={"Retry-After": str(retry_after)})


class StorageFullError(RequestError):
    """A photo is beyond a quota of storage, which `limit` names (contract, section 4; RFC 4918, section 11.5)."""

    status = 507
    code = "storage_full"
    error = "There is no room for this photo"
    message = (
        "It was not stored. Delete photos that nobody needs, or ask an administrator for room; "
        "then send the same request again."
    )
    retryable = True

    def __init__(self, limit: int, error: str | None = None) -> None:
        super().__init__(error, extra={"limit": limit})
