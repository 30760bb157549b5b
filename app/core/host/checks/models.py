"""Checks of a plugin's model by itself, and beside the others."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import date, time
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, Integer, String, Table
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.types import TypeEngine

from app.core.host.checks.values import columns_by_name, function_findings, is_name
from app.core.host.findings import Finding, Kind
from app.core.host.registry import Registry, core_tables, is_core, mapped_models
from app.plugin_api import CORE_COLUMNS, Entity, recorded_columns

#: Keys that `GET /sync/status` answers itself.
STATUS_KEYS = ("user_id", "pending_inspections", "completed_inspections", "last_sync", "server_time")

#: Actions of a foreign key when the core deletes the parent; any other would stop the core after an uninstallation.
HARMLESS = ("CASCADE", "SET NULL")

#: What values of recorded columns may be in Python: the ledger and the answers have a form in JSON for each.
JSON_TYPES = (str, int, float, date, time, UUID, Enum, list, dict)

#: The longest id that the ledger keeps, in characters.
ID_LENGTH = 36

NOT_MAPPED = Kind("it is not mapped to a table", "Inherit app.models.Syncable and app.models.db.Model.")
NO_ENTITY = Kind("its __entity__ is a {type}", "State an Entity(…).")
NO_VERSIONS = Kind("its rows have no `id` and no versions", "Inherit app.models.Syncable.")
REUSED_IDS = Kind(
    "SQLite would give its ids twice, and a device's old item hit a new row",
    "Add app.models.KEEP_IDS to its __table_args__, and sqlite_autoincrement=True to its migration.",
)
BLOCKING_KEY = Kind(
    "its foreign key {columns} would keep the core from deleting rows of {table}, even once the plugin is uninstalled",
    "Say ondelete='CASCADE' or 'SET NULL', here and in the migration.",
)
NO_NAME = Kind("{name!r} cannot be an entity's name", "Use lower-case letters, digits and underscores.")
LONG_IDS = Kind("its ids are longer than the ledger keeps", "Use String(36).")
NO_COLUMNS = Kind("its entity names {names}, which are no columns", "Correct `unrecorded` or `identity`.")
NO_JSON = Kind(
    "JSON has no type for the values of {names}, which its entity records",
    "Use Float, an Integer that counts the smallest unit, or String; or name it in `unrecorded`.",
)
NO_DOCUMENT = Kind("its document {name!r} is no JSON column", "Use app.models.JSONValue.")
NO_RELATIONSHIPS = Kind("its entity loads {names}, which are no relationships", "Correct `loads`.")
NOT_PERSONAL = Kind(
    "its `personal` does not map columns to fields with their values", "docs/plugins.md shows how it is written."
)
NO_PERSON = Kind(
    "its `personal` goes by {names}, which refer to no users", "Name a column with ForeignKey('users.id', …)."
)
NO_PERSONAL_FIELDS = Kind("its `personal` empties {names}, which are no fields", "Correct it.")
NOT_EMPTIED = Kind(
    "its `personal` puts None into {names}, which cannot be null", "State the value that is to stand there."
)
NO_CONSTRAINTS = Kind("its entity has sentences for {names}, no constraints of {table}", "Correct them.")
NO_PANEL = Kind("its panel is {panel!r}", "Name a template that ends in .html, so that values in it are escaped.")
TAKEN_NAME = Kind("the entity name {name!r} is taken", "Choose another one.")
TAKEN_COUNT = Kind("`counted` is {name!r}, which is taken in the status", "Choose another one.")
NO_OWNER = Kind(
    "its table is {table!r}, which begins with no name of a plugin of its distribution (there is: {plugins})",
    "State a Plugin, and begin the table's name with the plugin's and an underscore.",
)
NO_MIGRATIONS = Kind("nothing makes its table {table!r}", "State `migrations=` in the Plugin {plugin!r}.")


def model_findings(where: str, model: type) -> Iterator[Finding]:
    """Everything that is wrong with a plugin's model."""
    table = _table(model)
    if table is None:
        yield NOT_MAPPED.at(where)
        return
    yield from _id_findings(where, table)
    yield from _reference_findings(where, table)
    entity = getattr(model, "__entity__", None)
    if entity is None:
        return
    if not isinstance(entity, Entity):
        yield NO_ENTITY.at(where, type=type(entity).__name__)
    elif not _has_versions(model, table):
        yield NO_VERSIONS.at(where)
    else:
        yield from _entity_findings(where, model, entity, table)


def table_clashes(where: str, registry: Registry, model: type) -> Iterator[Finding]:
    """Whether the model's table belongs to a plugin of its distribution that migrates it."""
    table = _table(model)
    if table is None:
        return
    distribution = registry.distribution_of(model)
    owner = registry.installed.get(registry.owner_of(table.name) or "")
    if owner is None or owner.distribution != distribution:
        own = sorted(name for name, plugin in registry.installed.items() if plugin.distribution == distribution)
        yield NO_OWNER.at(where, table=table.name, plugins=", ".join(own) or "none")
    elif owner.plugin.migrations is None:
        yield NO_MIGRATIONS.at(where, table=table.name, plugin=owner.plugin.name)


