"""Feed cursors: where a device stands in the ledger, signed, bound to its user (contract, section 6)."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from app.config import current_settings
from app.errors import ExpiredError

SALT = "fieldpost feed cursor"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A row of the ledger and its random tag; all zero stands before the first."""

    xid: int = 0
    id: int = 0
    tag: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """Everything up to `mark` has been delivered, and of what comes next what `stage` and `after` say."""

    user_id: int
    #: A change of it changes what is visible, without an entry in the ledger.
    role: str
    #: Of the ledger's history: `app.models.LedgerState`.
    generation: str
    mark: Mark
    #: The newest row that the page's snapshot held: gone, or another, after a restore from a backup.
    newest: Mark
    #: Whether the tables are still being walked; then `mark` is where the feed goes on afterwards.
    is_walk: bool = False
    #: The entity that is under way, and the last id of it that was delivered: in the walk, or in the change that
    #: `mark` names, which may bring many rows. None: nothing is under way.
    stage: str | None = None
    after: Any = None
    #: While the tables are walked: which transactions its first page could see. None where `mark` says it: on SQLite.
    snapshot: str | None = None


def expired(reason: str) -> ExpiredError:
    """The refusal of a cursor, with the reason."""
    advice = "Start again without a cursor and replace the local copy, unsent work excepted."
    return ExpiredError(f"The cursor can no longer be used: {reason}", advice)


def write_cursor(cursor: Cursor) -> str:
    """The cursor as a device gets it: opaque text."""
    return str(_serializer(current_settings().secret_key).dumps(dataclasses.astuple(cursor)))


def read_cursor(text: str) -> Cursor:
    """The cursor that we wrote. Raises `ExpiredError` for anything else."""
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
