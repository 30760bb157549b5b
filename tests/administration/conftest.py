"""A technician's form fill, and the phone that changes it."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app.models import FormFill, Inspection, User
from tests.conftest import SignIn, World

DEVICE_ID = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0, "b": 0})


@pytest.fixture
def phone(sign_in: SignIn, tech: User) -> FlaskClient:
    """The technician, on a phone that has named itself."""
    return sign_in(tech, DEVICE_ID)
