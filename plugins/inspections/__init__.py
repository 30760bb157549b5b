"""`inspection`: make an inspection, or change the status and the notes of one (contract, section 3.3)."""

from app.models import FormFill, FormTemplate, Inspection
from app.plugin_api import SyncHandler, by_id
from plugins.inspections.apply import make_or_edit
from plugins.inspections.policy import may_change
from plugins.inspections.schema import MOST_TEMPLATES, InspectionSchema, fields_to_set

__all__ = ["handler"]

handler = SyncHandler(
    type="inspection",
    schema=InspectionSchema,
    target=by_id(Inspection, is_new_root=True),
    reads={"form_templates": by_id(FormTemplate, "form_template_ids", optional=True, most=MOST_TEMPLATES)},
    makes={"form_fill_client_ids": FormFill},
    policy=may_change,
    changes=fields_to_set,
    apply=make_or_edit,
    label="Inspection changed",
    examples=(
        {
            "type": "inspection",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0004",
            "data": {"id": 1, "updated_at": "2024-03-15T10:30:00.000Z", "status": "completed", "notes": "All clear"},
        },
        {
            "type": "inspection",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0005",
            "data": {
                "client_id": "7c2e4d1f-3d0c-4c52-8a52-0d5f4e1f0004",
                "date": "2024-03-15",
                "form_template_ids": [1, 2],
                "form_fill_client_ids": [
                    "7c2e4d1f-3d0c-4c52-8a52-0d5f4e1f0005",
                    "7c2e4d1f-3d0c-4c52-8a52-0d5f4e1f0006",
                ],
                "notes": "Called in on the way",
                "property": {"address": "5 Mill Lane"},
            },
        },
    ),
)
