"""Ids for new rows, taken from the database before the rows are written: later operations of a batch may name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import uuid4

from sqlalchemy import String
from sqlalchemy.orm import Session

from app.core.database import database_of
from app.core.database.rows import table_of
from app.core.database.session import unrestricted


class Ids:
    """The ids of the rows that one unit of work creates. `capacity`: how many are reserved at once."""

    def __init__(self, session: Session, capacity: int) -> None:
        self._session = session
        self._capacity = capacity
        self._reserved: dict[type, Iterator[int]] = {}
        #: How many ids to reserve next, by model.
        self._expected: dict[type, int] = {}
        #: The highest id that was given, by model; SQLite does not know of it before the row is written.
        self._last: Counter[type] = Counter()

    def reserve(self, counts: Mapping[type, int]) -> None:
        """Reserve ids for so many new rows of each model, in one statement. A single model waits for its first row."""
        self._expected = {model: count for model, count in counts.items() if not _has_text_key(model)}
        if len(self._expected) > 1:
            self._reserve(self._expected)

    def next(self, model: type) -> int | str:
        """The id of the next new row of this model; it is never given again."""
        if _has_text_key(model):
            return str(uuid4())
        key = next(self._reserved.get(model, iter(())), None)
        if key is None:
            self._reserve({model: self._expected.get(model, self._capacity)})
            key = next(self._reserved[model])
        self._last[model] = max(key, self._last[model])
        return key

    def _reserve(self, counts: Mapping[type, int]) -> None:
        """Take ids for so many rows of each model from the database."""
        models = {table_of(model).name: model for model in counts}
        wanted = {name: counts[model] for name, model in models.items()}
        taken = {name: self._last[model] for name, model in models.items()}
        with unrestricted():
            reserved = database_of(self._session).reserve(self._session, wanted, taken)
        self._reserved |= {models[name]: iter(keys) for name, keys in reserved.items()}
        # An operation may make many rows: few statements for them, however many they are.
        self._expected = {**self._expected, **{model: 2 * count for model, count in counts.items()}}


def _has_text_key(model: type) -> bool:
    return isinstance(table_of(model).c.id.type, String)
