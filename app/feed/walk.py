"""The walk: everything that a user sees, table by table, for a device without a cursor (contract, section 6).

The walk lists all rows that were there and visible when it began, because the device discards the rest. Rows that are
made during the walk come in the feed after it: no row may come before its parents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from sqlalchemy import select

from app.feed.cursor import Cursor, Key
from app.feed.entries import RelevantEntries
from app.feed.page import PageDraft
from app.models.entities import entity_of
from app.models.serialize import undeleted
from app.plugin_api import Model


def walk(draft: PageDraft, ledger: RelevantEntries, cursor: Cursor) -> tuple[Cursor, bool]:
    """Name the next rows of the walk in `draft`; returns the cursor after them, and whether there is more.

    At the end of the walk the returned cursor stands in the ledger, where the walk began.
    """
    is_quiet = not ledger.has_unseen(cursor)
    for model in draft.models_from(cursor.stage):
        stage = entity_of(model).name
        after = cursor.after if stage == cursor.stage else None
        ids = _ids_now(draft, model, after) if is_quiet else _ids_at_beginning(draft, ledger, cursor, model, after)
        for key in ids:
            if not draft.name(model, key):
                return replace(cursor, stage=stage, after=after), True
            after = key
    follows = replace(cursor, is_walk=False, stage=None, after=None, snapshot=None)
    return follows, not is_quiet and ledger.after(follows.mark, 1) != []


def _ids_now(draft: PageDraft, model: Model, after: Key | None) -> Iterator[Key]:
    """The ids of visible rows: all of them were there when the walk began, if nothing has happened since."""
    statement = select(model.id).where(draft.visibility.of_table(model), *undeleted(model))
    return chain.from_iterable(draft.ids(statement, model, after))


def _ids_at_beginning(
    draft: PageDraft, ledger: RelevantEntries, cursor: Cursor, model: Model, after: Key | None
) -> Iterator[Key]:
    """The ids of rows that were there, and visible, when the walk began. The feed brings the others."""
    statement = select(model.id).where(draft.visibility.of_table(model), *undeleted(model))
    gained = ledger.gained_during(cursor)
    if gained and hasattr(model, "inspection_id"):
        statement = statement.where(model.inspection_id.not_in(gained))
    for keys in draft.ids(statement, model, after):
        new = ledger.created_during(cursor, entity_of(model).name, keys)
        yield from (key for key in keys if str(key) not in new)
