"""An inspection with an owner and an assigned technician, who change one form fill from two devices."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from app.models import FormFill, Inspection, User
from tests.conftest import SignIn, World


@pytest.fixture
def tech(world: World) -> User:
    return world.user()


@pytest.fixture
def owner(world: World) -> User:
    return world.user("owner@example.com", "user")


@pytest.fixture
def inspection(world: World, owner: User, tech: User) -> Inspection:
    return world.inspection(owner, tech)


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0, "b": 0})


@pytest.fixture
def device(sign_in: SignIn, tech: User) -> FlaskClient:
    """The technician's."""
    return sign_in(tech)


@pytest.fixture
def other(sign_in: SignIn, owner: User) -> FlaskClient:
    """The owner's: somebody else who changes the same rows."""
    return sign_in(owner)


@pytest.fixture
def office(world: World, sign_in: SignIn) -> FlaskClient:
    """The administrator's."""
    return sign_in(world.user("office@example.com", "admin"))


def edit(form_fill: Any, version: str | None = None, *, strategy: str | None = None, **changes: Any) -> dict[str, Any]:
    """An item that sets fields of a form fill, with a `local_id` of its own."""
    data: dict[str, Any] = {"id": getattr(form_fill, "id", form_fill), "changes": changes}
    if version is not None:
        data["updated_at"] = version
    if strategy is not None:
        data["resolve_strategy"] = strategy
    return {"type": "form_fill", "local_id": str(uuid4()), "data": data}


def stored(world: World, form_fill: FormFill) -> dict[str, Any]:
    """The form fill's data as they are now."""
    found: dict[str, Any] = world.get(FormFill, form_fill.id).data
    return found
