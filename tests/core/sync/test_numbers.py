"""Numbers: what is answered is what was sent, and can be sent again (contract, section 0).

They are compared by value, because the sign of a zero is not kept.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.core.values import MAX_INTEGER
from app.models import FormFill, User
from app.testing import push
from tests.conftest import World

EDGES = [-0.0, 5e-324, 1e15, 1e16, 12345678901234567.0, 1e17, 1e18, 1.8e19, 1.8446744073709552e19, 1e20, 1e300, 0.1]

NUMBERS = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def form_fill(world: World, tech: User) -> FormFill:
    return world.form_fill(world.inspection(tech), data={})


def send(device: FlaskClient, form_fill: FormFill, data: dict[str, Any]) -> dict[str, Any]:
    """The form's data, as the answer to a change has them."""
    item = {"type": "form_fill", "local_id": uuid4().hex, "data": {"id": form_fill.id, "data": data}}
    results = push(device, item)
    assert results["errors"] == results["conflicts"] == []
    answered: dict[str, Any] = results["success"][0]["data"]
    return answered


def told(device: FlaskClient, form_fill: FormFill) -> dict[str, Any]:
    """The form's data in the feed."""
    answer: Any = device.get("/api/v1/sync/changes").json
    rows = {(row["entity"], row["id"]): row["record"] for row in answer["data"]["changes"]}
    data: dict[str, Any] = rows["form_fill", form_fill.id]["data"]
    return data


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(NUMBERS, max_size=30))
@example(numbers=[*EDGES, *(-number for number in EDGES), MAX_INTEGER, -MAX_INTEGER, 0])
def test_numbers_come_back_as_sent_and_can_be_sent_again(
    device: FlaskClient, form_fill: FormFill, numbers: list[float]
) -> None:
    # In an object of its own, and deep in a list.
    data = {"n": numbers, "deep": [{"n": number} for number in numbers]}
    assert send(device, form_fill, data) == data
    fed = told(device, form_fill)
    assert fed == data
    assert all(isinstance(number, float) for number in fed["n"] if abs(number) > MAX_INTEGER)
    assert send(device, form_fill, fed) == fed
