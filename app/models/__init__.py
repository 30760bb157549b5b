"""The tables, one file a subject. Plugins import from here."""

from app.core.database.engine import db
from app.core.database.types import KEEP_IDS, BigId, JSONValue, UTCDateTime
from app.models.attachments import Attachment
from app.models.audit import ACTIONS, AuditEntry
from app.models.base import Syncable, Versioned
from app.models.devices import DELAYS, Device, SyncHour
from app.models.form_fills import FormFill
from app.models.form_templates import FormTemplate
from app.models.inspections import (
    BETWEEN_TEXTS,
    MADE_FIELDS,
    OBJECTS,
    PENDING_STATUSES,
    STATUSES,
    SYNCED_FIELDS,
    Inspection,
    InspectionTexts,
)
from app.models.ledger import LedgerEntry, LedgerOperation, LedgerState
from app.models.notices import Notice
from app.models.set_aside import SetAside
from app.models.users import ROLES, RefreshToken, SignIn, User, UserSync

__all__ = [
    "ACTIONS",
    "BETWEEN_TEXTS",
    "DELAYS",
    "KEEP_IDS",
    "MADE_FIELDS",
    "OBJECTS",
    "PENDING_STATUSES",
    "ROLES",
    "STATUSES",
    "SYNCED_FIELDS",
    "Attachment",
    "AuditEntry",
    "BigId",
    "Device",
    "FormFill",
    "FormTemplate",
    "Inspection",
    "InspectionTexts",
    "JSONValue",
    "LedgerEntry",
    "LedgerOperation",
    "LedgerState",
    "Notice",
    "RefreshToken",
    "SetAside",
    "SignIn",
    "SyncHour",
    "Syncable",
    "UTCDateTime",
    "User",
    "UserSync",
    "Versioned",
    "db",
]
