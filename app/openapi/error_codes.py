"""The error codes of HTTP answers, with status and meaning, for the OpenAPI document (contract, section 0).

`docs/api.md` has the same table for people; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorCode:
    """One error code: its HTTP status, the `error` that usually comes with it, and its meaning."""

    code: str
    status: int
    error: str
    meaning: str


ERROR_CODES = {
    code.code: code
    for code in (
        ErrorCode(
            "bad_json",
            400,
            "The body is not valid JSON",
            "the body is cut off, not JSON, or has values that cannot be kept",
        ),
        ErrorCode("invalid_envelope", 400, "The body is not a batch", "`sync_items` is missing or no array"),
        ErrorCode("invalid", 400, "Invalid payload", "see `details`"),
        ErrorCode("bad_request", 400, "Bad Request", "not readable as HTTP"),
        ErrorCode("token_missing", 401, "Unauthorized", "send `Authorization: Bearer <token>`"),
        ErrorCode(
            "token_invalid", 401, "Unauthorized", "not a token of this server, or not of the kind that is wanted"
        ),
        ErrorCode(
            "token_expired", 401, "Unauthorized", "refresh the access token; after the refresh token sign in again"
        ),
        ErrorCode("token_revoked", 401, "Unauthorized", "the sign-in has ended; sign in again"),
        ErrorCode("wrong_credentials", 401, "Unauthorized", "e-mail or password is wrong"),
        ErrorCode("forbidden", 403, "Forbidden", "signed in, but not allowed"),
        ErrorCode("not_found", 404, "Not found", "not there, or not visible to this user"),
        ErrorCode("method_not_allowed", 405, "Method Not Allowed", "see the `Allow` header"),
        ErrorCode("too_slow", 408, "The body did not arrive in time", "nothing was applied"),
        ErrorCode(
            "stale", 409, "The row has changed since", "a `PATCH` named an old version; `data` has the present row"
        ),
        ErrorCode("already_decided", 409, "This was already decided", "somebody was faster; `data` has the item"),
        ErrorCode("refused", 409, "Invalid payload", "a decision was not applied; `reason` has the refusal's code"),
        ErrorCode("count_changed", 409, "Another number of items matches by now", "look at the list again"),
        ErrorCode("cursor_expired", 410, "The cursor can no longer be used", "start the feed again without a cursor"),
        ErrorCode("precondition_failed", 412, "Precondition Failed", "`If-Match` names another version"),
        ErrorCode("too_large", 413, "The request is too large", "over `limit`"),
        ErrorCode("too_many_items", 413, "Too many items for one batch", "over `limit`"),
        ErrorCode("unsupported_media_type", 415, "Unsupported media type", "a body that is not JSON, or no image"),
        ErrorCode("range_not_satisfiable", 416, "Requested Range Not Satisfiable", "the attachment is shorter"),
        ErrorCode("too_many_requests", 429, "Too many failed sign-ins", "wait `Retry-After` seconds"),
        ErrorCode("headers_too_large", 431, "A header has too many parts", "send fewer or shorter headers"),
        ErrorCode("internal_error", 500, "Internal error", "our mistake; report the `request_id`"),
        ErrorCode("try_again", 503, "The server cannot do this right now", "nothing was recorded; wait `Retry-After`"),
        ErrorCode("storage_full", 507, "There is no room for this photo", "over `limit`; it was not stored"),
    )
}

#: Codes that any route may answer.
ALWAYS = ("headers_too_large", "internal_error", "try_again")

#: Codes that a route may answer if it needs a token.
WITH_TOKEN = ("token_missing", "token_invalid", "token_expired", "token_revoked")

#: Codes that a route may answer if it reads a JSON body.
WITH_BODY = ("bad_json", "invalid", "too_slow", "too_large", "unsupported_media_type")

#: Codes that a route may answer if it reads a multipart body.
WITH_FORM = ("invalid", "too_slow", "too_large", "unsupported_media_type")

#: Codes that a route may answer if it reads parameters of the query.
WITH_QUERY = ("invalid",)
