"""What a device says of itself: `device` beside `sync_items`, and `POST /sync/device` (contract, section 13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from app.core.database.rows import table_of
from app.core.database.write import Write
from app.core.ledger.record import Origin
from app.core.values import MAX_INTEGER, TimestampField, Values
from app.http.body import details_of, find_unstorable
from app.models import Device
from app.models.devices import device_head

#: The longest text of a report but for its last error.
LONGEST = 255


class _Text(fields.String):
    """A text that any database can store."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        reason = find_unstorable(text)
        if reason is not None:
            raise ValidationError(reason)
        return text


def _text(longest: int = LONGEST) -> fields.String:
    return _Text(allow_none=True, validate=validate.Length(max=longest))


def _count() -> fields.Integer:
    return fields.Integer(strict=True, allow_none=True, validate=validate.Range(0, MAX_INTEGER))


class DeviceReportSchema(Schema):
    """A report. Each key is optional; sizes are in bytes. Keys that are not known are for a later server."""

    class Meta:
        unknown = EXCLUDE

    app = _text()
    app_version = _text()
    platform = _text()
    name = _text()
    waiting_items = _count()
    waiting_photos = _count()
    waiting_bytes = _count()
    oldest_waiting_at = TimestampField(allow_none=True)
    set_aside = _count()
    storage_used = _count()
    persisted = fields.Boolean(allow_none=True, truthy={True}, falsy={False})
    clock = TimestampField(allow_none=True)
    last_error = _text(500)


#: The columns that a report sets; all of them, because what a report leaves out is no longer so.
REPORTED = tuple(name for name in DeviceReportSchema._declared_fields if name != "clock")


def read_report(sent: object) -> tuple[Values | None, Mapping[str, Any]]:
    """A report as it is stored, and its faults: a bad value is left out, and fails nothing else."""
    if sent is None:
        return None, {}
    if not isinstance(sent, dict):
        return None, {"device": ["Send an object."]}
    try:
        return DeviceReportSchema().load(sent), {}
    except ValidationError as error:
        good: Values = error.valid_data if isinstance(error.valid_data, dict) else {}
        return good, details_of(error)


def report_writes(origin: Origin, report: Values, moment: datetime, *, is_batch: bool) -> Iterator[Write]:
    """Stores a report, unless the sign-in named no device: it could not be told from the user's others."""
    if origin.user_id is None or not origin.device_id:
        return
    row = {
        **device_head(origin.user_id, origin.device_id),
        "reported_at": moment,
        **({"last_batch_at": moment} if is_batch else {}),
        **{name: report.get(name) for name in REPORTED},
        "clock_offset_ms": _offset(report.get("clock"), moment),
    }
    yield Write(kind="put", table=table_of(Device), names=tuple(row), rows=[row])


def _offset(clock: datetime | None, moment: datetime) -> int | None:
    """By how many milliseconds the device's clock is ahead."""
    return None if clock is None else round((clock - moment).total_seconds() * 1000)
