"""`form_fill`: create a form fill below an inspection, or change one (contract, section 3.3)."""

from app.models import FormFill, FormTemplate, Inspection
from app.plugin_api import SyncHandler, by_id
from plugins.form_fills.apply import edit_form_fill
from plugins.form_fills.policy import may_change
from plugins.form_fills.schema import FormFillSchema, fields_to_set

__all__ = ["handler"]

handler = SyncHandler(
    type="form_fill",
    aliases=("form_fill_update",),
    schema=FormFillSchema,
    target=by_id(FormFill, "id", "form_fill_id", parent=by_id(Inspection, "inspection_id")),
    reads={"form_template": by_id(FormTemplate, "form_template_id", optional=True)},
    policy=may_change,
    changes=fields_to_set,
    apply=edit_form_fill,
    label="Form filled",
    examples=(
        {
            "type": "form_fill",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0001",
            "data": {
                "id": 1,
                "updated_at": "2024-03-15T10:30:00.000Z",
                "changes": {"Location_row_1": "Basement"},
                "resolve_strategy": "merge",
            },
        },
        {
            "type": "form_fill",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0002",
            "data": {
                "inspection_id": 1,
                "form_template_id": 1,
                "client_id": "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003",
                "data": {"Location_row_1": "Roof"},
            },
        },
    ),
)
