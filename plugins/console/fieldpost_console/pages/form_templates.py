"""*Form templates*: which there are, and each as a phone would show it. They never change (contract, section 8)."""

from __future__ import annotations

from flask import Response

from app.administration import require_admin, select_templates
from app.errors import NotFoundError
from app.models import FormTemplate, db
from app.pages import gettext, render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.form_preview import preview_of
from fieldpost_console.pages.forms import read_search
from fieldpost_console.pages.keyset import Keys, read_key_page


@blueprint.get("/form-templates")
def form_templates() -> Response:
    """The form templates, newest first; `q` is part of a name."""
    require_admin(signed_in_user())
    q = read_search()
    statement = select_templates(db.session())
    if q:
        statement = statement.where(FormTemplate.name.icontains(q, autoescape=True))
    page = read_key_page(db.session(), statement, Keys((FormTemplate.id,), is_descending=True))
    return render("console/form_templates.html", page=page, q=q)


@blueprint.get("/form-templates/<row_id:template_id>")
def form_template(template_id: int) -> Response:
    """One form template, as a phone would show it."""
    require_admin(signed_in_user())
    present = template_with(template_id)
    preview = preview_of(present.form_structure)
    return render("console/form_template.html", form_template=present, preview=preview, say=gettext)


def template_with(template_id: int) -> FormTemplate:
    """The form template with this id. Raises `NotFoundError`."""
    template = db.session.get(FormTemplate, template_id)
    if template is None:
        raise NotFoundError("Form template not found")
    return template
