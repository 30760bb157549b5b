"""`docs/plugins.md` against the code: nothing of the plugin surface is missing from it, and its examples are real."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from prometheus_client import Counter

from app import administration, clock, errors, models, pages, plugin_api, policies, testing, web
from app.config import Settings, environment_name
from app.core.database import protocol
from app.core.database import session as restriction
from app.core.host import migrations, watch
from app.core.host.findings import Kind
from app.core.sync import isolation
from app.http import metrics
from app.plugin_api import Context, Entity, Operation, Outcome, Plugin, SyncHandler
from tests.guards.sources import ROOT, modules
from tests.support.cases import cases

TEXT = (ROOT / "docs" / "plugins.md").read_text()

#: What a section of its own describes, field by field; and what a row of a table does.
IN_SECTIONS, IN_ROWS = (SyncHandler, Entity, Plugin), (Operation, Outcome, Context)

#: Where examples come from: distributions that tests install and run.
SOURCES = [path for place in ("examples", "tests/outsider", "plugins") for path in sorted((ROOT / place).rglob("*.py"))]

#: What the tests take from the page itself, and run: `tests/outsider/test_documented.py`.
OWN = "A complete plugin"

#: The module that makes an application when it is imported.
ENTRY_POINT = "app.serving.wsgi"


def section(heading: str) -> str:
    """The text below a heading, as far as the next of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    assert f"\n{heading}\n" in TEXT, f"docs/plugins.md has no heading {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", TEXT.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def annotated(kind: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and default of each field, as the source has them."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            name = ast.unparse(node.target)
            default = "required" if node.value is None else f"default `{_default(kind, name)}`"
            yield name, ast.unparse(node.annotation), default


def _default(kind: Any, name: str) -> str:
    field = next(each for each in dataclasses.fields(kind) if each.name == name)
    if field.default is dataclasses.MISSING:
        assert field.default_factory is not dataclasses.MISSING
        return repr(field.default_factory())
    return repr(field.default)


FIELDS = [(kind, *each) for kind in IN_SECTIONS for each in annotated(kind)]


@cases(
    ("kind", "name", "annotation", "default"),
    FIELDS,
)
def test_every_field_has_a_section_with_its_type_its_default_and_an_example(
    kind: type, name: str, annotation: str, default: str
) -> None:
    text = section(f"### `{kind.__name__}.{name}`")
    assert text.lstrip().startswith(f"`{annotation}`, {default}."), "type and default are those of app/plugin_api.py"
    (example, *_) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert example.strip()
    if "Callable" in annotation or annotation == "Policy":
        assert "Called" in text, "it says when it is called"
        assert "transaction" in text or "Called like" in text, "and in which transaction"


@pytest.mark.parametrize("kind", IN_ROWS, ids=lambda each: each.__name__)
def test_every_field_of_what_apply_is_given_has_a_row_with_its_type_and_an_example(kind: type) -> None:
    sources = "\n".join(path.read_text() for path in SOURCES)
    for name, annotation, _ in annotated(kind):
        row = re.search(rf"^\| `{name}` \| `(.+?)` \| .+ \| `(.+)` \|$", TEXT, re.MULTILINE)
        assert row, name
        assert row[1].replace("\\|", "|") == annotation, name
        assert row[2] in sources, f"{name}: no test runs {row[2]}"


def test_every_method_of_the_context_has_a_row() -> None:
    sources = "\n".join(path.read_text() for path in SOURCES)
    for name, method in inspect.getmembers(Context, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = ", ".join(list(inspect.signature(method).parameters)[1:])
        row = re.search(rf"^\| `{name}\({parameters}\)` \| .+ \| `(.+)` \|$", TEXT, re.MULTILINE)
        assert row, f"{name}({parameters})"
        assert row[1] in sources, f"{name}: no test runs {row[1]}"


@cases("name", plugin_api.__all__)
def test_every_name_of_the_contract_stands_on_the_page(name: str) -> None:
    assert f"`{name}`" in section("## What to import")


def test_what_may_be_imported_is_there() -> None:
    """And all that the distributions of the tests import is on the list."""
    listed: dict[str, set[str]] = {}
    for packages, names in re.findall(r"^\| (`app[\w.`, ]*) \| (.+) \|$", section("## What to import"), re.MULTILINE):
        for package in re.findall(r"`([\w.]+)`", packages):
            listed.setdefault(package, set()).update(re.findall(r"`(\w+)[`(]", names))
    known: dict[str, Any] = {
        "app.plugin_api": plugin_api, "app.models": models, "app.policies": policies, "app.clock": clock,
        "app.web": web, "app.errors": errors, "app.testing": testing, "app.pages": pages,
        "app.administration": administration,
    }  # fmt: skip
    for package, module in known.items():
        assert [name for name in listed[package] if not hasattr(module, name)] == [], package
    for path in SOURCES:
        if "broken" in path.parts or path.is_relative_to(ROOT / "plugins") or path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "app":
                package = str(node.module)
                names = {each.name for each in node.names} - {each.removeprefix("app.") for each in listed}
                assert names <= listed[package], f"{path}: {package}"


def kinds() -> list[Kind]:
    """All kinds of findings that stop a start, from every module of the server."""
    named = [import_module(name) for name in modules("app") if not name.startswith(("app.cli.templates", ENTRY_POINT))]
    return [each for module in named for each in vars(module).values() if isinstance(each, Kind)]


def test_everything_that_can_stop_the_start_stands_on_the_page_and_nothing_else() -> None:
    shown = re.findall(r"^- (.+)$", section("### At the start"), re.MULTILINE)
    assert sorted(shown) == sorted(map(str, kinds()))


def test_every_finding_is_made_from_a_kind() -> None:
    """So that none is missing from the page: a `Finding(…)` made by hand, or a kind inside a function, would be."""
    for name, tree in modules("app").items():
        made = {id(node.value) for node in tree.body if isinstance(node, ast.Assign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Finding", "Kind"):
                assert name == "app.core.host.findings" or id(node) in made, f"{name}, line {node.lineno}"
                assert name == "app.core.host.findings" or node.func.id == "Kind", f"{name}, line {node.lineno}"


def test_every_error_that_plugins_can_cause_stands_on_the_page() -> None:
    found = {
        each.__name__
        for module in (restriction, watch, isolation, migrations, protocol)
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, BaseException) and each.__module__ == module.__name__
    }
    assert found >= {"RestrictionError", "HandlerTimeout", "DirtySessionError", "NotMigratedError"}
    assert {name for name in found if f"`{name}`" not in TEXT} == set()


def test_the_settings_and_metrics_of_handlers_stand_on_the_page() -> None:
    settings = [environment_name(each.name) for each in dataclasses.fields(Settings) if "plugin" in str(each.metadata)]
    assert settings == ["FIELDPOST_HANDLER_SECONDS"]
    counters = [each for each in vars(metrics).values() if isinstance(each, Counter) and "handler" in each._name]
    assert len(counters) >= 4
    for name in (*settings, *(f"{each._name}_total" for each in counters)):
        assert name in TEXT, name


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def test_every_example_is_taken_from_a_file_that_tests_run() -> None:
    sources = ["\n".join(_lines(each.read_text())) for each in SOURCES]
    page = TEXT.replace(section(f"## {OWN}"), "")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) > 40
    strange = [each for each in examples if not any("\n".join(_lines(each)) in source for source in sources)]
    assert strange == []
