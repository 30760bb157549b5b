"""The condition that a column has one of many values: one text of a statement for any number of them."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from app.administration import among
from app.core.database.engine import db
from app.models import User
from app.testing import World, statements_of


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_rows_with_these_values_are_found(app: Flask, world: World, count: int) -> None:
    users = [world.user(f"u{number}@example.com") for number in range(6)]
    with app.app_context():
        for column, values in ((User.id, [each.id for each in users]), (User.email, [each.email for each in users])):
            wanted = set(values[:count])
            assert set(db.session.scalars(select(column).where(among(column, wanted)))) == wanted


def test_a_statement_has_one_text_for_two_values_and_for_many(app: Flask, world: World) -> None:
    with app.app_context(), statements_of(app) as statements:
        for count in (2, 60):
            db.session.scalars(select(User.id).where(among(User.id, range(count)))).all()
    queries = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(queries) == 2
    assert len({*queries}) == 1


def test_a_statement_may_have_several(app: Flask, world: World) -> None:
    one, other = world.user("one@example.com"), world.user("other@example.com")
    with app.app_context():
        ids, emails = among(User.id, [one.id, other.id]), among(User.email, [other.email, "nobody@example.com"])
        assert db.session.scalars(select(User.id).where(ids, emails)).all() == [other.id]
