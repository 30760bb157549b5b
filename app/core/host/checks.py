"""What can be wrong with a handler, a plugin or a model by itself: each fault a sentence, and what to do about it.

`app.core.host.registry` asks at every start. What only shows beside others (names taken, routes) it finds itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import click
from flask import Blueprint
from marshmallow import Schema
from sqlalchemy import JSON, Integer, String, Table
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import NoInspectionAvailable

from app.models import Inspection
from app.plugin_api import ById, Children, Entity, Plugin, SyncHandler, Target, Via

#: What an operation type, an alias or an entity may be called.
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

#: What a plugin may be called: its version table must keep within PostgreSQL's 63 characters.
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: Keys of a payload that are the core's where the type has versions.
VERSION_KEYS = frozenset({"updated_at", "resolve_strategy"})

#: What becomes of a row whose parent the core deletes: anything else would stop the core after an uninstallation.
HARMLESS = ("CASCADE", "SET NULL")

#: What a setting's default may be; its type says how the environment variable is read.
SETTING_TYPES = (str, bool, int, float)


@cache
def core_keys(handler: SyncHandler) -> frozenset[str]:
    """The keys of a payload that are the core's and never reach the schema: ids, versions, `client_id`."""
    found = set(VERSION_KEYS) if handler.versioned else set()
    if takes_client_id(handler):
        found.add("client_id")
    return frozenset(found | {key for each in _by_ids(handler) for key in each.keys})


def takes_client_id(handler: SyncHandler) -> bool:
    """Whether the payload may carry the `client_id` of a new row."""
    return handler.target.parent is not None and hasattr(handler.target.model, "client_id")


def models_of(handler: SyncHandler) -> Iterator[type]:
    """The models that a handler's targets name."""
    targets: list[Target | None] = [handler.target, *handler.rows.values(), *handler.reads.values()]
    for target in targets:
        if isinstance(target, ById | Via | Children):
            yield target.model
            if isinstance(target, ById) and target.parent is not None:
                yield target.parent.model


def faults_of_handler(handler: SyncHandler, name: str) -> Iterator[str]:
    """What is wrong with the handler that stands under the entry point `name`."""
    shape = list(_faults_of_shape(handler))
    yield from _faults_of_names(handler, name)
    yield from shape
    for what, function, arity in (
        ("policy", handler.policy, 2),
        ("apply", handler.apply, 2),
        ("changes", handler.changes, 1),
        ("upcast", handler.upcast, 1),
    ):
        if function is not None or what in ("policy", "apply"):
            yield from _faults_of_function(what, function, arity)
    if not shape:
        yield from _faults_of_targets(handler)
        yield from _faults_of_schema(handler)


def _faults_of_names(handler: SyncHandler, name: str) -> Iterator[str]:
    if handler.type != name:
        yield f"its type is {handler.type!r}. Give type and entry point the same name."
    aliases = handler.aliases if _is_texts(handler.aliases) else ()
    for each in (handler.type, *aliases):
        if not isinstance(each, str) or not NAME.fullmatch(each):
            yield f"{each!r} cannot be a type. Use lower-case letters, digits and underscores, 63 at most."
    if len({handler.type, *aliases}) <= len(aliases):
        yield f"its aliases {', '.join(aliases)} name a type twice. State each once."


def _faults_of_shape(handler: SyncHandler) -> Iterator[str]:
    """Fields that are not what the rest of the checks can look into."""
    for what, value in (("aliases", handler.aliases), ("data_keys", handler.data_keys)):
        if not _is_texts(value):
            yield f'its {what} are {value!r}. State a tuple of texts; one of one has a comma: ("data",).'
    if _is_texts(handler.data_keys) and not handler.data_keys:
        yield "its data_keys are empty, so that no payload can be sent. State at least one."
    target = handler.target
    if not isinstance(target, ById) or target.optional or (target.parent is not None and target.parent.optional):
        yield "its target is not a by_id(…) that is always there. An operation acts on one row that the payload names."
    for what, targets in (("rows", handler.rows), ("reads", handler.reads)):
        if not isinstance(targets, Mapping) or not all(
            isinstance(each, ById | Via | Children) for each in targets.values()
        ):
            yield f"its {what} are not a mapping of names to by_id(…), via(…) or children(…). State one."
    if isinstance(handler.examples, Mapping | str) or not all(isinstance(each, Mapping) for each in handler.examples):
        yield "its examples are not a sequence of items. Put them into a tuple."


