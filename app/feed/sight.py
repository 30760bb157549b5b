"""Inspections that come into a user's sight or leave it: with them come, or go, the people on them and all rows below.

The rows that go are named one by one, because a device that keeps its rows in tables cannot find them by itself: those
that are still there, and those that were deleted since the device was last told of the inspection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, groupby
from operator import itemgetter
from typing import TypeAlias

from sqlalchemy import ColumnElement, inspect, select

from app.feed.cursor import Cursor, Key
from app.feed.entries import SIGHT, FeedEntry, RelevantEntries
from app.feed.page import PageDraft
from app.models import Inspection, User
from app.models.entities import entity_of
from app.models.serialize import undeleted
from app.plugin_api import Model

#: Rows of several inspections are read together, as long as they are at most so many times the limit of the page.
TOGETHER = 4

#: Model -> inspection -> ids of its rows, ascending. Models with too many rows are left out.
Below: TypeAlias = Mapping[Model, Mapping[int, Sequence[Key]]]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The inspections that the entries of a page bring into sight or take away."""

    draft: PageDraft
    #: Inspection -> position of the entry that brought it into sight last.
    gains: Mapping[int, tuple[int, int]]
    #: Inspection -> ids of its people, ascending, with those who were on it when the device was last told.
    people: Mapping[int, Sequence[int]]
    #: Inspection and model -> ids of the rows that were deleted since then, ascending.
    deleted: Mapping[tuple[int, Model], Sequence[Key]]
    #: The visible rows of inspections that come, and all rows of those that go, where they could be read together.
    coming: Below
    going: Below

    def whole(self, inspection_id: int, stage: str | None, after: Key | None) -> Iterator[tuple[Model, Key]]:
        """The people and all visible rows of an inspection, starting after (`stage`, `after`)."""
        for model, last in self._models(stage, after):
            keys = self._present(inspection_id, model, last, self.coming, self.draft.visibility.of_row(model))
            yield from ((model, key) for key in keys)

    def lost(self, inspection_id: int, stage: str | None, after: Key | None) -> Iterator[tuple[Model, Key]]:
        """The people and all rows that the device may hold of an inspection, starting after (`stage`, `after`)."""
        for model, last in self._models(stage, after):
            gone = _behind(last, self.deleted.get((inspection_id, model), ()))
            yield from ((model, key) for key in merge(self._present(inspection_id, model, last, self.going), gone))

    def _models(self, stage: str | None, after: Key | None) -> Iterator[tuple[Model, Key | None]]:
        """The models that an inspection consists of, each with the last id of it that was named."""
        for model in self.draft.models_from(stage):
            if model is User or hasattr(model, "inspection_id"):
                yield model, after if entity_of(model).name == stage else None

    def _present(
        self, inspection_id: int, model: Model, last: Key | None, known: Below, *conditions: ColumnElement[bool]
    ) -> Iterator[Key]:
        """The ids of the people on an inspection, or of its rows, that are there now."""
        if model is User:
            return iter(_behind(last, self.people.get(inspection_id, ())))
        if model in known:
            return iter(_behind(last, known[model].get(inspection_id, ())))
        rows = select(model.id).where(model.inspection_id == inspection_id, *conditions, *undeleted(model))
        return chain.from_iterable(self.draft.ids(rows, model, last))


def sight_of(draft: PageDraft, ledger: RelevantEntries, cursor: Cursor, entries: Sequence[FeedEntry]) -> Sight:
    """What `entries`, the next ones after the cursor, need to know; in a fixed number of statements."""
    own = [entry for entry in entries if entry.viewer_id == draft.visibility.user_id and entry.action in SIGHT]
    gained, lost = ({entry.inspection_id for entry in own if entry.action == action} for action in SIGHT)
    return Sight(
        draft=draft,
        gains=ledger.last_gains(cursor.mark),
        people=_people(draft, ledger, cursor, gained | lost),
        deleted=_deleted(draft, ledger, cursor, lost),
        coming=_read_together(draft, gained, only_visible=True),
        going=_read_together(draft, lost, only_visible=False),
    )


def _read_together(draft: PageDraft, inspection_ids: Collection[int], *, only_visible: bool) -> Below:
    """The rows of several inspections, in one statement a model; one inspection may have more than a page can name."""
    if len(inspection_ids) < 2:
        return {}
    rows_of: dict[Model, dict[int, Sequence[Key]]] = {}
    for model in (model for model in draft.models if hasattr(model, "inspection_id")):
        visible = [draft.visibility.of_row(model)] if only_visible else []
        below = (model.inspection_id.in_(inspection_ids), *visible, *undeleted(model))
        most = TOGETHER * draft.request.limit
        statement = select(model.inspection_id, model.id).where(*below).limit(most + 1)
        found = draft.session.execute(statement, draft.visibility.parameters).all()
        if len(found) <= most:
            grouped = groupby(sorted(found), key=itemgetter(0))
            rows_of[model] = {inspection_id: [key for _, key in rows] for inspection_id, rows in grouped}
    return rows_of


def _people(
    draft: PageDraft, ledger: RelevantEntries, cursor: Cursor, inspection_ids: Collection[int]
) -> dict[int, Sequence[int]]:
    if not inspection_ids:
        return {}
    people: dict[int, set[int]] = {inspection_id: set() for inspection_id in inspection_ids}
    named = select(Inspection.id, Inspection.owner_id, Inspection.assignee_id).where(Inspection.id.in_(inspection_ids))
    for inspection_id, *present in draft.session.execute(named):
        people[inspection_id].update(user_id for user_id in present if user_id is not None)
    for inspection_id, user_id in ledger.losers(inspection_ids, cursor):
        people[inspection_id].add(user_id)
    return {inspection_id: sorted(user_ids) for inspection_id, user_ids in people.items()}


def _deleted(
    draft: PageDraft, ledger: RelevantEntries, cursor: Cursor, inspection_ids: Collection[int]
) -> dict[tuple[int, Model], Sequence[Key]]:
    if not inspection_ids:
        return {}
    models = {entity_of(model).name: model for model in draft.models}
    deleted: dict[tuple[int, Model], list[Key]] = {}
    for inspection_id, entity, text in ledger.deleted_below(inspection_ids, cursor):
        if entity in models:
            model = models[entity]
            key: Key = inspect(model).primary_key[0].type.python_type(text)
            deleted.setdefault((inspection_id, model), []).append(key)
    return {place: sorted(keys) for place, keys in deleted.items()}


def _behind(last: Key | None, keys: Sequence[Key]) -> Sequence[Key]:
    """Those of the ascending `keys` that are greater than `last`."""
    return [key for key in keys if last is None or key > last]  # type: ignore[operator]
