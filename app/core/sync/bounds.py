"""Bounds on the bytes of a batch's answer, so that a small request never gets a huge one (contract, section 3).

An entry without content is small, and stays. Content is shown while there is room for it: a row's once, and again only
as long as that comes to little. A conflict without content would be of no use: its item is answered as retryable.
"""

from __future__ import annotations

import orjson

from app.core.sync.answers import Answer, complete, rejected
from app.core.sync.items import Item
from app.errors import Rejected
from app.models.entities import Row, fields_of

#: The most bytes of an answer's entries. Beside them it has what each item sent as `type` and `local_id`, which has no
#: more bytes than a request.
MAX_ENTRY_BYTES = 24 * 1024 * 1024

#: The most bytes of rows that an answer shows more than once.
MAX_REPEATED_BYTES = 1024 * 1024


class Shown:
    """The rows whose content a batch's answer shows."""

    def __init__(self) -> None:
        self._rows: set[Row] = set()
        self._room = MAX_REPEATED_BYTES

    def may_show(self, row: Row) -> bool:
        """Whether the row's present content may be shown in one more entry, which is then counted."""
        if row not in self._rows:
            self._rows.add(row)
            return True
        if self._room > 0:
            self._room -= len(orjson.dumps(fields_of(row), default=str))
        return self._room > 0


def crowded_out(item: Item) -> Answer:
    """The entry of a conflict that the answer has no room to show. Nothing of the item was applied."""
    return rejected(
        item,
        Rejected(
            "answer_full",
            "There is a conflict, and this answer has no room left to show it",
            retryable=True,
        ),
    )


def fit(item: Item, answer: Answer, room: int) -> int:
    """Leave content out of a complete entry for which there is no room; returns the bytes of room after it."""
    if len(answer.encoded) > room:
        _leave_out(item, answer)
    return room - len(answer.encoded)


def _leave_out(item: Item, answer: Answer) -> None:
    if answer.group == "conflicts":
        crowded = crowded_out(item)
        answer.group, answer.entry = crowded.group, crowded.entry
    for key in ("data", "updated_at", "details"):
        answer.entry.pop(key, None)
    answer.row = answer.fields = answer.base = None
    complete(answer)
