"""The filters of the list of inspections, as they stand in an address; for the list and for all that acts on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request
from marshmallow import ValidationError
from sqlalchemy import Select, func, literal_column, select, union_all

from app.administration import InspectionListSchema, among
from app.models import Attachment, FormFill, db

#: A list counts no further: the number above it becomes *more than …*.
MOST_COUNTED = 1000

#: The names of the filters.
NAMES = frozenset(InspectionListSchema().fields)


def given_filters() -> dict[str, str]:
    """The filters as the address has them, those left empty aside."""
    return {name: value for name, value in request.args.items() if value and name in NAMES}


def read_filters() -> tuple[dict[str, Any], dict[str, Any]]:
    """The filters of the request's address, and the faults of those that mean nothing, which do not count."""
    try:
        return InspectionListSchema().load(given_filters()), {}
    except ValidationError as error:
        valid = error.valid_data if isinstance(error.valid_data, dict) else {}
        return {"sort": "newest", **valid}, error.messages_dict


def count_up_to(statement: Select[Any], most: int) -> int:
    """How many rows `statement` selects; `most` + 1 stands for more than `most`."""
    few = statement.limit(most + 1).subquery()
    return db.session.scalar(select(func.count()).select_from(few)) or 0


def count_below(ids: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """How many form fills, and how many photos and signatures, there are below each of the inspections.

    Those marked as deleted do not count. One statement, if there are inspections.
    """
    counts: tuple[dict[int, int], dict[int, int]] = {}, {}
    if ids:
        photos = _count_of_each(1, Attachment, ids).where(Attachment.deleted_at.is_(None))
        for place, inspection_id, number in db.session.execute(union_all(_count_of_each(0, FormFill, ids), photos)):
            counts[place][inspection_id] = number
    return counts


def _count_of_each(place: int, model: Any, ids: Sequence[int]) -> Select[Any]:
    counted = select(literal_column(str(place)), model.inspection_id, func.count())
    return counted.where(among(model.inspection_id, ids)).group_by(model.inspection_id)
