"""Who may import whom: the floors of docs/architecture.md, and what a plugin may use."""

from __future__ import annotations

import ast
from functools import cache
from importlib.metadata import entry_points

from app.models import Inspection
from tests.guards.sources import imports_of, modules, texts_of

#: From the ground up. Imports go down, or stay on the floor. The longest prefix of a module's name counts.
FLOORS = [
    {
        "app.errors",
        "app.config",
        "app.clock",
        "app.core.done",
        "app.core.environment_file",
        "app.core.private_files",
        "app.core.settings",
        "app.core.values",
        "app.http.deadlines",
        "app.http.json_provider",
        "app.http.json_text",
        "app.http.numbers",
        "app.http.request_ids",
        "app.http.requests",
        "app.openapi",
    },
    {"app.plugin_api", "app.core.database", "app.http.body", "app.http.headers", "app.http.logs", "app.http.metrics"},
    {"app.models", "app.core.host", "app.attachments.storage"},
    {"app.policies", "app.core.ledger"},
    {"app.web", "app.accounts", "app.http.cors", "app.http.errors"},
    {"app.administration", "app.core.sync", "app.feed", "app.attachments", "app.pages"},
    {"app.api", "app.cli", "app.testing", "app.openapi.document", "app.openapi.routes"},
    {"app", "app.moving", "app.serving"},
]

#: Packages that hold nothing but other packages: they import nothing.
SHELVES = {"app.core", "app.http"}

#: What a plugin may use everywhere, what only its routes and its upkeep may, and what only its pages may.
FOR_PLUGINS = ("app.plugin_api", "app.errors", "app.models", "app.policies", "app.clock", "app.attachments")
FOR_ROUTES = (*FOR_PLUGINS, "app.web")
FOR_PAGES = (*FOR_ROUTES, "app.pages", "app.administration")


@cache
def plugins() -> dict[str, ast.Module]:
    """Those that ship, and the distributions of optional ones; their tests are no part of them."""
    return {name: tree for name, tree in modules("plugins").items() if "tests" not in name.split(".")}


@cache
def ours() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    trees = modules("app") | plugins()
    known = frozenset(trees)
    return {
        module: {name for name in imports_of(tree, known) if name.split(".")[0] in ("app", "plugins")}
        for module, tree in trees.items()
    }


def floor_of(module: str) -> int | None:
    """The floor on which a module stands; None: nobody has said."""
    floors = {unit: number for number, units in enumerate(FLOORS) for unit in units}
    parts = module.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 1, -1)] or [module]
    return next((floors[prefix] for prefix in prefixes if prefix in floors), None)


def stands_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def allowed_to(module: str) -> tuple[str, ...]:
    """What a module of a plugin may use."""
    parts = set(module.split("."))
    if "pages" in parts:
        return FOR_PAGES
    return FOR_ROUTES if {"routes", "upkeep"} & parts else FOR_PLUGINS


def test_every_module_of_the_core_has_a_floor() -> None:
    homeless = [module for module in modules("app") if floor_of(module) is None and module not in SHELVES]
    assert homeless == [], "say in FLOORS, and in docs/architecture.md, on which floor it stands"


def test_imports_go_down_only() -> None:
    above = {}
    for module in modules("app"):
        own = floor_of(module)
        # A package that holds other packages imports nothing of ours.
        above[module] = {imported for imported in ours()[module] if own is None or (floor_of(imported) or 0) > own}
    assert _violations(above) == {}, "these modules import modules of a floor above their own"


def test_the_core_never_imports_plugins() -> None:
    imported = {module: {name for name in ours()[module] if name.startswith("plugins")} for module in modules("app")}
    assert _violations(imported) == {}


def test_no_module_imports_itself_through_others() -> None:
    remaining = {module: imported & ours().keys() for module, imported in ours().items()}
    while free := {module for module, needs in remaining.items() if not needs & set(remaining) - {module}}:
        remaining = {module: needs for module, needs in remaining.items() if module not in free}
    assert not remaining, f"these import each other: {sorted(remaining)}"


def test_a_plugin_imports_only_what_plugins_may() -> None:
    others = {}
    for module in plugins():
        own = ".".join(module.split(".")[:2])
        others[module] = {name for name in ours()[module] if not stands_in(name, (*allowed_to(module), own))}
    assert _violations(others) == {}, "no plugin imports another, nor more of the core than rule 2 names"


def test_the_contract_for_plugins_imports_nothing_of_ours_but_the_errors() -> None:
    assert ours()["app.plugin_api"] == {"app.errors"}


def test_the_core_names_no_operation_type() -> None:
    handlers = [each.load() for each in entry_points(group="fieldpost.sync_handlers") if each.value.startswith("plug")]
    names = {name for handler in handlers for name in (handler.type, *handler.aliases)}
    # Two of the types are called as the entity that they change, which the core does know.
    entities = {mapper.class_.__entity__.name for mapper in Inspection.registry.mappers if _is_entity(mapper.class_)}
    assert names >= {"form_fill", "form_fill_update", "inspection", "photo_delete", "signature_delete"}
    for module, tree in modules("app").items():
        for text in texts_of(tree):
            assert text.value not in names - entities, f"{module}, line {text.lineno}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare | ast.MatchValue):
                compared = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                assert not compared & names, f"{module}, line {node.lineno}: no decision hangs on a type"


def _violations(imported: dict[str, set[str]]) -> dict[str, list[str]]:
    """Module -> the modules that it imports and may not, of the modules that do."""
    return {module: sorted(names) for module, names in imported.items() if names}


def _is_entity(model: type) -> bool:
    return hasattr(model, "__entity__")
