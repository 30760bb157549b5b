"""Icons of Bootstrap, drawn inside the page: each takes the colour of its text, and no file is fetched for it."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from markupsafe import Markup


def bootstrap_directory() -> Path:
    """The directory of Bootstrap 5 in the package Bootstrap-Flask, whose code is not needed for it."""
    spec = find_spec("flask_bootstrap")
    assert spec is not None, "setup.cfg names it"
    assert spec.origin is not None, "it is a package with code"
    return Path(spec.origin).parent / "static" / "bootstrap5"


@cache
def icon(name: str) -> Markup:
    """The icon with this name of Bootstrap's set, for the eye alone: a word must stand beside it.

    Raises `LookupError` if the set has none of this name.
    """
    sprite = (bootstrap_directory() / "icons" / "bootstrap-icons.svg").read_text()
    symbol = re.search(rf'<symbol [^>]*\bid="{re.escape(name)}">(.*?)</symbol>', sprite)
    if symbol is None:
        raise LookupError(f"Bootstrap has no icon {name!r}")
    drawing = f'<svg class="fp-icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{symbol[1]}</svg>'
    return Markup(drawing)
