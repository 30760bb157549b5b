"""Rows read as columns: the same values, in the same order and under the same locks as SQLAlchemy would find them."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.dialects import postgresql

from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Lock, Read
from app.core.database.rows import adopt, row_columns
from app.core.database.transactions import begin_writing, writing
from app.core.database.types import JSONValue
from app.models import User, UTCDateTime
from tests.conftest import World


class Colour(enum.Enum):
    RED = "red"


MOMENT = dt.datetime(2024, 3, 15, 10, 30, 0, 123000, tzinfo=dt.UTC)

#: Types that a plugin's table may have, each with a value.
VALUES: dict[str, tuple[Any, Any]] = {
    "number": (sa.Numeric(10, 3), Decimal("1.500")),
    "float_number": (sa.Numeric(10, 3, asdecimal=False), 1.5),
    "double": (sa.Double(), 0.1),
    "decimal_double": (sa.Float(asdecimal=True), Decimal("0.5")),
    "truth": (sa.Boolean(), True),
    "data": (sa.LargeBinary(), b"\0\xff"),
    "name": (sa.Uuid(), UUID("6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0001")),
    "period": (sa.Interval(), dt.timedelta(days=1, seconds=2)),
    "day": (sa.Date(), dt.date(2024, 3, 15)),
    "hour": (sa.Time(), dt.time(10, 30)),
    "moment": (UTCDateTime(), MOMENT),
    "colour": (sa.Enum(Colour, native_enum=False), Colour.RED),
    "document": (JSONValue, {"a": [1, None, "é"]}),
    "no_number": (sa.Numeric(), None),
}
ARRAYS: dict[str, tuple[Any, Any]] = {
    "numbers": (postgresql.ARRAY(sa.Numeric()), [Decimal(1), None]),
    "moments": (postgresql.ARRAY(UTCDateTime()), [MOMENT]),
    "range": (postgresql.INT4RANGE(), postgresql.Range(1, 5)),
    "address": (postgresql.INET(), None),
}


@pytest.fixture
def table(app: Flask) -> sa.Table:
    """A table with a row, and a column of each type."""
    with app.app_context():
        chosen = VALUES | (ARRAYS if db.engine.dialect.name == "postgresql" else {})
        columns: list[sa.Column[Any]] = [sa.Column(name, kind) for name, (kind, _) in chosen.items()]
        found = sa.Table("types", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns)
        with writing(db.engine) as connection:
            found.create(connection)
            connection.execute(found.insert(), {"id": 1, **{name: value for name, (_, value) in chosen.items()}})
    return found


def test_every_type_is_read_as_sqlalchemy_reads_it(app: Flask, table: sa.Table) -> None:
    statement = sa.select(table).where(table.c.id == sa.bindparam("key"))
    query = Read(statement=statement, parameters={"key": 1, "unknown": 2})
    last = Read(statement=sa.select(sa.literal(7)), parameters={})
    with app.app_context():
        expected = db.session.connection().execute(statement, {"key": 1}).one()
        database_of(db.session()).read(db.session.connection(), [query, last])
    assert [[*each] for each in last.rows] == [[7]]
    assert [tuple(each) for each in query.rows] == [tuple(expected)]
    assert [*map(type, query.rows[0])] == [*map(type, expected)]


def test_a_row_that_the_session_knows_gets_the_values_that_were_found(app: Flask, world: World) -> None:
    user = world.user()
    with app.app_context():
        session = db.session()
        begin_writing(session)
        known = session.get_one(User, user.id)
        session.connection().execute(sa.update(User.__table__).values(name="Changed"))
        lock = Lock(model=User, statement=sa.select(*row_columns(User)), parameters={})
        database_of(session).read(session.connection(), [lock])
        (adopted,) = (adopt(session, User, each) for each in lock.rows)
        assert adopted is known
        assert known.name == "Changed"
        assert not session.dirty
        session.rollback()


def test_a_row_that_is_new_to_the_session_is_as_an_orm_query_would_have_loaded_it(app: Flask, world: World) -> None:
    user = world.user()
    with app.app_context():
        session = db.session()
        values = session.connection().execute(sa.select(*row_columns(User))).one()
        adopted = adopt(session, User, values)
        assert session.get(User, user.id) is adopted
        assert sa.inspect(adopted).persistent
        assert not session.dirty
        assert adopted is not None
        adopted.name = "Assigned"
        assert adopted in session.dirty
        session.rollback()
