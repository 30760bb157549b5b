"""The items of a batch that were not applied, kept until somebody decides (contract, section 12).

They go along with the batch's own writes: a batch whose items are all applied pays nothing for them. What the rows of a
batch have in common travels once. One row has all tries of an item, and is written again only where it tells something
new, or is a minute old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import orjson

from app.config import current_settings
from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import Columns, Encode, Rule, RuledPut, encoder, quoted
from app.core.ledger.record import Origin
from app.core.sync.answers import Answer
from app.core.sync.attempt import Attempt
from app.core.sync.items import Item, Routed, key_of, payload_json, payload_key
from app.core.sync.keys import Reference
from app.core.values import JsonObject
from app.http.body import find_unstorable
from app.models import Inspection, SetAside
from app.models.entities import Fields, as_json, entity_of

#: The most bytes of an item, and of a conflict's values, as JSON.
MAX_ITEM_BYTES = 64 * 1024

#: The hexadecimal digits of a row's key, of which all indexes have a copy. The user's id comes first, so that a batch
#: writes to few pages of them.
USER_DIGITS, HASH_DIGITS = 8, 24

#: How long a row stays as it is while its device sends the item again and again.
REST = timedelta(minutes=1)

#: The code of a conflict, which has none of its own.
CONFLICT = "conflict"

#: NUL in a JSON text, and the sign with which each escape begins.
NUL, BACKSLASH = rb"\u0000", b"\\"

#: The rows that a user has open, and their bytes.
KEPT = (
    "(SELECT count(*) AS kept, coalesce(sum(item_bytes), 0) AS kept_bytes FROM set_aside "
    "WHERE user_id = ? AND settled_at IS NULL) AS room"
)
#: Whether there is no room for a row. SQLite reads the row's own limits only where there is none for all rows.
FULL = (
    "((room.kept > source.all_rows_left OR room.kept_bytes > source.all_bytes_left) "
    "AND (room.kept > source.rows_left OR room.kept_bytes > source.bytes_left))"
)

#: A row that somebody has decided is left alone.
CONDITION = (
    "set_aside.decision IS NULL AND (set_aside.last_at < ? OR set_aside.settled_at IS NOT NULL "
    "OR set_aside.code <> excluded.code OR coalesce(set_aside.seen_version, set_aside.first_at) "
    "<> coalesce(excluded.seen_version, set_aside.first_at))"
)

#: The columns of which each row has values of its own.
IDENTITY = ("id", "local_id", "fingerprint", "position")
CONTENT = ("item", "item_bytes")

#: Those that are often the same in all rows of a batch, in parts that travel once where they are.
ANSWER = ("type", "outcome", "code", "error", "message", "retryable", "details")
PLACE = ("entity", "entity_id", "inspection_id")
SEEN = ("is_cut", "seen", "seen_version")

#: What travels without a column: the row by which an inspection is found, and how many rows and bytes its user may have
#: open so that there is room for a row, and for all rows.
ROOT = ("root_entity", "root_id", "root_client_id")
ROOM, ROOM_OF_ALL = ("rows_left", "bytes_left"), ("all_rows_left", "all_bytes_left")
EXTRA = (*((name, "text") for name in ROOT), *((name, "bigint") for name in (*ROOM, *ROOM_OF_ALL)))

#: The latest answer, which each try brings anew.
LATEST = ("outcome", "code", "error", "message", "details", "retryable", "seen", "seen_version", "last_at")

UPDATES = (
    *((name, f"excluded.{name}") for name in LATEST),
    *((name, f"coalesce(excluded.{name}, set_aside.{name})") for name in ("entity", "entity_id", "inspection_id")),
    ("times", "set_aside.times + 1"),
    ("settled_at", "NULL"),
    # The first one stays, because there may be no more room for another.
    ("item", "coalesce(set_aside.item, excluded.item)"),
    ("is_cut", "set_aside.item IS NULL AND excluded.is_cut"),
    ("item_bytes", "CASE WHEN excluded.item_bytes > 0 THEN excluded.item_bytes ELSE set_aside.item_bytes END"),
)


class Place(NamedTuple):
    """The row that an item is about, as far as it is known."""

    entity: str | None = None
    entity_id: str | None = None
    inspection_id: int | None = None
    #: A row by which the inspection may be found, where that is not known yet.
    root: Reference | None = None


#: The place of an item that names no row that could be read.
NOWHERE = Place()

#: The values of `ROOT` of an item whose inspection is known, or that names no row.
NO_ROOT = (None, None, None)


def set_aside(attempt: Attempt) -> Iterator[RuledPut]:
    """The write of the items that were refused or met a conflict; none where all were applied."""
    missed = _missed(attempt)
    if missed:
        yield _put(attempt, *zip(*missed, strict=True))


def _missed(attempt: Attempt) -> list[tuple[Any, ...]]:
    """The items that were not applied: the values of `IDENTITY`, the item and its answer."""
    origin, elements, remembered = attempt.recorder.origin, attempt.batch.elements, attempt.remembered
    missed = {}
    for item, answer in zip(attempt.batch.items, attempt.answers, strict=True):
        # An item that was refused at first may have been applied at its second place in the batch.
        if answer.group != "success" and not (remembered and key_of(item) in remembered):
            identity = _identity(origin, item, elements[item.index])
            missed[identity[0]] = identity, item, answer
    # By their keys: an item that stands twice in the batch is one row, and two batches cannot deadlock.
    return [missed[key] for key in sorted(missed)]


def _put(
    attempt: Attempt, identities: Sequence[tuple[Any, ...]], items: Sequence[Item], answers: Sequence[Answer]
) -> RuledPut:
    """The write of these items."""
    encode = encoder(table_of(SetAside).c.last_at, db.engine.dialect) or _same
    places = [*map(partial(_place, attempt), items, answers)]
    columns = Columns(_shared(attempt, encode))
    columns.add(IDENTITY, identities)
    columns.add_common(ANSWER, [*map(_answered, items, answers, repeat(_may_have_nul(answers)))])
    columns.add_common(PLACE, [place[:-1] for place in places])
    columns.add_common(ROOT, [_root(place.root) for place in places])
    _add_content(columns, [_sent(item, attempt.batch.elements[item.index]) for item in items], answers, encode)
    return RuledPut(
        table=table_of(SetAside),
        columns=columns,
        rule=_rule(frozenset(place.root.model for place in places if place.root is not None)),
        parameters=(attempt.recorder.origin.user_id, encode(attempt.recorder.now - REST)),
    )


def _shared(attempt: Attempt, encode: Encode) -> dict[str, Any]:
    """The columns that the rows of any batch have in common. `encode`: that of moments."""
    origin, moment = attempt.recorder.origin, encode(attempt.recorder.now)
    return {
        "user_id": origin.user_id,
        "device_id": origin.device_id or "",
        "first_at": moment,
        "last_at": moment,
        "times": 1,
    }


def _add_content(columns: Columns, sent: Sequence[bytes | None], answers: Sequence[Answer], encode: Encode) -> None:
    """Add the columns of `CONTENT`, `SEEN` and room."""
    settings = current_settings()
    seen = [_seen(answer) for answer in answers]
    versions = [None if answer.row is None else encode(answer.row.updated_at) for answer in answers]
    cut = [document is None for document in sent]
    sizes = [len(document or b"") + len(values or b"") for document, values in zip(sent, seen, strict=True)]
    rows_left = [settings.set_aside_rows - count for count in range(1, len(sizes) + 1)]
    bytes_left = [settings.set_aside_bytes - total for total in accumulate(sizes)]
    columns.add_common(SEEN, [*zip(cut, seen, versions, strict=True)])
    columns.add(CONTENT, zip(sent, sizes, strict=True))
    columns.add(ROOM, zip(rows_left, bytes_left, strict=True))
    columns.shared |= zip(ROOM_OF_ALL, (rows_left[-1], bytes_left[-1]), strict=True)


def _same(moment: datetime) -> datetime:
    """A moment for a driver that takes it as it is."""
    return moment


def _identity(origin: Origin, item: Item, element: object) -> tuple[Any, ...]:
    """The values of `IDENTITY`."""
    local_id = "" if item.local_id is None else str(item.local_id)[:255]
    fingerprint = item.fingerprint or _fingerprint_of(element)
    identity = orjson.dumps([origin.user_id, origin.device_id or "", local_id, fingerprint])
    key = _user_digits(origin.user_id) + hashlib.sha256(identity).hexdigest()[:HASH_DIGITS]
    return key, local_id, fingerprint, item.index


@lru_cache(maxsize=128)
def _user_digits(user_id: int | None) -> str:
    """The beginning of the keys of a user's rows."""
    return f"{user_id or 0:0{USER_DIGITS}x}"


