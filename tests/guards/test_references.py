"""References by number: every section of the contract, trap and rule that is cited stands on its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.guards import test_docs
from tests.guards.sources import ROOT

DIRECTORIES = ("app", "plugins", "migrations", "tests", "benchmarks", "docs")
SINGLE_FILES = ("README.md", "Makefile", "setup.cfg", "pyproject.toml", "wsgi.py", "gunicorn.conf.py")
SUFFIXES = (".py", ".md", ".txt", ".cfg", ".toml", ".ini", ".js", ".cjs", ".mako")

#: `3`, `3.1`, and `3.1(2)`: a point of the numbered list in section 3.1.
NUMBER = r"\d+(?:\.\d+)*(?:\(\d+\))?"

#: `(contract, sections 3 and 3.2)`, `traps 3 to 8`. The sections of an RFC are not ours.
REFERENCE = re.compile(
    rf"(?P<foreign>\bRFC \d+, )?\b(?P<kind>section|trap|rule)s? "
    rf"(?P<numbers>{NUMBER}(?:(?:, and |, | and | or | to ){NUMBER})*)(?P<of>(?=,? of RFC))?",
    re.IGNORECASE,
)

#: A line break with the marks of a comment or a quotation: a reference may go on in the next line.
LINE_BREAK = re.compile(r"\s*\n[ \t]*(?:(?:#:?|//|>|\*)[ \t]+)?")


class Reference(NamedTuple):
    """One number that a file cites."""

    kind: str
    number: str


@cache
def files() -> list[Path]:
    """All files of the project that people write."""
    found = [path for each in DIRECTORIES for path in (ROOT / each).rglob("*") if path.suffix in SUFFIXES]
    kept = [path for path in found if not any(part.endswith(".egg-info") for part in path.parts)]
    return sorted(kept) + [ROOT / each for each in SINGLE_FILES]


def references(text: str) -> Iterator[Reference]:
    """The numbers that a text cites, ranges written out."""
    for match in REFERENCE.finditer(LINE_BREAK.sub(" ", text)):
        if match["foreign"] is None and match["of"] is None:
            kind = match["kind"].lower()
            yield from (Reference(kind, number) for number in _numbers(match["numbers"]))


def _numbers(text: str) -> Iterator[str]:
    for part in re.split(r", and |, | and | or ", text):
        first, _, last = part.partition(" to ")
        yield first
        if last:
            between = range(int(first) + 1, int(last)) if first.isdecimal() and last.isdecimal() else ()
            yield from (*map(str, between), last)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@cache
def sections() -> list[str]:
    """The numbered headings of the contract, and the points of the numbered lists below them."""
    found: list[str] = []
    heading = ""
    for number, point in re.findall(r"^#{2,} (\d+(?:\.\d+)*)\b|^(\d+)\. ", page("contract.md"), re.MULTILINE):
        heading = number.rstrip(".") or heading
        found.append(heading if number else f"{heading}({point})")
    return found


@cache
def traps() -> list[str]:
    """The rows of the table of traps."""
    return re.findall(r"^\| (\d+) \|", page("traps.md"), re.MULTILINE)


@cache
def rules() -> list[str]:
    """The numbered list of rules."""
    text = page("architecture.md").partition("\n## Rules\n")[2].partition("\n## ")[0]
    return re.findall(r"^(\d+)\. ", text, re.MULTILINE)


def unresolved(text: str) -> list[Reference]:
    """The references of a text that lead nowhere."""
    known = {"section": sections(), "trap": traps(), "rule": rules()}
    return [each for each in references(text) if each.number not in known[each.kind]]


def test_every_reference_leads_to_a_number_that_is_there() -> None:
    strays = {str(path.relative_to(ROOT)): unresolved(path.read_text()) for path in files()}
    assert {name: stray for name, stray in strays.items() if stray} == {}


def test_the_references_of_the_code_are_seen() -> None:
    """A pattern that finds nothing would pass the test above."""
    code = [path.read_text() for path in files() if path.suffix == ".py"]
    kinds = [each.kind for text in code for each in references(text)]
    assert (kinds.count("section") > 80, kinds.count("trap") > 25, kinds.count("rule") > 2) == (True, True, True)


def test_the_numbers_of_each_page_are_complete_and_unique() -> None:
    chapters = [each for each in sections() if each.isdecimal()]
    assert chapters == [str(number) for number in range(16)]
    assert len(set(sections())) == len(sections())
    assert traps() == [str(number) for number in range(1, len(traps()) + 1)]
    assert rules() == [str(number) for number in range(1, len(rules()) + 1)]


@pytest.mark.parametrize(
    ("kind", "wrong"), [("section", "99"), ("Section", "3.9"), ("section", "3.1(9)"), ("trap", "0"), ("rule", "77")]
)
def test_a_wrong_number_is_found_however_it_is_written(kind: str, wrong: str) -> None:
    expected = [Reference(kind.lower(), wrong)]
    for text in (
        f"(contract, {kind} {wrong}).",
        f"# As the contract says in {kind}\n    # {wrong}, and only there.",
        f"RFC 9110, {kind} 14; contract, {kind}s 1 and {wrong}",
        f"[{kind} {wrong}](contract.md)",
    ):
        assert unresolved(text) == expected, text


def test_ranges_and_sections_of_an_rfc_are_understood() -> None:
    assert [each.number for each in references("traps 3 to 6, 14 and 17")] == ["3", "4", "5", "6", "14", "17"]
    assert list(references("RFC 9110, sections 8.8 and 14; section 4 of RFC 9562")) == []


@pytest.mark.parametrize(
    "path",
    [each for each in files() if each.suffix == ".md" and each not in test_docs.PAGES],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_link_of_a_page_elsewhere_leads_somewhere(path: Path) -> None:
    test_docs.assert_links_lead_somewhere(path)
