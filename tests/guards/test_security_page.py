"""`docs/security.md` names every requirement of OWASP ASVS 5.0, level 2, once, and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from argon2 import extract_parameters

from app.accounts.passwords import hash_password
from tests.guards.sources import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
LAST_TABLE = "## Level 3, as far as it is met"

#: Section of ASVS 5.0.0 -> the number of its requirements of levels 1 and 2. Within a section these come first.
SECTIONS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2, "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2, "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3, "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2, "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4, "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1, "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5, "14.1": 2, "14.2": 4, "14.3": 3, "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3, "17.1": 1, "17.2": 4, "17.3": 2,
}  # fmt: skip

#: All 253 of them.
REQUIREMENTS = [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]

ROW = re.compile(r"^\| (\d+\.\d+\.\d+(?:, \d+\.\d+\.\d+)*) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def ids_in(text: str) -> list[str]:
    """The requirements of all rows of the tables in a text."""
    return [name for ids, _ in ROW.findall(text) for name in ids.split(", ")]


def names_in(path: str) -> Iterator[str]:
    """`test_…` and `TestX::test_…` of a file, without running it."""
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))


def test_every_requirement_of_level_2_stands_on_the_page_once() -> None:
    assert len(REQUIREMENTS) == 253
    assert sorted(ids_in(PAGE.partition(LAST_TABLE)[0])) == sorted(REQUIREMENTS)


def test_the_last_table_has_other_requirements() -> None:
    others = ids_in(PAGE.partition(LAST_TABLE)[2])
    assert len(others) == len({*others}) >= 10
    assert {*others} & {*REQUIREMENTS} == set()


def test_every_requirement_that_is_met_names_tests() -> None:
    met = PAGE.partition("level 2: met\n")[2].partition("\n## ")[0] + PAGE.partition(LAST_TABLE)[2]
    rows = ROW.findall(met)
    assert len(rows) > 80
    assert [ids for ids, rest in rows if not TEST.search(rest)] == []


def test_every_test_that_the_page_names_exists() -> None:
    named = TEST.findall(PAGE)
    assert len(named) == PAGE.count("::test_")
    there = {path: {*names_in(path)} for path, _ in named if (ROOT / path).exists()}
    assert [f"{path}::{name}" for path, name in named if name not in there.get(path, ())] == []


def test_the_pages_where_people_look_link_it() -> None:
    for name, link in (("README.md", "docs/security.md"), ("SECURITY.md", "docs/security.md")):
        assert f"]({link})" in (ROOT / name).read_text(), name
    assert "\nsecurity\n" in (ROOT / "docs" / "index.md").read_text()


def test_passwords_are_hashed_with_the_parameters_that_the_page_names() -> None:
    found = extract_parameters(hash_password("correct horse battery staple"))
    told = f"argon2{found.type.name.lower()}: {found.memory_cost // 1024} MiB, {found.time_cost} passes, "
    assert f"{told}{found.parallelism} lane" in PAGE
