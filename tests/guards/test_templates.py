"""Templates of pages: nothing that somebody has typed is ever taken for markup."""

from __future__ import annotations

import re

from tests.guards.sources import ROOT

TEMPLATES = sorted(
    path for place in ("app", "plugins", "examples") for path in (ROOT / place).rglob("templates/**/*.html")
)

#: Texts of plugins' own code, which their authors state.
STATED = {"link.label"}


def test_only_texts_of_our_own_are_translated_in_templates() -> None:
    """`_` of Jinja returns markup: a text of anybody's would come through unescaped."""
    assert len(TEMPLATES) > 10
    for path in TEMPLATES:
        for argument in re.findall(r"(?<![\w.])(?:_|gettext|ngettext)\(\s*([^),]*)", path.read_text()):
            assert argument.startswith(('"', "'")) or argument in STATED, f"{path}: _({argument}) is not escaped"


def test_no_template_marks_a_value_as_safe() -> None:
    for path in TEMPLATES:
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text()), path
