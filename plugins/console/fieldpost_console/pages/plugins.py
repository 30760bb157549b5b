"""*Plugins*: what is installed, the types of operations that devices may send, and the settings without secrets."""

from __future__ import annotations

from flask import Response

from app.administration import effective_settings, installed_plugins, installed_types, require_admin
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint


@blueprint.get("/plugins")
def plugins() -> Response:
    """Everything that is installed here, for administrators."""
    require_admin(signed_in_user())
    return render(
        "console/plugins.html",
        plugins=installed_plugins(),
        types=installed_types(),
        settings=sorted(effective_settings(), key=lambda setting: (setting.plugin or "", setting.name)),
    )
