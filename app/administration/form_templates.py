"""Form templates: they are added once and never changed (contract, section 8)."""

from __future__ import annotations

from app.accounts.administrators import require_still_admin
from app.core.ledger.record import Origin, Recorder, record
from app.core.values import Values
from app.models import FormTemplate


def add_template(origin: Origin, values: Values) -> FormTemplate:
    """Add a form template with `name` and `form_structure`. Raises `ForbiddenError`."""

    def work(recorder: Recorder) -> FormTemplate:
        require_still_admin(recorder)
        created: FormTemplate = recorder.create(FormTemplate, values)
        return created

    return record("form_template_create", origin, work)
