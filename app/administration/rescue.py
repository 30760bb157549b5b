"""Rescue files: the queue of a device that cannot sync by itself, read in under the device's own name (section 14).

The items go through the pipeline as if the device had sent them: under its user's rights, as operations of its user and
device, each at most once. If the device syncs after all, it gets replays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from sqlalchemy import select

from app.accounts.emails import normalized_email
from app.administration.fields import row_id
from app.config import current_settings
from app.core.database.engine import db
from app.core.database.write import Write
from app.core.host.registry import current_registry
from app.core.ledger import audit
from app.core.ledger.record import RESCUE_DOOR, Origin
from app.core.sync.attempt import Attempt, Batch
from app.core.sync.batch import process_batch
from app.core.sync.items import read_items
from app.core.values import UUID_FORM, JsonObject, TimestampField
from app.errors import ForbiddenError, InvalidError, NotFoundError, TooLargeError
from app.http.body import details_of, find_unstorable
from app.http.json_text import parse_json
from app.http.logs import log_security_event
from app.models import User
from app.policies import is_admin

#: The form of the files that this server reads.
FORM = 1

#: How many batches' items a file may have.
MOST_BATCHES = 10

#: What can become of an item.
RESULTS = ("applied", "replayed", "conflict", "refused")

#: The keys of an answer's entry that tell the office about it.
TOLD = ("local_id", "type", "server_id", "message", "code", "error", "retryable", "details")


class SenderSchema(Schema):
    """The user whose queue it is, as the sign-in has answered it."""

    class Meta:
        unknown = EXCLUDE

    id = row_id(required=True)
    email = fields.String(required=True, validate=validate.Length(1, 255))


class RescueSchema(Schema):
    """A rescue file. Keys that are not known are for people, or for a later server."""

    class Meta:
        unknown = EXCLUDE

    fieldpost_rescue = fields.Integer(required=True, strict=True, validate=validate.Equal(FORM))
    user = fields.Nested(SenderSchema, required=True)
    device_id = fields.String(
        required=True,
        allow_none=True,
        validate=validate.Regexp(UUID_FORM.pattern + r"\Z", UUID_FORM.flags, error="Not a valid UUID."),
        metadata={"format": "uuid"},
    )
    saved_at = TimestampField(allow_none=True, load_default=None)
    sync_items = fields.List(fields.Raw(), required=True)


@dataclass(frozen=True, kw_only=True)
class Rescued:
    """What became of a rescue file."""

    #: The user whose queue it was, and the device; None: the sign-in had named none.
    user_id: int
    user_name: str
    device_id: str | None
    saved_at: datetime | None
    #: In the order of the file: `index`, `result` (one of `RESULTS`), and what the answer of a sync says of the item.
    results: list[JsonObject] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many items have each of the `RESULTS`."""
        results = [entry["result"] for entry in self.results]
        return {result: results.count(result) for result in RESULTS}


def read_in(reader: User, document: object, *, is_suspect: bool = True) -> Rescued:
    """Apply the items of a rescue file for their sender; `reader` is an administrator, or the sender.

    It goes batch by batch. If one fails, those before it have been applied, and the same file can be read in again.
    `is_suspect`: whether the body reader has seen signs of values that cannot be stored.
    Raises `InvalidError`, `ForbiddenError`, `NotFoundError`, `TooLargeError`, and `TryAgainError`.
    """
    head, items = _read(document, is_suspect)
    rescued = _sender_of(reader, head)
    is_own = rescued.user_id == reader.id
    origin = Origin(
        door=RESCUE_DOOR,
        user_id=rescued.user_id,
        device_id=rescued.device_id,
        read_in_by_id=None if is_own else reader.id,
    )
    log_security_event("rescue file read in", account_id=rescued.user_id, items=len(items))
    size = current_settings().max_batch_items
    for start in range(0, len(items), size):
        batch = _batch(reader, origin, items[start : start + size], is_suspect)
        entries = _apply(batch)
        rescued.results.extend({**entry, "index": start + index} for index, entry in enumerate(entries))
    return rescued