def _faults_of_function(what: str, function: object, arity: int) -> Iterator[str]:
    if not callable(function) or not _takes(function, arity):
        count = f"{arity} argument" if arity == 1 else f"{arity} arguments"
        yield f"its {what} cannot be called with {count}. docs/plugins.md says what it gets."
    elif inspect.iscoroutinefunction(function):
        yield f"its {what} is a coroutine function, which nothing awaits. Write it with `def`."


def _faults_of_targets(handler: SyncHandler) -> Iterator[str]:
    shared = sorted(handler.rows.keys() & handler.reads.keys())
    if shared:
        yield f"{', '.join(shared)} stand in both rows and reads. Name each row once."
    for model in dict.fromkeys(models_of(handler)):
        if not isinstance(getattr(model, "__entity__", None), Entity):
            yield f"the model {getattr(model, '__name__', model)!r} has no `__entity__ = Entity(…)`. Give it one."
            return
    for model in dict.fromkeys(each.model for each in (handler.target, *handler.rows.values())):
        if not hasattr(model, "inspection_id") or not hasattr(model, "inspection"):
            yield f"{model.__name__} stands below no inspection, which says who may. Inherit app.models.Syncable."
    taken: dict[str, str] = {}
    for each in _by_ids(handler):
        for key in each.keys:
            if taken.setdefault(key, each.model.__name__) != each.model.__name__:
                models = f"{taken[key]} and {each.model.__name__}"
                yield f"the key {key!r} names rows of both {models}. Give each by_id(…) a key of its own."
    yield from _faults_of_columns(handler)


def _faults_of_columns(handler: SyncHandler) -> Iterator[str]:
    for name, each in {**handler.rows, **handler.reads}.items():
        if isinstance(each, Via | Children):
            model = handler.target.model if isinstance(each, Via) else each.model
            if each.column not in _columns(model):
                yield f"{name!r} goes by the column {each.column!r}, which {model.__name__} does not have. Correct it."


def _faults_of_schema(handler: SyncHandler) -> Iterator[str]:
    schema: Any = handler.schema
    if not isinstance(schema, type) or not issubclass(schema, Schema):
        yield f"its schema is {schema!r}. State a marshmallow Schema class, not an instance."
        return
    try:
        fields = schema(partial=handler.target.parent is not None).load_fields
    except Exception as error:  # a schema's own code
        yield f"making its schema raised {type(error).__name__}: {error}. Mend {schema.__name__}."
        return
    keys = {each.data_key or name for name, each in fields.items()} & core_keys(handler)
    if keys:
        yield f"its schema has {', '.join(sorted(keys))}, which the core reads. Take it out of {schema.__name__}."


def faults_of_plugin(plugin: Plugin, name: str) -> Iterator[str]:
    """What is wrong with the plugin that stands under the entry point `name`."""
    if not isinstance(plugin.name, str) or not PLUGIN_NAME.fullmatch(plugin.name) or plugin.name != name:
        yield (
            f"its name is {plugin.name!r}. Use lower-case letters, digits and underscores, 40 at most, the same as "
            "the entry point's name."
        )
    version: Any = plugin.api_version
    if not isinstance(version, int):
        yield f"its api_version is {plugin.api_version!r}. State the number that it is written for."
    parts: tuple[tuple[str, Any, type], ...] = (
        ("blueprint", plugin.blueprint, Blueprint),
        ("cli", plugin.cli, click.Group),
        ("migrations", plugin.migrations, str),
    )
    for what, value, wanted in parts:
        if value is not None and not isinstance(value, wanted):
            yield f"its {what} is a {type(value).__name__}. State a {wanted.__name__}, or nothing."
    if plugin.collect is not None:
        yield from _faults_of_function("collect", plugin.collect, 0)
    if plugin.keeps is not None:
        yield from _faults_of_function("keeps", plugin.keeps, 1)
    if not _is_texts(list(plugin.removed.values())):
        yield "its `removed` does not map types to hints. Say to whoever still sends a type what to do."
    for key, default in plugin.settings.items():
        if not NAME.fullmatch(key) or not isinstance(default, SETTING_TYPES):
            yield (
                f"its setting {key!r} = {default!r} cannot be read from the environment. Use a lower-case name, and a "
                "text, a number, True or False as the default."
            )