def entity_clashes(
    where: str, registry: Registry, model: type, entity: Entity, counted: dict[str, type | None]
) -> Iterator[Finding]:
    """Whether another model has the entity's name, or its key in the status.

    `counted`: key -> the model that is counted under it, None for the status's own keys; the model's is added.
    """
    other = registry.models.get(entity.name)
    is_others = other is not None and other is not model
    if is_others or (not is_core(model) and entity.name in _core_entities()):
        yield TAKEN_NAME.at(where, name=entity.name)
    if entity.counted is not None and counted.setdefault(entity.counted, model) is not model:
        yield TAKEN_COUNT.at(where, name=entity.counted)


def _core_entities() -> set[str]:
    entities = (getattr(model, "__entity__", None) for model in mapped_models() if is_core(model))
    return {entity.name for entity in entities if entity is not None}


def _has_versions(model: type, table: Table) -> bool:
    columns = columns_by_name(model)
    is_versioned = all(name in columns for name in ("id", "created_at", "updated_at"))
    return is_versioned and [column.name for column in table.primary_key.columns] == ["id"]


def _id_findings(where: str, table: Table) -> Iterator[Finding]:
    key = next(iter(table.primary_key.columns), None)
    is_counted = key is not None and isinstance(key.type, Integer) and not key.foreign_keys
    if is_counted and not table.dialect_options["sqlite"]["autoincrement"]:
        yield REUSED_IDS.at(where)


def _reference_findings(where: str, table: Table) -> Iterator[Finding]:
    core = core_tables()
    for key in table.foreign_key_constraints:
        if key.referred_table.name in core and (key.ondelete or "").upper() not in HARMLESS:
            yield BLOCKING_KEY.at(where, columns=", ".join(key.column_keys), table=key.referred_table.name)


def _entity_findings(where: str, model: type, entity: Entity, table: Table) -> Iterator[Finding]:
    if not is_name(entity.name):
        yield NO_NAME.at(where, name=entity.name)
    yield from _column_findings(where, model, entity, table)
    unknown = _missing(entity.loads, sqlalchemy_inspect(model).relationships)
    if unknown:
        yield NO_RELATIONSHIPS.at(where, names=unknown)
    unknown = _missing(sorted(entity.constraints), {str(constraint.name) for constraint in table.constraints})
    if unknown:
        yield NO_CONSTRAINTS.at(where, names=unknown, table=table.name)
    yield from _personal_findings(where, model, entity)
    yield from _hook_findings(where, entity)


def _personal_findings(where: str, model: type, entity: Entity) -> Iterator[Finding]:
    personal, columns = entity.personal, columns_by_name(model)
    if not isinstance(personal, Mapping) or not all(isinstance(values, Mapping) for values in personal.values()):
        yield NOT_PERSONAL.at(where)
        return
    strangers = [name for name in personal if not _names_user(columns.get(name))]
    if strangers:
        yield NO_PERSON.at(where, names=", ".join(strangers))
    values = {name: value for fields in personal.values() for name, value in fields.items()}
    known = columns if entity.document is None else values
    unknown = [name for name in values if name in CORE_COLUMNS or name in personal or name not in known]
    if unknown:
        yield NO_PERSONAL_FIELDS.at(where, names=", ".join(unknown))
    full = [
        name for name, value in values.items() if value is None and not getattr(columns.get(name), "nullable", True)
    ]
    if full:
        yield NOT_EMPTIED.at(where, names=", ".join(full))


def _names_user(column: Any) -> bool:
    return any(key.column.table.name == "users" for key in getattr(column, "foreign_keys", ()))


def _column_findings(where: str, model: type, entity: Entity, table: Table) -> Iterator[Finding]:
    columns, key = columns_by_name(model), table.c.id.type
    if isinstance(key, String) and not 0 < (key.length or 0) <= ID_LENGTH:
        yield LONG_IDS.at(where)
    unknown = _missing((*entity.unrecorded, *entity.identity), columns)
    if unknown:
        yield NO_COLUMNS.at(where, names=unknown)
    strange = [name for name in recorded_columns(model) if not _is_json(columns[name].type)]
    if strange:
        yield NO_JSON.at(where, names=", ".join(f"{name} ({columns[name].type!r})" for name in strange))
    if entity.document is not None and not isinstance(getattr(columns.get(entity.document), "type", None), JSON):
        yield NO_DOCUMENT.at(where, name=entity.document)


def _is_json(kind: TypeEngine[Any]) -> bool:
    """Whether a column's values can be recorded and shown. A type that does not say what they are counts as one."""
    if isinstance(kind, ARRAY):
        return _is_json(kind.item_type)
    try:
        return issubclass(kind.python_type, JSON_TYPES) or kind.python_type is object
    except NotImplementedError:
        return True


def _hook_findings(where: str, entity: Entity) -> Iterator[Finding]:
    for part, hook, arity in (
        ("record", entity.record, 1),
        ("expose", entity.expose, 2),
        ("conflict", entity.conflict, 1),
        ("title", entity.title, 1),
        ("labels", entity.labels, 1),
    ):
        if hook is not None:
            yield from function_findings(where, part, hook, arity)
    if entity.panel is not None and not _is_template(entity.panel):
        yield NO_PANEL.at(where, panel=entity.panel)


def _is_template(name: object) -> bool:
    """Whether Flask escapes the values in a template of this name."""
    return isinstance(name, str) and name.endswith(".html")


def _missing(names: Iterable[str], known: Container[str]) -> str:
    return ", ".join(name for name in names if name not in known)


def _table(model: type) -> Table | None:
    try:
        table: Table = sqlalchemy_inspect(model).local_table
    except NoInspectionAvailable:
        return None
    return table