def _may_have_nul(answers: Iterable[Answer]) -> bool:
    """Whether a refusal has the sign of NUL; few have any backslash, which is found in no time."""
    entries = b"".join([answer.encoded for answer in answers])
    return BACKSLASH in entries and NUL in entries


def _answered(item: Item, answer: Answer, may_have_nul: bool) -> tuple[Any, ...]:
    """The values of `ANSWER`. Those that plugins give are without NUL, which PostgreSQL does not take."""
    entry = answer.entry
    type_ = str((item.type or "") if item.handler is None else item.handler.type)[:255]
    if answer.group == "conflicts":
        return type_, "conflict", CONFLICT, entry["message"], entry["message"], False, None
    details, texts = entry.get("details"), (entry["code"], entry["error"], entry["message"])
    document = None if details is None else orjson.dumps(details)
    if may_have_nul:
        document = None if document is None or _has_nul(document) else document
        texts = tuple(text.replace("\0", "") for text in texts)
    return type_, "refused", *texts, entry["retryable"], document


def _has_nul(document: bytes) -> bool:
    """Whether a JSON text has NUL in it."""
    # The same signs stand for a backslash in front of letters, too.
    return NUL in document and find_unstorable(orjson.loads(document)) is not None


def _root(root: Reference | None) -> tuple[Any, ...]:
    """The values of `ROOT`."""
    if root is None:
        return NO_ROOT
    name, key = entity_of(root.model).name, str(root.key)
    return (name, None, key) if root.is_client_id else (name, key, None)


