"""Where things of the core are shown: links in mails lead to pages, and only plugins know which (`Pages.places`)."""

from __future__ import annotations

from flask import current_app

from app.core.host.registry import current_registry


def path_of(subject: str, key: str) -> str:
    """The path of the page that shows this row of a subject; the front page where no plugin shows it."""
    for _, plugin in sorted(current_registry().plugins.items()):
        endpoint = None if plugin.pages is None else plugin.pages.places.get(subject)
        if endpoint is not None:
            # A page that takes no key shows all rows.
            return current_app.url_map.bind("").build(endpoint, {"key": key}, append_unknown=False)
    return "/"
