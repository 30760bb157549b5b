"""`photo_delete`: delete the photos of a field, or one of them (contract, section 3.3)."""

from app.models import Attachment, FormFill
from app.plugin_api import API_VERSION, Plugin, SyncHandler, by_id, children
from plugins.photos.apply import delete_photo
from plugins.photos.policy import may_change
from plugins.photos.routes import blueprint
from plugins.photos.schema import PhotoDeleteSchema

__all__ = ["handler", "plugin"]

plugin = Plugin(name="photos", api_version=API_VERSION, blueprint=blueprint)

handler = SyncHandler(
    type="photo_delete",
    schema=PhotoDeleteSchema,
    data_keys=("data", "payload"),
    target=by_id(FormFill, "form_fill_id"),
    rows={"attachments": children(Attachment, column="form_fill_id")},
    policy=may_change,
    apply=delete_photo,
    label="Photo deleted",
    versioned=False,
    examples=(
        {
            "type": "photo_delete",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0005",
            "data": {
                "form_fill_id": 1,
                "field_name": "Riser_Photo",
                "photo_attachment_id": "4f0c2a52-1f1c-4a37-a7b6-0d1c6e2b0006",
            },
        },
    ),
)
