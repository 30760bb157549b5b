"""How syncing goes, from counts that are written with each batch (contract, section 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from app.administration.sync_health import SyncHealth, sync_health
from app.clock import to_wire
from app.errors import ForbiddenError
from app.models import Inspection, SyncHour, User, db
from app.testing import push
from tests.conftest import SettableClock, SignIn, World

PHONE = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"

Phone = Callable[[], FlaskClient]


@pytest.fixture
def phone(sign_in: SignIn, tech: User) -> Callable[[], FlaskClient]:
    """`phone()`: the technician's app, signed in as of now."""
    return lambda: sign_in(tech, PHONE)


@pytest.fixture
def health(app: Flask, admin: User) -> Any:
    """`health(days)`: the counts, as an administrator gets them."""

    def health(days: int = 1, user: User = admin) -> SyncHealth:
        with app.test_request_context():
            g.user = user
            return sync_health(days)

    return health


def change(inspection_id: int, notes: str, **more: Any) -> dict[str, Any]:
    return {"type": "inspection", "local_id": str(uuid4()), "data": {"id": inspection_id, "notes": notes}, **more}


def test_each_outcome_is_counted_in_its_hour(
    world: World, phone: Phone, inspection: Inspection, owner: User, clock: SettableClock, health: Any
) -> None:
    first = change(inspection.id, "A")
    push(phone(), first)
    clock.forward(hours=1)
    foreign = world.inspection(owner)
    nowhere = {"type": "unheard_of", "local_id": str(uuid4()), "data": {}}
    stale = change(inspection.id, "B")
    stale["data"] |= {"updated_at": "2020-01-01T00:00:00.000Z", "resolve_strategy": "merge"}
    push(phone(), first, change(foreign.id, "C"), change(4711, "D"), nowhere, stale)
    seen = health()
    assert (seen.batches, seen.applied, seen.replayed, seen.conflicts) == (2, 1, 1, 1)
    assert seen.refused == {"forbidden": 1, "not_found": 1, "invalid_type": 1}
    assert [(step.batches, step.applied, step.refused) for step in seen.steps[-2:]] == [(1, 1, 0), (1, 0, 3)]
    assert len(seen.steps) == 24


def test_a_month_is_counted_by_day(phone: Phone, inspection: Inspection, clock: SettableClock, health: Any) -> None:
    for number in range(3):
        push(phone(), change(inspection.id, str(number)))
        clock.forward(days=1)
    steps = health(30).steps
    assert ([step.batches for step in steps[-4:]], len(steps)) == ([1, 1, 1, 0], 30)
    assert health(1).batches == 0


def test_batches_of_one_hour_add_up_whatever_rows_they_wrote_to(
    app: Flask, phone: Phone, inspection: Inspection, health: Any
) -> None:
    client = phone()
    for number in range(40):
        push(client, change(inspection.id, str(number)))
    assert health().batches == health().applied == 40
    with app.app_context():
        assert db.session.query(SyncHour).count() <= 16


def test_the_time_from_device_to_server_is_told_within_bounds(
    phone: Phone, inspection: Inspection, clock: SettableClock, health: Any
) -> None:
    made = clock()
    clock.forward(hours=3)
    for number in range(8):
        push(phone(), change(inspection.id, f"quick {number}", made_at=to_wire(clock())))
    for number in range(2):
        push(phone(), change(inspection.id, f"slow {number}", made_at=to_wire(made)))
    push(phone(), change(inspection.id, "without a time"))
    seen = health()
    assert (seen.timed, seen.median_delay, seen.long_delay) == (10, 60, 6 * 60 * 60)


def test_nothing_is_known_of_delays_where_no_operation_has_a_time(health: Any) -> None:
    assert (health().timed, health().median_delay, health().long_delay) == (0, None, None)


def test_only_administrators_see_it(health: Any, tech: User) -> None:
    with pytest.raises(ForbiddenError):
        health(1, tech)
