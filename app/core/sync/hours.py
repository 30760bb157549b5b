"""What devices sent in an hour, counted with each batch, so that a month can be drawn without reading the ledger."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import delete

from app.clock import now
from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import Write
from app.core.ledger.unit import unit_of_work
from app.core.sync.answers import Answer
from app.core.sync.items import Item
from app.models import DELAYS, SyncHour

#: How long counts are kept. Pages show 30 days.
KEPT = timedelta(days=35)

#: The codes of refusals that are counted by themselves; plugins have others.
CODES = frozenset({"forbidden", "invalid", "not_found", "invalid_type", "handler_failed"})

#: The columns of an hour's counts.
COUNTS = (
    *("batches", "applied", "replayed", "conflicts", *sorted(CODES), "refused_otherwise"),
    *(f"delay_{number}" for number in range(1, len(DELAYS) + 2)),
)


def hour_counts(items: Iterable[Item], answers: Iterable[Answer], moment: datetime, unit_id: str) -> Write:
    """Adds a batch to the counts of its hour.

    Batches that end at once add to different rows, because the second would wait until the first is durable: an hour
    has sixteen rows, after the first digit of the unit's id.
    """
    counted = Counter(
        name for item, answer in zip(items, answers, strict=True) for name in _counts_of(item, answer, moment)
    )
    hour = moment.replace(minute=0, second=0, microsecond=0)
    key = f"{hour:%Y-%m-%dT%H}/{unit_id[0]}"
    row = {"id": key, "hour": hour, **dict.fromkeys(COUNTS, 0), **counted, "batches": 1}
    return Write(kind="add", table=table_of(SyncHour), names=tuple(row), rows=[row])


def remove_old_hours() -> int:
    """Remove the counts of hours before `KEPT`; returns how many rows went."""

    def work(_unit_id: str) -> int:
        statement = delete(SyncHour).where(SyncHour.hour < now() - KEPT)
        result = db.session.execute(statement, execution_options={"synchronize_session": False})
        count: int = result.rowcount  # type: ignore[attr-defined]
        return count

    return unit_of_work(work)


def _counts_of(item: Item, answer: Answer, moment: datetime) -> Iterator[str]:
    """The columns that count this item."""
    if answer.group == "conflicts":
        yield "conflicts"
    elif answer.group == "errors":
        code = answer.entry["code"]
        yield code if code in CODES else "refused_otherwise"
    elif "replayed" in answer.entry:
        yield "replayed"
    else:
        yield "applied"
        if item.made_at is not None:
            yield f"delay_{1 + bisect_left(DELAYS, (moment - item.made_at).total_seconds())}"