def read_in_bytes(reader: User, content: bytes) -> Rescued:
    """The same with the bytes of a file. Raises `BadJsonError`, too."""
    document, is_suspect = parse_json(content, depth=current_settings().max_json_depth)
    return read_in(reader, document, is_suspect=is_suspect)


def _read(document: object, is_suspect: bool) -> tuple[Mapping[str, Any], Sequence[object]]:
    """The file's head, checked, and its items, each of which is checked by itself."""
    if not isinstance(document, dict):
        raise InvalidError(message="Send the rescue file as the app has written it, which is a JSON object.")
    items: Any = document.get("sync_items")
    # A fault in one item refuses that item alone.
    head = {name: document[name] for name in RescueSchema._declared_fields if name in document}
    if isinstance(items, list):
        head["sync_items"] = []
    reason = find_unstorable(head) if is_suspect else None
    if reason is not None:
        raise InvalidError(message=reason)
    try:
        loaded: Mapping[str, Any] = RescueSchema().load(head)
    except ValidationError as error:
        raise InvalidError(extra={"details": details_of(error)}) from None
    limit = MOST_BATCHES * current_settings().max_batch_items
    if len(items) > limit:
        message = "Nothing was applied. Divide the file, and read its parts in one after the other."
        raise TooLargeError(limit, f"{len(items)} items are too many for one file", message, code="too_many_items")
    return loaded, items


def _sender_of(reader: User, head: Mapping[str, Any]) -> Rescued:
    """The user whose queue it is, by id and address: the id alone would mean somebody else on another server."""
    key, email = head["user"]["id"], normalized_email(head["user"]["email"])
    if not is_admin(reader) and (reader.id, reader.email) != (key, email):
        raise ForbiddenError(
            "This is somebody else's rescue file", "Ask an administrator to read it in, or sign in as its sender."
        )
    sender = db.session.execute(select(User.name).where(User.id == key, User.email == email)).one_or_none()
    if sender is None:
        raise NotFoundError(
            "The sender of this file is not known here",
            "Nothing was applied. Look whether the file comes from another server.",
        )
    return Rescued(user_id=key, user_name=sender.name, device_id=head["device_id"], saved_at=head["saved_at"])


def _batch(reader: User, origin: Origin, elements: Sequence[object], is_suspect: bool) -> Batch:
    registry = current_registry()
    items = read_items({"sync_items": elements}, registry, is_suspect=is_suspect)
    besides = partial(_noted, reader)
    return Batch(items=items, elements=elements, origin=origin, registry=registry, besides=besides)


def _noted(reader: User, attempt: Attempt) -> Iterator[Write]:
    """The entry of the audit log, in the same transaction."""
    origin, sender_id = Origin(door=RESCUE_DOOR), attempt.batch.origin.user_id
    yield audit.entry("rescue_read_in", origin, reader, ("user", sender_id), items=len(attempt.answers))


def _apply(batch: Batch) -> Iterator[JsonObject]:
    """The results of the items of one batch, in their order."""
    answer = process_batch(batch)
    # An entry is encoded before the commit, and read again here.
    groups = orjson.loads(orjson.dumps(answer["results"]))
    entries = sorted(((entry["index"], group, entry) for group in groups for entry in groups[group]), key=_index)
    return (_told(group, entry) for _, group, entry in entries)


def _index(numbered: tuple[int, str, JsonObject]) -> int:
    return numbered[0]


def _told(group: str, entry: JsonObject) -> JsonObject:
    done = "replayed" if entry.get("replayed") else "applied"
    result = {"success": done, "conflicts": "conflict", "errors": "refused"}[group]
    return {"result": result, **{name: entry[name] for name in TOLD if name in entry}}
