"""A form fill of the inspection that the technician works on."""

from __future__ import annotations

import pytest

from app.models import FormFill, Inspection
from tests.conftest import World


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"Location_row_1": "Basement", "Pressure": 5})
