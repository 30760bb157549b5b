"""A form fill that the technician and the owner change from two devices."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from app.models import FormFill, Inspection
from tests.conftest import World


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0, "b": 0})


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