def faults_of_model(model: Any) -> Iterator[str]:
    """What is wrong with a plugin's model."""
    table = _table(model)
    if table is None:
        yield "it is not mapped to a table. Inherit app.models.Syncable and app.models.db.Model."
        return
    yield from _faults_of_keys(table)
    entity = getattr(model, "__entity__", None)
    if entity is None:
        return
    if not isinstance(entity, Entity):
        yield f"its __entity__ is a {type(entity).__name__}. State an Entity(…)."
        return
    missing = [name for name in ("id", "created_at", "updated_at") if name not in _columns(model)]
    if missing or [each.name for each in table.primary_key.columns] != ["id"]:
        yield "its rows have no `id` and no versions. Inherit app.models.Syncable."
        return
    yield from _faults_of_entity(model, entity, table)


def _faults_of_keys(table: Table) -> Iterator[str]:
    """Ids that would be given twice, and references that would stop the core."""
    key = next(iter(table.primary_key.columns), None)
    is_counted = key is not None and isinstance(key.type, Integer) and not key.foreign_keys
    if is_counted and not table.dialect_options["sqlite"]["autoincrement"]:
        yield (
            "SQLite would give its ids twice, and a device's old item hit a new row. Add app.models.KEEP_IDS to its "
            "__table_args__, and sqlite_autoincrement=True to its migration."
        )
    core = {each.local_table for each in Inspection.registry.mappers if each.class_.__module__.startswith("app.models")}
    for each in table.foreign_key_constraints:
        if each.referred_table in core and (each.ondelete or "").upper() not in HARMLESS:
            yield (
                f"its foreign key {', '.join(each.column_keys)} would keep the core from deleting rows of "
                f"{each.referred_table.name}, even once the plugin is uninstalled. Say ondelete='CASCADE' or "
                "'SET NULL', here and in the migration."
            )


def _faults_of_entity(model: Any, entity: Entity, table: Table) -> Iterator[str]:
    if not isinstance(entity.name, str) or not NAME.fullmatch(entity.name):
        yield f"{entity.name!r} cannot be an entity's name. Use lower-case letters, digits and underscores."
    key = table.c.id.type
    if isinstance(key, String) and not 0 < (key.length or 0) <= 36:
        yield "its ids are longer than the ledger keeps. Use String(36)."
    columns = _columns(model)
    unknown = [each for each in (*entity.fields, *entity.identity) if each not in columns]
    if unknown:
        yield f"its entity names {', '.join(unknown)}, which are no columns. Correct `fields` or `identity`."
    if entity.document is not None and not isinstance(getattr(columns.get(entity.document), "type", None), JSON):
        yield f"its document {entity.document!r} is no JSON column. Use app.models.JSONValue."
    relationships = sqlalchemy_inspect(model).relationships
    unknown = [each for each in entity.loads if each not in relationships]
    if unknown:
        yield f"its entity loads {', '.join(unknown)}, which are no relationships. Correct `loads`."
    unknown = sorted(set(entity.constraints) - {str(each.name) for each in table.constraints})
    if unknown:
        yield f"its entity has sentences for {', '.join(unknown)}, no constraints of {table.name}. Correct them."
    for what, hook, arity in (
        ("record", entity.record, 1),
        ("expose", entity.expose, 2),
        ("conflict", entity.conflict, 1),
    ):
        if hook is not None:
            yield from _faults_of_function(what, hook, arity)


def _by_ids(handler: SyncHandler) -> Iterator[ById]:
    """Everything that the payload names by id."""
    for each in (handler.target, handler.target.parent, *handler.rows.values(), *handler.reads.values()):
        if isinstance(each, ById):
            yield each


def _columns(model: Any) -> Mapping[str, Any]:
    """Attribute -> column; empty for what is not mapped."""
    try:
        return {each.key: each.columns[0] for each in sqlalchemy_inspect(model).column_attrs}
    except NoInspectionAvailable:
        return {}


def _table(model: Any) -> Table | None:
    try:
        table: Table = sqlalchemy_inspect(model).local_table
    except NoInspectionAvailable:
        return None
    return table


def _is_texts(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(each, str) for each in value)


def _takes(function: Callable[..., Any], arity: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arity))
    except TypeError:
        return False
    except ValueError:
        return True  # a callable written in C tells no signature
    return True