def _fingerprint_of(element: object) -> str:
    """A hash for an element that has none, because its type or payload is missing, or it has what cannot be stored."""
    try:
        document = orjson.dumps(element, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        document = ascii(element).encode()
    return hashlib.sha256(document).hexdigest()


def _sent(item: Item, element: object) -> bytes | None:
    """The item as it was sent, as JSON; None where it is too large, no object, or has what cannot be stored."""
    if not isinstance(element, dict) or (not item.fingerprint and find_unstorable(element) is not None):
        return None
    if isinstance(item, Routed):
        # A handler may have changed the payload in memory.
        element = {**element, payload_key(item.handler, element): orjson.Fragment(payload_json(item))}
    sent = orjson.dumps(element)
    return sent if len(sent) <= MAX_ITEM_BYTES else None


def _seen(answer: Answer) -> bytes | None:
    """The values of a conflict: of the fields that were sent, in the item, in the base and on the server."""
    if answer.group != "conflicts" or answer.fields is None:
        return None
    data = answer.entry["conflict_data"]
    local, names = data["local_data"], data["conflicting_fields"]
    shown = {*local, *names}
    seen: JsonObject = {
        "local_version": data["local_version"],
        "conflicting_fields": names,
        "unknown_version": data.get("unknown_version", False),
        "mine": {name: as_json(value) for name, value in local.items()},
        "base": None if answer.base is None else _only(answer.base, shown),
        "theirs": _only(answer.fields, shown),
    }
    document = orjson.dumps(seen, default=str)
    if len(document) <= MAX_ITEM_BYTES and not _has_nul(document):
        return document
    return orjson.dumps({**seen, "mine": None, "base": None, "theirs": None})


def _only(fields: Fields, names: set[str]) -> Fields:
    return {name: value for name, value in fields.items() if name in names}


def _place(attempt: Attempt, item: Item, answer: Answer) -> Place:
    """The row that an item is about. If the batch has not loaded it, the write finds it."""
    if answer.row is not None:
        return _place_of(answer.row)
    if item.handler is None:
        return NOWHERE
    entity = entity_of(item.handler.target.model).name
    root = item.keys.target or item.keys.parent
    if root is None:
        return _only_of(entity)
    row = attempt.rows.find(root)
    if row is not None:
        place = _place_of(row)
        return place if root is item.keys.target else Place(entity, inspection_id=place.inspection_id)
    entity_id = str(root.key) if root is item.keys.target and not root.is_client_id else None
    return Place(entity, entity_id, root=root if hasattr(root.model, "inspection_id") else None)


@lru_cache(maxsize=128)
def _only_of(entity: str) -> Place:
    """The place of an item of which no more is known: many may have the same."""
    return Place(entity)


def _place_of(row: Any) -> Place:
    return Place(entity_of(row).name, str(row.id), getattr(row, "inspection_id", None))


@lru_cache(maxsize=128)
def _rule(models: frozenset[type]) -> Rule:
    """The rule of the write. `models`: those of the rows by which inspections are looked up."""
    return Rule(
        extra=EXTRA,
        beside=KEPT,
        values=(
            ("inspection_id", _inspection_id(models)),
            ("item", f"CASE WHEN {FULL} THEN NULL ELSE source.item END"),
            ("seen", f"CASE WHEN {FULL} THEN NULL ELSE source.seen END"),
            ("item_bytes", f"CASE WHEN {FULL} THEN 0 ELSE source.item_bytes END"),
            ("is_cut", f"(source.is_cut OR {FULL})"),
        ),
        updates=UPDATES,
        condition=CONDITION,
    )


def _inspection_id(models: frozenset[type]) -> str:
    """The inspection of a row, found by the row that the item names."""
    found = "".join(f" WHEN '{entity_of(model).name}' THEN {_root_of(model)}" for model in sorted(models, key=str))
    if not found:
        return "source.inspection_id"
    return f"coalesce(source.inspection_id, CASE source.root_entity{found} END)"


def _root_of(model: type) -> str:
    """The inspection of the row that is named by id or client_id."""
    table = table_of(model)
    key = next(iter(table.primary_key.columns))
    column = quoted("id" if model is Inspection else "inspection_id")
    type_ = "text" if key.type.python_type is str else "bigint"
    by_id = f"{quoted(key.name)} = CAST(source.root_id AS {type_})"
    names = [by_id, *(["client_id = source.root_client_id"] if "client_id" in table.c else [])]
    rows = [f"(SELECT {column} FROM {quoted(table.name)} AS root WHERE root.{name})" for name in names]
    return f"coalesce({', '.join(rows)})" if len(rows) > 1 else rows[0]
