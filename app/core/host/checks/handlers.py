"""Checks of a handler by itself, and beside the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from marshmallow import Schema

from app.core.host.checks.values import are_texts, columns_by_name, function_findings, is_name
from app.core.host.findings import Finding, Kind
from app.core.host.handlers import by_ids, core_keys, creates, models_of
from app.core.host.registry import Registry
from app.models import Inspection
from app.plugin_api import OLDEST_API_VERSION, ById, Children, Entity, SyncHandler, Via, edit, recorded_columns

OTHER_NAME = Kind("its type is {type!r}", "Give type and entry point the same name.")
TWICE_ALIAS = Kind("its aliases {aliases} name a type twice", "State each once.")
NO_TYPE = Kind("{name!r} cannot be a type", "Use lower-case letters, digits and underscores, 63 at most.")
NO_TEXTS = Kind("its {part} are {value!r}", 'State a tuple of texts; one of one has a comma: ("data",).')
NO_DATA_KEYS = Kind("its data_keys are empty, so that no payload can be sent", "State at least one.")
NO_TARGET = Kind(
    "its target is not a by_id(…) that is always there", "An operation acts on one row that the payload names."
)
NO_NEW_ROOT = Kind(
    "its target would make a new {model} below nothing", "State a parent; only an inspection stands below nothing."
)
NO_TARGETS = Kind("its {part} are not a mapping of names to by_id(…), via(…) or children(…)", "State one.")
NO_MAKES = Kind("its makes are not a mapping of keys to models with a client_id", "State those of the rows.")
NO_LABEL = Kind("its label is {label!r}", "State a text of at least one character, or nothing.")
NO_EXAMPLES = Kind("its examples are not a sequence of items", "Put them into a tuple.")
ROWS_AND_READS = Kind("{names} stand in both rows and reads", "Name each row once.")
NO_ENTITY = Kind("the model {model!r} has no `__entity__ = Entity(…)`", "Give it one.")
NO_ROOT = Kind("{model} stands below no inspection, which says who may", "Inherit app.models.Syncable.")
SHARED_KEY = Kind("the key {key!r} names rows of both {models}", "Give each by_id(…) a key of its own.")
NO_COLUMN = Kind("{name!r} goes by the column {column!r}, which {model} does not have", "Correct it.")
NO_SCHEMA = Kind("its schema is {schema!r}", "State a marshmallow Schema class, not an instance.")
BROKEN_SCHEMA = Kind("making its schema raised {error}: {reason}", "Mend {schema}.")
GREEDY_SCHEMA = Kind("its schema has {keys}, which the core reads", "Take it out of {schema}.")
NO_FIELDS = Kind(
    "its schema has {keys}, and {model} has no such fields for `edit` to set", "Correct {schema}, or state `changes=`."
)
TAKEN_TYPE = Kind("the type {name!r} is already that of {owner}", "Uninstall one of the two, or rename a type.")
NO_PLUGIN = Kind(
    "its distribution states no Plugin, and so counts as written for plugin API 1", "Install a newer release."
)


def handler_findings(where: str, handler: SyncHandler, name: str) -> Iterator[Finding]:
    """Everything that is wrong with the handler under the entry point `name`."""
    shape = list(_shape_findings(where, handler))
    yield from _name_findings(where, handler, name)
    yield from shape
    yield from function_findings(where, "policy", handler.policy, 2)
    yield from function_findings(where, "apply", handler.apply, 2)
    for part, function in (("changes", handler.changes), ("upcast", handler.upcast)):
        if function is not None:
            yield from function_findings(where, part, function, 1)
    if not shape:
        yield from _target_findings(where, handler)
        yield from _schema_findings(where, handler)


def handler_clashes(where: str, registry: Registry, handler: SyncHandler, distribution: str) -> Iterator[Finding]:
    """Everything that keeps a handler from standing beside those in the registry."""
    for name in (handler.type, *(handler.aliases if isinstance(handler.aliases, tuple | list) else ())):
        other = registry.routes.get(name)
        if other is not None:
            yield TAKEN_TYPE.at(where, name=name, owner=registry.handlers[other.type])
    stating = {installed.distribution for installed in registry.installed.values()}
    if OLDEST_API_VERSION > 1 and distribution not in stating:
        yield NO_PLUGIN.at(where)


def field_findings(where: str, handler: SyncHandler) -> Iterator[Finding]:
    """Keys of the payload that would fail each item that has them. Call it once all models are there."""
    model: Any = handler.target.model
    is_plain = handler.apply is edit and handler.changes is None and model.__entity__.document is None
    if not is_plain or not hasattr(model, "__mapper__") or _may_rename(handler.schema):
        return
    fields = handler.schema(partial=creates(handler)).load_fields
    names = {field.attribute or name for name, field in fields.items()}
    # Only a new row gets a value for a column that is not recorded.
    others = model.__entity__.unrecorded if creates(handler) else ()
    keys = names.difference(recorded_columns(model), others)
    if keys:
        listed = ", ".join(sorted(keys))
        yield NO_FIELDS.at(where, keys=listed, model=model.__name__, schema=handler.schema.__name__)


def _may_rename(schema: Any) -> bool:
    """Whether the schema has a `post_load`, which may return other keys than the schema has."""
    return bool(schema._hooks.get("post_load"))


def _name_findings(where: str, handler: SyncHandler, name: str) -> Iterator[Finding]:
    if handler.type != name:
        yield OTHER_NAME.at(where, type=handler.type)
    aliases = handler.aliases if are_texts(handler.aliases) else ()
    for wire_type in (handler.type, *aliases):
        if not is_name(wire_type):
            yield NO_TYPE.at(where, name=wire_type)
    if len({handler.type, *aliases}) <= len(aliases):
        yield TWICE_ALIAS.at(where, aliases=", ".join(aliases))


def _shape_findings(where: str, handler: SyncHandler) -> Iterator[Finding]:
    """Fields of a kind that the other checks cannot look into."""
    for part, value in (("aliases", handler.aliases), ("data_keys", handler.data_keys)):
        if not are_texts(value):
            yield NO_TEXTS.at(where, part=part, value=value)
    if are_texts(handler.data_keys) and not handler.data_keys:
        yield NO_DATA_KEYS.at(where)
    if not _is_always_there(handler.target):
        yield NO_TARGET.at(where)
    for part, targets in (("rows", handler.rows), ("reads", handler.reads)):
        if not _are_targets(targets):
            yield NO_TARGETS.at(where, part=part)
    if not _are_named_by_devices(handler.makes):
        yield NO_MAKES.at(where)
    if not _are_items(handler.examples):
        yield NO_EXAMPLES.at(where)
    if handler.label is not None and not (isinstance(handler.label, str) and handler.label.strip()):
        yield NO_LABEL.at(where, label=handler.label)


def _is_always_there(target: object) -> bool:
    named = [target.parent] if isinstance(target, ById) and target.parent is not None else []
    return all(isinstance(each, ById) and not each.optional and each.most is None for each in [target, *named])


def _are_targets(targets: object) -> bool:
    kinds = ById | Via | Children
    return isinstance(targets, Mapping) and all(isinstance(target, kinds) for target in targets.values())


def _are_named_by_devices(models: object) -> bool:
    return isinstance(models, Mapping) and all(hasattr(model, "client_id") for model in models.values())


def _are_items(examples: Iterable[object]) -> bool:
    return not isinstance(examples, Mapping | str) and all(isinstance(item, Mapping) for item in examples)


def _target_findings(where: str, handler: SyncHandler) -> Iterator[Finding]:
    shared = sorted(handler.rows.keys() & handler.reads.keys())
    if shared:
        yield ROWS_AND_READS.at(where, names=", ".join(shared))
    for model in models_of(handler):
        if not isinstance(getattr(model, "__entity__", None), Entity):
            yield NO_ENTITY.at(where, model=getattr(model, "__name__", model))
            return
    for model in dict.fromkeys(target.model for target in (handler.target, *handler.rows.values())):
        if not hasattr(model, "inspection_id") or not hasattr(model, "inspection"):
            yield NO_ROOT.at(where, model=model.__name__)
    if handler.target.is_new_root and (handler.target.model is not Inspection or handler.target.parent is not None):
        yield NO_NEW_ROOT.at(where, model=handler.target.model.__name__)
    yield from _key_findings(where, handler)
    yield from _column_findings(where, handler)


def _key_findings(where: str, handler: SyncHandler) -> Iterator[Finding]:
    taken: dict[str, str] = {}
    for target in by_ids(handler):
        for key in target.keys:
            if taken.setdefault(key, target.model.__name__) != target.model.__name__:
                yield SHARED_KEY.at(where, key=key, models=f"{taken[key]} and {target.model.__name__}")


def _column_findings(where: str, handler: SyncHandler) -> Iterator[Finding]:
    for name, target in {**handler.rows, **handler.reads}.items():
        if isinstance(target, Via | Children):
            model = handler.target.model if isinstance(target, Via) else target.model
            if target.column not in columns_by_name(model):
                yield NO_COLUMN.at(where, name=name, column=target.column, model=model.__name__)


def _schema_findings(where: str, handler: SyncHandler) -> Iterator[Finding]:
    schema: Any = handler.schema
    if not isinstance(schema, type) or not issubclass(schema, Schema):
        yield NO_SCHEMA.at(where, schema=schema)
        return
    try:
        fields = schema(partial=creates(handler)).load_fields
    except Exception as error:  # a schema's own code
        yield BROKEN_SCHEMA.at(where, error=type(error).__name__, reason=error, schema=schema.__name__)
        return
    keys = {field.data_key or name for name, field in fields.items()} & core_keys(handler)
    if keys:
        yield GREEDY_SCHEMA.at(where, keys=", ".join(sorted(keys)), schema=schema.__name__)
