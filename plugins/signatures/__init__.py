"""`signature_delete`: delete the signature of a field (contract, section 3.3)."""

from app.models import Attachment, FormFill
from app.plugin_api import API_VERSION, Plugin, SyncHandler, by_id, children
from plugins.signatures.apply import delete_signature
from plugins.signatures.policy import may_change
from plugins.signatures.routes import blueprint
from plugins.signatures.schema import SignatureDeleteSchema

__all__ = ["handler", "plugin"]

plugin = Plugin(name="signatures", api_version=API_VERSION, blueprint=blueprint)

handler = SyncHandler(
    type="signature_delete",
    schema=SignatureDeleteSchema,
    data_keys=("data", "payload"),
    target=by_id(FormFill, "form_fill_id"),
    rows={"attachments": children(Attachment, column="form_fill_id")},
    policy=may_change,
    apply=delete_signature,
    label="Signature deleted",
    versioned=False,
    examples=(
        {
            "type": "signature_delete",
            "local_id": "0b5c0f2e-6f0e-4a53-9f3a-0c8f0a7d0007",
            "data": {
                "form_fill_id": 1,
                "field_name": "Signature",
                "signature_attachment_id": "4f0c2a52-1f1c-4a37-a7b6-0d1c6e2b0008",
            },
        },
    ),
)
