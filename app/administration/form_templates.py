"""Form templates: they are added once and never changed (contract, section 8)."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.accounts.administrators import require_still_admin
from app.administration.schemas import NewFormTemplateSchema
from app.config import current_settings
from app.core.database import database_of
from app.core.ledger.audit import note
from app.core.ledger.record import Origin, Recorder, record
from app.core.values import Values
from app.errors import BadJsonError, InvalidError
from app.http.body import find_unstorable
from app.http.json_text import parse_json
from app.models import FormFill, FormTemplate


def select_templates(session: Session) -> Select[Any]:
    """The form templates with `id`, `name`, `created_at`, and the numbers of their `fields` and `form_fills`.

    Structures stay unread.
    """
    fields = database_of(session).array_length(FormTemplate.form_structure).label("fields")
    uses = (
        select(func.count()).where(FormFill.form_template_id == FormTemplate.id).scalar_subquery().label("form_fills")
    )
    columns: list[Any] = [FormTemplate.id, FormTemplate.name, FormTemplate.created_at, fields, uses]
    return select(*columns)


def read_template(sent: Values) -> Values:
    """The values of a new form template that a page has sent, as `NewFormTemplateSchema` reads them.

    Raises `InvalidError` with the faults by field.
    """
    reason = find_unstorable(sent, depth=current_settings().max_json_depth)
    if reason is not None:
        raise InvalidError(extra={"details": {"form_structure": [reason]}})
    try:
        values: Values = NewFormTemplateSchema().load(sent)
    except ValidationError as error:
        raise InvalidError(extra={"details": error.messages_dict}) from None
    return values


def read_structure(text: str) -> Any:
    """The structure of a form that somebody has typed as JSON. Raises `InvalidError` unless it is JSON."""
    try:
        structure, _is_suspect = parse_json(text.encode(), depth=current_settings().max_json_depth)
    except BadJsonError:
        fault = "This is not valid JSON. Look for a comma, a quotation mark or a bracket that is missing."
        raise InvalidError(extra={"details": {"form_structure": [fault]}}) from None
    return structure


def add_template(origin: Origin, values: Values) -> FormTemplate:
    """Add a form template with `name` and `form_structure`. Raises `ForbiddenError`."""

    def work(recorder: Recorder) -> FormTemplate:
        require_still_admin(recorder)
        created: FormTemplate = recorder.create(FormTemplate, values)
        note("form_template_created", origin, recorder.user, ("form_template", created.id), name=created.name)
        return created

    return record("form_template_create", origin, work)
