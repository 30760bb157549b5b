"""Findings of the checks at the start, as data, and the error that lists all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import PluginError

#: A value's place in the sentences of a `Kind`.
PLACE = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Finding:
    """One thing that stops the start."""

    #: The entry point or the model, and its distribution.
    where: str
    #: A sentence without its full stop.
    what: str
    #: How to put it right: one sentence or more.
    cure: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.cure}"


@dataclass(frozen=True)
class Kind:
    """Findings that differ only in the values that stand in braces, as `str.format` reads them.

    Every finding is made from a kind. `tests/guards/test_plugins_page.py` compares all kinds with `docs/plugins.md`.
    """

    what: str
    cure: str

    def at(self, where: str, **values: object) -> Finding:
        """The finding of this kind at this place."""
        return Finding(where, self.what.format(**values), self.cure.format(**values))

    def __str__(self) -> str:
        return PLACE.sub("…", f"{self.what}. {self.cure}")


def refuse(findings: Iterable[Finding]) -> None:
    """Raise `PluginError` with all findings, if there are any."""
    lines = [f"  {number}. {finding}" for number, finding in enumerate(findings, 1)]
    if lines:
        count = "One thing about plugins is" if len(lines) == 1 else f"{len(lines)} things about plugins are"
        raise PluginError(f"{count} wrong, and the server does not start half-loaded:\n" + "\n".join(lines))
