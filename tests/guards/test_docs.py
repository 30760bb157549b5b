"""What the documents promise about the code, and the code about itself."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from pathlib import Path

import pytest
from flask import Flask

import app.plugin_api
from app.config import API_PREFIX, Settings, environment_name
from tests.guards.sources import ROOT, modules
from tests.guards.test_imports import FLOORS
from tests.support.cases import cases

OPERATING = ROOT / "docs" / "operating.md"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])

#: A row of the table of settings: | `NAME` | default | meaning |
ROW = re.compile(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*?) \|$", re.MULTILINE)


def shown(default: object) -> str:
    """A default as the table shows it."""
    return f"`{default}`" if str(default) else "empty"


def test_every_setting_stands_in_the_documents_with_its_default_and_meaning() -> None:
    fields = [each for each in dataclasses.fields(Settings) if each.name != "unknown"]
    expected = {environment_name(each.name): (shown(each.default), each.metadata["meaning"]) for each in fields}
    found = {name: (default, meaning) for name, default, meaning in ROW.findall(OPERATING.read_text())}
    assert found == expected


@cases("name", app.plugin_api.__all__)
def test_every_name_of_the_contract_for_plugins_is_explained(name: str) -> None:
    value = getattr(app.plugin_api, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (value.__doc__ or "").strip()
        # A dataclass without a docstring gets its signature for one.
        assert not (value.__doc__ or "").startswith(f"{name}(")
    else:
        source = (ROOT / "app" / "plugin_api.py").read_text()
        assert re.search(rf"^#: .+\n{name}\b", source, re.MULTILINE), "put a `#:` comment above it"


@cases("name", ["SyncHandler", "Plugin", "Entity", "Operation", "Outcome"])
def test_every_field_of_what_an_author_writes_or_reads_has_a_comment(name: str) -> None:
    source = inspect.getsource(getattr(app.plugin_api, name))
    for each in dataclasses.fields(getattr(app.plugin_api, name)):
        assert re.search(rf"    #: .+\n(    #: .+\n)*    {each.name}: ", source), each.name


@pytest.mark.parametrize("package", ["app", "plugins", "examples", "migrations", "tests", "tools"])
def test_every_module_says_what_it_is_for(package: str) -> None:
    # The beginning is enough, and takes a hundredth of the time that all of the code would.
    beginning = re.compile(r'(#.*\n|\n)*(""".|$)')
    assert [path for path in (ROOT / package).rglob("*.py") if not beginning.match(path.read_text())] == []


@cases("page", PAGES)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert_links_lead_somewhere(page)


def assert_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text)):
        if target.startswith("http"):
            continue
        aim = (page.parent / target) if target else page
        assert aim.exists(), target
        if anchor and aim.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", aim.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, anchor


@cases("page", PAGES)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(
        r"`((?:app|plugins|examples|tests|docs|migrations|benchmarks|tools)/[\w./]*)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_every_address_stands_in_the_documents(app: Flask) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(API_PREFIX + "/"):
            continue
        # Whatever an address takes is called :id, or :name, there.
        address = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ":name" if found[1] == "name" else ":id", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            call = rf"`{method} {re.escape(address.removeprefix(API_PREFIX))}[`?]"
            assert re.search(call, text), f"{method} {address}"


def test_every_error_code_stands_in_the_documents() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    codes = {
        node.value.value
        for tree in modules("app").values()
        for each in ast.walk(tree)
        if isinstance(each, ast.ClassDef)
        for node in each.body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "code"
        and isinstance(node.value, ast.Constant)
    }
    assert codes >= {"bad_json", "stale", "try_again"}
    assert {code for code in codes if f"`{code!s}`" not in text} == set()


@cases("page", PAGES)
def test_every_json_example_is_json(page: Path) -> None:
    for text in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL):
        json.loads(text)


def test_the_floors_stand_in_the_document_as_they_are_tested() -> None:
    rows = re.findall(r"^\| (\d) \| (`.*) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    documented = {int(number): {f"app.{name}" for name in re.findall(r"`([\w.]+)`", text)} for number, text in rows}
    ground = dict(enumerate(FLOORS[:-1], start=1))
    assert {number: documented[number] for number in ground} == ground


def test_every_module_and_package_of_the_core_stands_in_the_tree() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    there = [each for each in (ROOT / "app").iterdir() if each.suffix == ".py" or (each / "__init__.py").exists()]
    names = {f"app/{each.name}" + "/" * each.is_dir() for each in there}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_pictures_of_the_pages_exist_and_are_small() -> None:
    static = ROOT / "docs" / "_static"
    named = {
        (page.parent / address).resolve()
        for page in PAGES
        for address in re.findall(r"!\[[^\]]+\]\(([^)]+\.png)\)", page.read_text())
    }
    assert {path for path in named if static in path.parents} == set(static.rglob("*.png"))
    assert sum(path.stat().st_size for path in static.rglob("*.png")) < 600_000
