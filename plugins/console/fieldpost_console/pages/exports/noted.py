"""Every file that is taken out is noted in the audit log, with the filters of its list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.administration import note_export
from fieldpost_console.pages.private import asks_for_private


def note_file(name: str, filters: Mapping[str, Any]) -> None:
    """Note that the signed-in user takes this file, and whether they have asked for private values."""
    note_export(name, {**filters, **({"private": "1"} if asks_for_private() else {})})
