"""Giving many inspections to a technician at once, in units of work of a bounded size (contract, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from app.accounts.administrators import require_still_admin
from app.administration.inspections import check_people, lock_people, locking
from app.core.ledger.audit import note
from app.core.ledger.record import Origin, Recorder, record
from app.errors import RequestError
from app.models import Inspection

#: Inspections in one unit of work: all of them stay locked until it ends.
CHUNK = 500


class Assignment(NamedTuple):
    """What became of many inspections that were to be given to somebody."""

    #: Those that now are, some of them perhaps were before.
    assigned: int
    #: Those that have been deleted meanwhile.
    gone: int
    #: Those that were not reached, because of `error`.
    left: int
    error: RequestError | None


def assign_inspections(origin: Origin, ids: Sequence[int], assignee_id: int | None) -> Assignment:
    """Give the inspections with these ids to a technician, or to nobody.

    Each `CHUNK` of them is one unit of work. If one fails, those before it stay assigned and the others are left. As
    long as nothing is assigned, it raises `ForbiddenError`, or `InvalidError` for an unsuitable assignee.
    """
    assigned = 0
    for start in range(0, len(ids), CHUNK):
        try:
            assigned += _assign(origin, ids[start : start + CHUNK], assignee_id)
        except RequestError as error:
            if start == 0:
                raise
            return Assignment(assigned, start - assigned, len(ids) - start, error)
    return Assignment(assigned, len(ids) - assigned, 0, None)


def _assign(origin: Origin, ids: Sequence[int], assignee_id: int | None) -> int:
    """Assign all or none of these; returns how many there still are."""
    values = {"assignee_id": assignee_id}

    def work(recorder: Recorder) -> int:
        require_still_admin(recorder)
        statement = select(Inspection).where(Inspection.id.in_(ids)).order_by(Inspection.id)
        rows = locking(recorder.session, statement)
        check_people(recorder.session, values)
        for row in rows:
            recorder.change(row, values)
        about = None if assignee_id is None else ("user", assignee_id)
        note("inspections_assigned", origin, recorder.user, about, count=len(rows))
        return len(rows)

    return record("inspection_assign", origin, work, lock_first=lock_people(origin, values))
