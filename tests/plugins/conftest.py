"""A technician at work on an inspection with one form fill."""

from __future__ import annotations

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
    return world.form_fill(inspection, data={"Location_row_1": "Basement", "Pressure": 5})


@pytest.fixture
def device(sign_in: SignIn, tech: User) -> FlaskClient:
    return sign_in(tech)


@pytest.fixture
def office(sign_in: SignIn, owner: User) -> FlaskClient:
    """The owner's client: somebody else who changes the same rows."""
    return sign_in(owner)
