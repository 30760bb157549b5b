"""A form fill that the technician and the owner change from two devices."""

from __future__ import annotations

import pytest

from app.models import FormFill, Inspection
from tests.conftest import World


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0, "b": 0})
