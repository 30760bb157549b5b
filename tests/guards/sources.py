"""The project's own files, read as syntax trees by the guards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@cache
def modules(package: str) -> dict[str, ast.Module]:
    """Every module of a package: dotted name -> syntax tree."""
    return {name_of(path): ast.parse(path.read_text()) for path in sorted((ROOT / package).rglob("*.py"))}


def name_of(path: Path) -> str:
    """`app/core/sync/__init__.py` -> `app.core.sync`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.Module, known: frozenset[str]) -> set[str]:
    """The modules that a module imports when it runs, in functions too; not those for type checkers alone.

    `from app import web` means `app.web` where that is one of the `known` modules, else `app`.
    """
    found: set[str] = set()
    for node in _running(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}: spell it out"
            source = node.module or ""
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= names & known or {source}
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _running(child)


def texts_of(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every string in the code, docstrings and the like left out."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node
