"""The work of administrators and the office, called alike by REST, pages and the command line (contract, section 8).

Every function that writes asks for the right by itself, in the transaction that writes. Pages of plugins import these
names from here.
"""

from app.accounts.administrators import require_admin
from app.accounts.users import add_user, change_user, serialize_account
from app.administration.among import among
from app.administration.arrivals import Arrival, arrivals_of
from app.administration.assignments import Assignment, assign_inspections
from app.administration.audit import AUDIT_ORDER, note_export, select_audit, serialize_audit
from app.administration.changes import (
    PastChange,
    PastChanges,
    Place,
    RowName,
    changes_of,
    compare,
    label_of_type,
    rows_named,
)
from app.administration.corrections import (
    Applied,
    Conflict,
    Correction,
    Form,
    Refused,
    apply_in_office,
    form_of,
    may_correct,
)
from app.administration.devices import (
    WaitingPhotos,
    count_late_devices,
    select_devices,
    serialize_device,
    sign_out_device,
    waiting_photos,
)
from app.administration.fields import split_version
from app.administration.form_templates import add_template, read_structure, read_template, select_templates
from app.administration.inspection_list import (
    ORDERS,
    InspectionListSchema,
    inspection_conditions,
    order_of,
    select_inspections,
    select_with_least,
    sight_of,
)
from app.administration.inspections import change_inspection, create_inspection, delete_inspection
from app.administration.rescue import Rescued, read_in, read_in_bytes
from app.administration.rows import (
    ShownRow,
    ShownValue,
    inspections_with_ids,
    keys_below,
    may_have_private,
    models_shown,
    rows_below,
    rows_with_keys,
    show,
    show_row,
    title_of,
    without_private,
    words,
)
from app.administration.schemas import (
    InspectionChangeSchema,
    NewFormTemplateSchema,
    NewInspectionSchema,
    NewUserSchema,
    UserChangeSchema,
)
from app.administration.settings import effective_settings, installed_plugins, installed_types
from app.administration.sync_health import SyncHealth, sync_health
from app.models.form_labels import FIELD_TYPES, form_labels, readable

__all__ = [
    "AUDIT_ORDER",
    "FIELD_TYPES",
    "ORDERS",
    "Applied",
    "Arrival",
    "Assignment",
    "Conflict",
    "Correction",
    "Form",
    "InspectionChangeSchema",
    "InspectionListSchema",
    "NewFormTemplateSchema",
    "NewInspectionSchema",
    "NewUserSchema",
    "PastChange",
    "PastChanges",
    "Place",
    "Refused",
    "Rescued",
    "RowName",
    "ShownRow",
    "ShownValue",
    "SyncHealth",
    "UserChangeSchema",
    "WaitingPhotos",
    "add_template",
    "add_user",
    "among",
    "apply_in_office",
    "arrivals_of",
    "assign_inspections",
    "change_inspection",
    "change_user",
    "changes_of",
    "compare",
    "count_late_devices",
    "create_inspection",
    "delete_inspection",
    "effective_settings",
    "form_labels",
    "form_of",
    "inspection_conditions",
    "inspections_with_ids",
    "installed_plugins",
    "installed_types",
    "keys_below",
    "label_of_type",
    "may_correct",
    "may_have_private",
    "models_shown",
    "note_export",
    "order_of",
    "read_in",
    "read_in_bytes",
    "read_structure",
    "read_template",
    "readable",
    "require_admin",
    "rows_below",
    "rows_named",
    "rows_with_keys",
    "select_audit",
    "select_devices",
    "select_inspections",
    "select_templates",
    "select_with_least",
    "serialize_account",
    "serialize_audit",
    "serialize_device",
    "show",
    "show_row",
    "sight_of",
    "sign_out_device",
    "split_version",
    "sync_health",
    "title_of",
    "waiting_photos",
    "without_private",
    "words",
]
