"""What travels to PostgreSQL in one message: it may have any size, and fails as a whole."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import Text, bindparam, func, literal, select
from sqlalchemy.exc import DBAPIError

from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.database.transactions import writing

TEXT = select(func.concat(bindparam("text", type_=Text), literal("!")))


@pytest.mark.database("postgresql")
def test_a_message_may_be_larger_than_what_the_kernel_takes_at_once(app: Flask) -> None:
    reads = [Read(statement=TEXT, parameters={"text": letter * 4_000_000}) for letter in "abc"]
    with app.app_context(), db.engine.connect() as connection:
        database_of(connection).read(connection, reads)
    assert [len(read.rows[0][0]) for read in reads] == [4_000_001] * 3


@pytest.mark.database("postgresql")
def test_after_a_message_that_has_failed_the_connection_serves_the_next_one(app: Flask) -> None:
    wrong = Read(statement=select(1 / (literal(1) - bindparam("one"))), parameters={"one": 1})
    right = [Read(statement=TEXT, parameters={"text": "a"}) for _ in range(2)]
    with app.app_context():
        for _ in range(8):
            with pytest.raises(DBAPIError, match="division by zero"), writing(db.engine) as connection:
                database_of(connection).read(connection, [right[0], wrong, right[1]])
            with writing(db.engine) as connection:
                database_of(connection).read(connection, right)
            assert right[1].rows[0][0] == "a!"
