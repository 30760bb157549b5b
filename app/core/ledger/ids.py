"""Ids for new rows, taken from the database before the rows are written: later operations of a batch may name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import uuid4

from sqlalchemy import String, text
from sqlalchemy.orm import Session

from app.core.database.rows import table_of

#: Ids for new rows of several tables.
NEXT_IDS = text(
    "SELECT wanted.name, nextval(pg_get_serial_sequence(wanted.name, 'id')) "
    "FROM unnest(CAST(:names AS text[]), CAST(:counts AS int[])) AS wanted (name, count), "
    "generate_series(1, wanted.count)"
)


class Ids:
    """The ids of the rows that one unit of work creates. `capacity`: how many are reserved at once."""

    def __init__(self, session: Session, capacity: int) -> None:
        self._session = session
        self._capacity = capacity
        self._reserved: dict[type, Iterator[int]] = {}
        #: The highest id that was given, by model; SQLite does not know of it before the row is written.
        self._last: Counter[type] = Counter()

    def reserve(self, counts: Mapping[type, int]) -> None:
        """Reserve ids for so many new rows of each model: on PostgreSQL in one statement for all models.

        SQLite runs in the process; it is asked when the first row is made.
        """
        models = {table_of(model).name: model for model in counts if not _has_text_key(model)}
        if len(models) < 2 or self._session.get_bind().dialect.name != "postgresql":
            return
        wanted = {"names": list(models), "counts": [counts[model] for model in models.values()]}
        keys: dict[type, list[int]] = {}
        for name, key in self._session.execute(NEXT_IDS, wanted):
            keys.setdefault(models[name], []).append(key)
        self._reserved |= {model: iter(sorted(numbers)) for model, numbers in keys.items()}

    def next(self, model: type) -> int | str:
        """The id of the next new row of this model; it is never given again."""
        if _has_text_key(model):
            return str(uuid4())
        key = next(self._reserved.get(model, iter(())), None)
        if key is None:
            self._reserved[model] = iter(self._more(model))
            key = next(self._reserved[model])
        self._last[model] = max(key, self._last[model])
        return key

    def _more(self, model: type) -> Sequence[int]:
        """Ids for as many rows as the unit may create, in one statement."""
        table = table_of(model).name
        if self._session.get_bind().dialect.name == "postgresql":
            statement = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :count)")
            return self._session.scalars(statement, {"table": table, "count": self._capacity}).all()
        # Inside BEGIN IMMEDIATE nobody else can take them, and inserting them moves the sequence on.
        statement = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
        first = max(self._session.scalar(statement, {"table": table}) or 0, self._last[model]) + 1
        return range(first, first + self._capacity)


def _has_text_key(model: type) -> bool:
    return isinstance(table_of(model).c.id.type, String)
