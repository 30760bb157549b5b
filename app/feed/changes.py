"""The change feed's next page: a walk over everything that the user sees, then the ledger (contract, section 6).

A page names each row once, in its present state. No row comes before its parents, on any page.

The walk lists what was there and visible when it began. The feed after it may have to begin earlier, before entries
that a transaction still under way may yet add; then it tells part of the walk again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.core.ledger.state import horizon, ledger_state
from app.core.values import JsonObject
from app.feed.cursor import Cursor
from app.feed.entries import Look, RelevantEntries
from app.feed.follow import follow
from app.feed.page import PageDraft, PageRequest
from app.feed.position import check_cursor, newest_mark, snapshot_text, start_cursor
from app.feed.visibility import Visibility
from app.feed.walk import walk
from app.models import Attachment, FormFill, FormTemplate, Inspection, User
from app.models.entities import entity_of
from app.plugin_api import Model


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the feed."""

    #: In the shape of section 6: `{"entity", "op", "id", "updated_at", "record"?}`.
    changes: list[JsonObject]
    #: The beginning of the next page.
    cursor: Cursor
    has_more: bool


def feed_models(models: Sequence[Model]) -> list[Model]:
    """The models whose rows are fed, parents first: the core's, then plugins' by the name of their entity."""
    core: list[Model] = [User, FormTemplate, Inspection, FormFill, Attachment]
    others = [model for model in models if model not in core and hasattr(model, "inspection_id")]
    return core + sorted(others, key=lambda model: entity_of(model).name)


def next_page(
    session: Session,
    user: User,
    models: Sequence[Model],
    request: PageRequest,
    look: Look | None = None,
) -> Page:
    """The next page for `user`; without a cursor the first page.

    `look`: what has been read already of the ledger after the request's cursor, which then is sound. All queries must
    see the same state, so call it inside `app.core.database.transactions.snapshot`.
    Raises `ExpiredError` if the cursor cannot be continued.
    """
    limit_xid, cursor = horizon(session) if look is None else look.horizon, request.cursor
    if look is not None and cursor is not None:
        newest = look.newest
    elif cursor is None:
        # Taken before the first page is read: rows that are committed later come in the feed.
        stage, snapshot = entity_of(models[0]).name, snapshot_text(session)
        cursor = replace(start_cursor(session, user), is_walk=True, stage=stage, snapshot=snapshot)
        newest = cursor.newest
    else:
        check_cursor(session, cursor, user, ledger_state(session))
        newest = newest_mark(session)
    visibility = Visibility(
        session=session, user_id=user.id, role=user.role, counted_few=None if look is None else look.is_of_few
    )
    names = [entity_of(model).name for model in models]
    ledger = RelevantEntries(session=session, visibility=visibility, entities=names, horizon=limit_xid, look=look)
    draft = PageDraft(session=session, visibility=visibility, models=models, request=request)
    draft, cursor, has_more = _filled(draft, ledger, cursor)
    return Page(changes=draft.changes(), cursor=replace(cursor, newest=newest), has_more=has_more)


def _filled(draft: PageDraft, ledger: RelevantEntries, cursor: Cursor) -> tuple[PageDraft, Cursor, bool]:
    """The page with its rows named, the cursor after them, and whether there is more."""
    fill = walk if cursor.is_walk else follow
    following, has_more = fill(draft, ledger, cursor)
    fitting = draft.fitting()
    if fitting < len(draft.order):
        # Too much to read: the same rows again, up to the last that fits.
        draft = replace(draft, request=replace(draft.request, limit=fitting), named={}, order=[])
        following, has_more = fill(draft, ledger, cursor)
    return draft, following, has_more
