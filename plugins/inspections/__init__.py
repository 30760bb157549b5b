"""`inspection`: the status and the notes of an inspection (contract, section 3.3)."""

from app.models import Inspection
from app.plugin_api import SyncHandler, by_id, edit
from plugins.inspections.policy import may_change
from plugins.inspections.schema import InspectionSchema

__all__ = ["handler"]

handler = SyncHandler(
    type="inspection",
    schema=InspectionSchema,
    target=by_id(Inspection),
    policy=may_change,
    apply=edit,
    examples=(
        {
            "type": "inspection",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0004",
            "data": {"id": 1, "updated_at": "2024-03-15T10:30:00.000Z", "status": "completed", "notes": "All clear"},
        },
    ),
)
