"""Lists are read from indexes, whatever they filter by. PostgreSQL would read tables as small as these as a whole."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.core.database.engine import db
from app.testing import statements_of

pytestmark = pytest.mark.database("sqlite")


def plan_of(app: Flask, client: FlaskClient, address: str, table: str) -> list[str]:
    """The steps in which SQLite runs the statement of a list that reads this table."""
    with statements_of(app) as statements:
        answer = client.get(f"/api/v1/{address}")
    assert answer.status_code == 200, answer.text
    statement = next(statement for statement in statements if f"FROM {table}" in statement)
    with app.app_context(), db.engine.connect() as connection:
        parameters = (None,) * statement.count("?")
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [step[-1] for step in plan]


@pytest.mark.parametrize(
    ("query", "indexes", "column"),
    [
        ("type=unknown", ["waiting"], "type"),
        ("outcome=conflict&type=unknown", ["waiting_code"], "type"),
        ("code=forbidden&type=unknown", ["waiting_code"], "type"),
        ("state=all&type=unknown", ["settled", "waiting"], "type"),
        ("state=decided", ["settled"], "decision"),
        ("state=superseded", ["settled", "waiting"], "id"),
        ("group=cause&outcome=conflict", ["waiting_code"], "id"),
    ],
)
def test_items_are_read_in_the_order_of_an_index_that_has_what_they_are_filtered_by(
    app: Flask, office: FlaskClient, query: str, indexes: list[str], column: str
) -> None:
    steps = plan_of(app, office, f"set_aside?{query}", "set_aside")
    assert "SCAN set_aside" not in steps
    for name in (f"ix_set_aside_{index}" for index in indexes):
        assert any(name in step.split() for step in steps), steps
        with app.app_context(), db.engine.connect() as connection:
            columns = [row.name for row in connection.exec_driver_sql(f"PRAGMA index_info({name})")]
        assert column in columns[columns.index("id") :]


def test_a_list_by_form_template_looks_each_inspection_up(app: Flask, office: FlaskClient) -> None:
    steps = plan_of(app, office, "inspections?template_id=1", "form_fills")
    assert any("(form_template_id=? AND inspection_id=?)" in step for step in steps), steps


def test_inspections_with_one_status_are_read_in_the_order_of_their_ids(app: Flask, office: FlaskClient) -> None:
    steps = plan_of(app, office, "inspections?status=completed", "inspections")
    assert any("ix_inspections_status_id" in step.split() for step in steps), steps
    assert not any("ORDER BY" in step for step in steps), steps


@pytest.mark.parametrize("query", ["", "code=forbidden&type=unknown", "group=cause&code=forbidden", "state=decided"])
def test_items_of_few_inspections_are_looked_up_by_each_of_them(app: Flask, phone: FlaskClient, query: str) -> None:
    steps = plan_of(app, phone, f"set_aside?{query}", "set_aside")
    used = {step.split(" INDEX ")[1].split()[0] for step in steps if "set_aside USING INDEX" in step}
    assert used == {"ix_set_aside_inspection_id"}, steps
