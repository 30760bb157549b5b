"""Only two modules know which database they talk to; the others ask `app.core.database.database_of`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.guards.sources import imports_of, modules

#: One class each; and where `database_of` chooses between them by the dialect's name.
CLASSES, CHOICE = {"app.core.database.postgresql", "app.core.database.sqlite"}, "app.core.database"
#: Reads the database's address.
ADDRESSES = "app.config"

#: A string's methods that compare it.
COMPARING = {"startswith", "endswith", "removeprefix", "__eq__"}


@cache
def product() -> dict[str, ast.Module]:
    """The modules of the core and of the plugins, without their tests."""
    return modules("app") | {name: tree for name, tree in modules("plugins").items() if "tests" not in name.split(".")}


def comparisons(tree: ast.Module) -> Iterator[int]:
    """The lines in which a module asks which database it is: reads a dialect's name, or compares with one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "name" and _is_dialect(node.value):
            yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in ("get_backend_name", "get_dialect", "drivername"):
            yield node.lineno
        if isinstance(node, ast.Compare | ast.MatchValue) and _names_a_database(node):
            yield node.lineno
        if isinstance(node, ast.Call) and _is_comparing(node.func) and _names_a_database(node):
            yield node.lineno


def _is_comparing(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr in COMPARING


def _is_dialect(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name == "dialect"


def _names_a_database(node: ast.AST) -> bool:
    texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return any(re.match(r"(postgresql|sqlite)\b", text) for text in texts)


@pytest.mark.parametrize(
    "code",
    [
        "if engine.dialect.name == 'postgresql': pass",
        "kind = session.get_bind().dialect.name",
        "if kind in ('sqlite', 'mysql'): pass",
        "if url.startswith('sqlite:'): pass",
        "match kind:\n    case 'postgresql': pass",
        "is_sqlite = url.get_backend_name() in files",
    ],
)
def test_every_way_to_ask_is_noticed(code: str) -> None:
    assert list(comparisons(ast.parse(code)))


@pytest.mark.parametrize("code", ["Integer().with_variant(BigInteger(), 'sqlite')", "database_of(session).name"])
def test_other_uses_of_the_names_are_left_alone(code: str) -> None:
    assert not list(comparisons(ast.parse(code)))


def test_nobody_asks_which_database_it_is() -> None:
    exempt = {*CLASSES, CHOICE, ADDRESSES, "app.core.database.engine"}
    found = {name: lines for name, tree in product().items() if name not in exempt and (lines := [*comparisons(tree)])}
    assert not found, "give both classes in app/core/database a method instead"


def test_both_classes_are_imported_by_the_module_that_chooses_alone() -> None:
    known = frozenset(product())
    importers = {name for name, tree in product().items() if imports_of(tree, known) & CLASSES}
    assert importers == {CHOICE}
