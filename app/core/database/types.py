"""Column types that behave alike on both databases, and the arguments that every table takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, DateTime, Integer
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from app.clock import cut
from app.core.values import MAX_INTEGER, may_have_large_integer

#: Integer keys: 64 bits on PostgreSQL; SQLite gives its own 64-bit row ids only to a plain INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")

#: A JSON value; JSONB on PostgreSQL.
JSONValue = JSON().with_variant(postgresql.JSONB(), "postgresql")

#: Every table's arguments: SQLite would hand the highest deleted id out again (trap 26).
KEEP_IDS = {"sqlite_autoincrement": True}

#: The same for tables whose rows change often: PostgreSQL leaves room beside each row for its next version, and then
#: adds nothing to the table's indexes. A migration says `postgresql_with={"fillfactor": 70}`, too.
KEEP_IDS_AND_ROOM = {**KEEP_IDS, "postgresql_with": {"fillfactor": 70}}


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC with milliseconds: `timestamptz(3)` on PostgreSQL, text without a zone on SQLite.

    Refuses naive values: SQLite would store them as they are (trap 9).
    """

    impl = DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """UTC, cut to milliseconds. SQLite's text leaves out the zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A naive datetime ({value}) cannot be stored: attach its zone, usually UTC.")
        return cut(value.astimezone(UTC))

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Always aware, always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def read_jsonb(text: bytes) -> Any:
    """The value of a JSONB column.

    PostgreSQL writes 1e16 as an integer that no client could send back (contract, section 0): it is a float again.
    """
    value = orjson.loads(text)
    return _with_floats(value) if may_have_large_integer(text) else value


def _with_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_floats(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_floats(part) for part in value]
    return float(value) if isinstance(value, int) and abs(value) > MAX_INTEGER else value
