"""Functions that make code, commands, addresses or secrets of the wrong things are not called anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.guards.sources import modules, texts_of

#: They make code of a text, or objects of any kind.
CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "render_template_string"}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "yaml", "xml", "lxml", "jinja2"}
#: They call servers. boto3 and the libraries of databases are called with addresses from the settings.
CALLING_MODULES = {"requests", "httpx", "aiohttp", "urllib.request", "http.client", "ftplib", "smtplib", "telnetlib"}


@cache
def trees() -> dict[str, ast.Module]:
    """The core, what ships, and what plugins start from, without the helpers for tests."""
    return {
        name: tree
        for package in ("app", "plugins", "examples")
        for name, tree in modules(package).items()
        if not name.startswith("app.testing") and ".tests." not in name
    }


@cache
def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with the dotted name of the function."""
    return [(spelled(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def spelled(node: ast.expr) -> str:
    """An expression as it is written. Nearly all functions are dotted names, which take no printer."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{spelled(node.value)}.{node.attr}"
    return ast.unparse(node)


@cache
def imported(tree: ast.AST) -> list[str]:
    """Every module that is imported, and each of its parents; names that are imported from it, too."""
    return [*_imported(tree)]


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def is_constant(node: ast.expr) -> bool:
    """Whether a pattern is written down, or is a name of a constant."""
    if isinstance(node, ast.Constant):
        return True
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).split(".")[-1].isupper()


def is_shell(called: str, call: ast.Call) -> bool:
    """Whether a call starts a command that is not a list of arguments."""
    is_list = bool(call.args) and isinstance(call.args[0], ast.List)
    return called.startswith("subprocess.") and (not is_list or any(part.arg == "shell" for part in call.keywords))


def places(found: Iterator[tuple[str, ast.expr]]) -> list[str]:
    return [f"{name}: {ast.unparse(node)}" for name, node in found]


def test_no_text_becomes_code_or_a_command() -> None:
    assert (
        places((name, call) for name, tree in trees().items() for called, call in calls(tree) if called in CODE) == []
    )
    assert [
        (name, module) for name, tree in trees().items() for module in imported(tree) if module in UNSAFE_MODULES
    ] == []
    shells = ((name, call) for name, tree in trees().items() for called, call in calls(tree) if is_shell(called, call))
    assert places(shells) == []


def test_regular_expressions_are_constants() -> None:
    functions = {
        f"re.{name}" for name in ("compile", "search", "match", "fullmatch", "sub", "split", "findall", "finditer")
    }
    found = (
        (name, call)
        for name, tree in trees().items()
        for called, call in calls(tree)
        if called in functions and not is_constant(call.args[0]) and "re.escape" not in ast.unparse(call.args[0])
    )
    # The beginnings of kinds of files, each of which is written down in that module.
    assert places(found) == ["app.attachments.storage.kinds: re.match(beginning, data[:1000], re.DOTALL)"]


def test_the_core_calls_no_address_of_others() -> None:
    # The mail server, whose address comes from the settings.
    assert [
        (name, module) for name, tree in trees().items() for module in imported(tree) if module in CALLING_MODULES
    ] == [("app.administration.mail", "smtplib")]


def test_format_strings_are_ours() -> None:
    """`text.format(…)` reads attributes of its values: the text must not come from outside."""
    found = {
        f"{name}: {ast.unparse(call.func)}"
        for name, tree in trees().items()
        for _, call in calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("format", "format_map")
        if not is_constant(call.func.value)
    }
    # The kinds of findings about plugins, each of which is written down in that module.
    assert found == {"app.core.host.findings: self.what.format", "app.core.host.findings: self.cure.format"}


@cache
def texts(tree: ast.Module) -> frozenset[object]:
    """Every string in the code."""
    return frozenset(text.value for text in texts_of(tree))


@pytest.mark.parametrize("weak", ["md5", "sha1", "random"])
def test_no_weak_hash_and_no_guessable_number(weak: str) -> None:
    # A checksum of tus against accidents on the way, which the protocol asks for.
    tolerated = ["plugins.resumable_uploads.fieldpost_resumable_uploads.protocol"] if weak == "sha1" else []
    assert [
        name for name, tree in trees().items() if weak in {module.split(".")[-1] for module in imported(tree)}
    ] == []
    assert [name for name, tree in trees().items() for called, _ in calls(tree) if called.endswith(f".{weak}")] == []
    assert [name for name, tree in trees().items() if weak in texts(tree)] == tolerated
