"""Feed cursors: a device's position in the ledger, signed and bound to its user (contract, section 6)."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TypeAlias

from itsdangerous import BadData, URLSafeSerializer

from app.config import current_settings
from app.errors import ExpiredError

SALT = "fieldpost feed cursor"

#: The id of a fed row.
Key: TypeAlias = int | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """An entry of the ledger and its random tag. All zeros stand before the first entry."""

    xid: int = 0
    id: int = 0
    tag: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """Everything up to `mark` has been delivered, and of the next part everything up to `stage` and `after`."""

    user_id: int
    #: A change of the role changes what is visible, without an entry in the ledger.
    role: str
    #: The generation of the ledger's history (`app.models.LedgerState`).
    generation: str
    mark: Mark
    #: The newest entry in the page's snapshot. After a restore from a backup it is missing or has another tag.
    newest: Mark
    #: Whether the walk over the tables is still under way. Then the feed goes on from `mark` afterwards.
    is_walk: bool = False
    #: The entity under way and the last delivered id of it: in the walk, or inside the entry that `mark` names, which
    #: may bring many rows. None: nothing is under way.
    stage: str | None = None
    after: Key | None = None
    #: During a walk: the transactions that its first page could see. None on SQLite, where `mark` says the same.
    snapshot: str | None = None


def expired(reason: str) -> ExpiredError:
    """The error for a cursor that cannot be continued, with the reason."""
    advice = "Start again without a cursor and replace the local copy, unsent work excepted."
    return ExpiredError(f"The cursor can no longer be used: {reason}", advice)


def write_cursor(cursor: Cursor) -> str:
    """The cursor as opaque text for the device."""
    return str(_serializer(current_settings().secret_key).dumps(dataclasses.astuple(cursor)))


def read_cursor(text: str) -> Cursor:
    """The cursor in a text of `write_cursor`. Raises `ExpiredError` for any other text."""
    settings = current_settings()
    for key in filter(None, (settings.secret_key, settings.secret_key_previous)):
        try:
            user_id, role, generation, mark, newest, is_walk, stage, after, snapshot = _serializer(key).loads(text)
            return Cursor(
                user_id=user_id,
                role=role,
                generation=generation,
                mark=_mark(mark),
                newest=_mark(newest),
                is_walk=is_walk,
                stage=stage,
                after=after,
                snapshot=snapshot,
            )
        except (BadData, ValueError, TypeError):
            continue
    raise expired("it is not one of this server's.")


def _mark(values: list[int]) -> Mark:
    xid, id_, tag = values
    return Mark(xid=xid, id=id_, tag=tag)


def _serializer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt=SALT, signer_kwargs={"digest_method": hashlib.sha256})
