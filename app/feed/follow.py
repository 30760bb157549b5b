"""Following the ledger: the changes since a cursor, in the ledger's order (contract, section 6).

One entry of the ledger may bring many rows: an assignment brings an inspection with everything below it. So a cursor
may stand inside an entry, and a page never holds more rows than its limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import inspect, select

from app.feed.cursor import Cursor, Key
from app.feed.entries import FeedEntry, RelevantEntries, mark_of, position_of
from app.feed.page import Decided, PageDraft
from app.feed.sight import Sight, sight_of
from app.models import Attachment, FormFill, User
from app.models.entities import entity_of
from app.plugin_api import Model


def follow(draft: PageDraft, ledger: RelevantEntries, cursor: Cursor) -> tuple[Cursor, bool]:
    """Name the rows of the next entries in `draft`; returns the cursor after them, and whether there is more."""
    # First the rest of the entry that the cursor stands inside, if there is one; then the entries after it.
    inside = [] if cursor.stage is None else [ledger.at(cursor.mark)]
    entries = inside + ledger.after(cursor.mark, draft.request.limit + 1)
    draft.decided.update(_decided(entries))
    rows = _EntryRows(
        draft=draft,
        sight=sight_of(draft, ledger, cursor, entries),
        forms=_forms_of_attachments(draft, entries),
        people=_visible_people(draft, entries),
    )
    for entry in entries:
        # A cursor that stands inside an entry stands inside the first one; it leaves the entry below.
        stage, after = cursor.stage, cursor.after
        for model, key in rows.of(entry, stage, after):
            if not draft.name(model, key):
                # If nothing of this entry was named, the cursor stays on the entry before.
                return cursor if stage is None else replace(cursor, mark=mark_of(entry), stage=stage, after=after), True
            stage, after = entity_of(model).name, key
        cursor = replace(cursor, mark=mark_of(entry), stage=None, after=None)
    if len(entries) > draft.request.limit and ledger.after(cursor.mark, 1):
        return cursor, True
    # The device is up to date. The cursor moves to the end of the ledger, so that entries that do not concern this user
    # are not read again, and are not pruned under the cursor.
    return replace(cursor, mark=ledger.end()), False


@dataclass(frozen=True, kw_only=True)
class _EntryRows:
    """Which rows an entry of the ledger brings."""

    draft: PageDraft
    sight: Sight
    #: Attachment -> its form fill.
    forms: Mapping[str, int]
    #: Those of the users with entries of their own whom the user sees.
    people: frozenset[Key]

    def of(self, entry: FeedEntry, stage: str | None, after: Key | None) -> Iterator[tuple[Model, Key]]:
        """The rows that an entry brings, parents first, starting after (`stage`, `after`)."""
        is_covered = self._is_covered(entry)
        if entry.viewer_id is not None and entry.viewer_id != self.draft.visibility.user_id:
            # Somebody else is on the inspection from now on, or no longer.
            if not is_covered:
                yield User, entry.viewer_id
        elif entry.action == "gain" and not is_covered:
            yield from self.sight.whole(entry.inspection_id, stage, after)
        elif entry.action == "loss" and not is_covered:
            yield from self.sight.lost(entry.inspection_id, stage, after)
        # An entry that brings the inspection into sight again brings all its rows, so changes and losses before it are
        # left out. Deletions are not: the device may still hold the row from before the loss.
        elif entry.viewer_id is None and (entry.action == "delete" or not is_covered):
            yield from self._row(entry, stage)

    def _is_covered(self, entry: FeedEntry) -> bool:
        """Whether a later entry brings the whole inspection into sight."""
        return position_of(entry) < self.sight.gains.get(entry.inspection_id, position_of(entry))

    def _row(self, entry: FeedEntry, stage: str | None) -> Iterator[tuple[Model, Key]]:
        """The changed row; before an attachment the form fill whose `data` names it, unless a later entry brings it."""
        model = next(model for model in self.draft.models if entity_of(model).name == entry.entity)
        key: Key = inspect(model).primary_key[0].type.python_type(entry.entity_id)
        if model is User and key not in self.people:
            return
        if model is Attachment and stage is None and entry.entity_id in self.forms and not self._is_covered(entry):
            yield FormFill, self.forms[entry.entity_id]
        yield model, key


def _decided(entries: Sequence[FeedEntry]) -> Iterator[tuple[Decided, int]]:
    """The changes among the entries that the office has decided, with who it was."""
    for entry in entries:
        if entry.decided_by is not None and entry.viewer_id is None:
            version = None if entry.action == "delete" else entry.version_after
            yield (entry.entity, entry.entity_id, version), entry.decided_by


def _forms_of_attachments(draft: PageDraft, entries: Sequence[FeedEntry]) -> dict[str, int]:
    """Attachment id -> its form fill, which is delivered with it."""
    ids = {entry.entity_id for entry in entries if entry.entity == entity_of(Attachment).name}
    if not ids:
        return {}
    statement = select(Attachment.id, Attachment.form_fill_id).where(Attachment.id.in_(ids))
    return dict(draft.session.execute(statement).all())


def _visible_people(draft: PageDraft, entries: Sequence[FeedEntry]) -> frozenset[Key]:
    """The users about whom there are entries, and who appear on what the user sees."""
    ids = {int(entry.entity_id) for entry in entries if entry.entity == entity_of(User).name}
    if not ids:
        return frozenset()
    statement = select(User.id).where(User.id.in_(ids), draft.visibility.of_row(User))
    return frozenset(draft.session.scalars(statement, draft.visibility.parameters))
