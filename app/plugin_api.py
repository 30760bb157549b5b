"""The contract for plugin authors: everything that a handler states, and everything that it is given.

A distribution adds an operation type by registering a `SyncHandler` under the entry-point group
`fieldpost.sync_handlers`, the entry point's name being the type. Everything beside types (tables, routes,
settings) stands in a `Plugin` under `fieldpost.plugins`. `docs/plugins.md` has a complete example.
Imports nothing of ours but `app.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from flask import current_app

from app.errors import PluginError, Rejected

if TYPE_CHECKING:
    import click
    from flask import Blueprint
    from marshmallow import Schema

__all__ = [
    "API_VERSION",
    "LABEL_KINDS",
    "NOTHING_TO_SET",
    "OLDEST_API_VERSION",
    "ActingUser",
    "ById",
    "Children",
    "Context",
    "Entity",
    "Label",
    "MenuEntry",
    "Model",
    "Operation",
    "Outcome",
    "Pages",
    "Plugin",
    "PluginError",
    "Policy",
    "Rejected",
    "Row",
    "SyncHandler",
    "Target",
    "Via",
    "by_id",
    "children",
    "edit",
    "plugin_settings",
    "via",
]

#: The version of this contract. A plugin states the one that it was written against.
API_VERSION = 1

#: The oldest version of this contract that is still served. Types without a `Plugin` count as written for 1.
OLDEST_API_VERSION = 1

#: What `SyncHandler.changes` returns for an operation that sets no field, so that there is nothing to decide.
NOTHING_TO_SET: Mapping[str, Any] = MappingProxyType({})

#: An instance of a model that carries `__entity__`. Read its attributes; never assign to them in `apply`.
#: Any, so that you need no casts for the attributes of your own models.
Row: TypeAlias = Any

#: A mapped class that carries `__entity__`.
Model: TypeAlias = type[Any]

#: A marshmallow schema class.
SchemaClass: TypeAlias = "type[Schema]"

#: Who may: `(user, row) -> bool`. Asked in memory for every operation, with an `ActingUser`; it must not query.
Policy: TypeAlias = Callable[[Any, Row], bool]


class ActingUser(NamedTuple):
    """The user who sent a batch, as policies and `apply` see them. Nobody can edit it."""

    id: int
    email: str
    name: str
    #: `admin`, `technician` or `user`.
    role: str
    #: Always True while a batch is applied.
    active: bool = True


#: How a value can be shown.
LABEL_KINDS = ("text", "number", "date", "choice", "photo", "signature")


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """How people see one value of a row, on pages and in exports."""

    #: The field, as answers show it: a column, or a key of the document. `expose` may add further ones.
    name: str
    #: Its name for people: `"Static pressure"`.
    label: str
    #: The heading below which it stands, together with its neighbours of the same section.
    section: str = ""
    #: The unit after a number: `"psi"`.
    unit: str = ""
    #: One of `LABEL_KINDS`. The value of a photo or a signature is the id of an attachment, or a list of ids.
    kind: str = "text"
    #: The values to choose from, each with its text: `[("y", "yes"), ("n", "no")]`.
    options: Sequence[tuple[Any, str]] = ()
    #: Whether several options can be chosen: the value is then a list.
    multiple: bool = False
    #: Whether it tells of a person: pages hide it, and exports leave it out, until the reader asks for it.
    private: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Entity:
    """How the rows of one model are recorded, merged, shown and fed. Stands on the model as `__entity__`.

    The fields of a row are the columns of its model, without `unrecorded` and the core's, and the keys of its document.
    The model also has `id`, `inspection_id`, `created_at` and `updated_at` (`app.models.Syncable` brings them).
    """

    #: Its name in ledger, feed, `offline_data` and history: `"meter_reading"`.
    name: str
    #: Its name in sentences: `"<label> not found"`, `"<label> updated successfully"`.
    label: str
    #: Its name in refusals: `"Not authorized to update this <noun>"`.
    noun: str
    #: Columns that the ledger does not keep, answers do not show, and only `context.create` sets. All other columns
    #: are fields: recorded, shown, and merged one by one.
    unrecorded: tuple[str, ...] = ()
    #: A JSON column whose keys are fields too. A key that is also the name of a field means the column.
    document: str | None = None
    #: Columns that never change, and must agree when a create meets its `client_id` again.
    identity: tuple[str, ...] = ("inspection_id",)
    #: Relationships that the callables below read, `expose` and `labels` among them: each is loaded in one query.
    loads: tuple[str, ...] = ()
    #: `row -> JSON object` for the feed and `offline_data`; None: `id`, times, and the fields.
    record: Callable[[Row], dict[str, Any]] | None = None
    #: `(row, fields) -> fields` as they leave the server in answers; None: as they are.
    expose: Callable[[Row, dict[str, Any]], dict[str, Any]] | None = None
    #: `row -> JSON object`: further keys of `conflict_data`.
    conflict: Callable[[Row], dict[str, Any]] | None = None
    #: The key under which `GET /sync/status` counts the rows that the user sees; None: not counted.
    counted: str | None = None
    #: `row -> text` that names the row for people: `"Riser, Harbour Warehouse"`; None: the label and the id.
    title: Callable[[Row], str] | None = None
    #: `row -> labels` of the values that people see, in order; None: a table of all fields.
    labels: Callable[[Row], Sequence[Label]] | None = None
    #: The Jinja template that shows a row on a page: `"equipment/item.html"`; None: a table by the labels.
    panel: str | None = None
    #: Column that names a user -> the fields that tell of that user, each with the value that takes its place once the
    #: user is erased: `{"keeper_id": {"keeper_phone": None}}`.
    personal: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Name of a database constraint -> sentence of the `invalid` entry that a breach of it becomes.
    constraints: Mapping[str, str] = field(default_factory=dict)


#: The columns that a model has for the core, and that are no fields.
CORE_COLUMNS = frozenset({"id", "client_id", "inspection_id", "created_at", "updated_at"})


@cache
def recorded_columns(model: Model) -> tuple[str, ...]:
    """The columns of `model` that are fields, in their order."""
    entity: Entity = model.__entity__
    others = {*CORE_COLUMNS, *entity.unrecorded, entity.document}
    return tuple(column.key for column in model.__mapper__.column_attrs if column.key not in others)


@dataclass(frozen=True)
class ById:
    """The row whose id (or client_id) the payload carries. Made by `by_id`."""

    model: Model
    keys: tuple[str, ...]
    parent: ById | None = None
    optional: bool = False
    is_new_root: bool = False
    most: int | None = None


@dataclass(frozen=True)
class Via:
    """The row that a column of the target points to. Made by `via`."""

    model: Model
    column: str


@dataclass(frozen=True)
class Children:
    """All rows that point to the target. Made by `children`."""

    model: Model
    column: str


#: How an operation finds a row, or rows.
Target: TypeAlias = ById | Via | Children


def by_id(
    model: Model,
    *keys: str,
    parent: ById | None = None,
    optional: bool = False,
    is_new_root: bool = False,
    most: int | None = None,
) -> ById:
    """The row of `model` whose id or client_id is sent under one of `keys` (default: `id`).

    If none is sent, it is a new row below the row that `parent` finds, or None with `optional`. With `is_new_root` it
    is a new inspection, which stands below nothing, if the payload has a `client_id`. Otherwise the item is `invalid`.

    With `most`, in `rows` and `reads` alone, the key has a list of ids instead, of at most so many rows, all different.
    """
    return ById(model, keys or ("id",), parent, optional, is_new_root, most)


def via(model: Model, *, column: str) -> Via:
    """The row of `model` whose id stands in the target's `column` when the operation's turn comes.

    It must belong to the rows that the batch loaded: those the column held before the batch, or that another
    operation of the batch names.
    """
    return Via(model, column)


def children(model: Model, *, column: str) -> Children:
    """All rows of `model` whose `column` holds the target's id, in id order, without deleted ones."""
    return Children(model, column)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One item of a batch after schema, policy and conflict; read only."""

    #: Position in `sync_items`, from 0.
    index: int
    #: The handler's type (an alias is already resolved).
    type: str
    #: The device's name for this operation, as sent.
    local_id: str
    #: The payload as the schema loaded it; the core's keys (ids, `updated_at`, `resolve_strategy`) taken out.
    data: Mapping[str, Any]
    #: The fields to set, after a merge only those still to be set.
    changes: Mapping[str, Any]
    #: The model of the target, or of the row to create.
    model: Model
    #: The row to act on, locked; None for a create.
    target: Row | None
    #: The row below which to create, locked; None unless this is a create, and for a new inspection.
    parent: Row | None
    #: The rows that the handler's `rows` and `reads` named: a row, None, or a list of rows.
    rows: Mapping[str, Any]


class Context(Protocol):
    """All that `apply` may do. Everything is undone if the operation is rejected."""

    #: The user, read inside this transaction.
    user: ActingUser
    #: The device named at sign-in, or None.
    device_id: str | None
    #: The time of this batch, UTC, whole milliseconds.
    now: datetime
    #: The plugin's settings: name -> value.
    settings: Mapping[str, Any]

    def create(self, model: Model, parent: Row | None, values: Mapping[str, Any]) -> Row:
        """A new row of `model` below `parent`, its id set at once. `values`: columns, the document as a whole.

        Without a parent it is a new inspection, where the target has `is_new_root`. The user owns it, and it is
        assigned to them if they are a technician, unless `values` say otherwise; the policy is asked about it.
        """

    def change(self, row: Row, values: Mapping[str, Any]) -> None:
        """Set fields of `row`, and nothing else. Values equal to the present ones make no version."""

    def delete(self, row: Row) -> None:
        """Delete `row`, or mark it deleted where its model has `deleted_at`."""

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call `call()` once the batch is durable. A failure is logged, never answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of `apply` for an applied operation. To refuse one, raise `Rejected`."""

    #: The entry's message; None: `"<label> updated successfully"` or `"<label> created successfully"`.
    message: str | None = None
    #: The row whose id and version are answered; None: the target.
    row: Row | None = None
    #: The entry's `result`: JSON, at most 4 KiB, kept for retries.
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class SyncHandler:
    """The code for one operation type."""

    #: The wire type; also the entry point's name.
    type: str
    #: Validates the payload without the core's keys; loaded with `partial=True` when an id is sent to a type that
    #: also creates, whose required fields are those of a new row.
    schema: SchemaClass
    #: Finds the row that the operation acts on.
    target: ById
    #: Asked about the target (or the parent of a create, or the new inspection) and about every row of `rows`.
    policy: Policy
    #: Applies one operation: states changes through the context, returns an `Outcome`.
    apply: Callable[[Operation, Context], Outcome]
    #: Further wire types that mean this one.
    aliases: tuple[str, ...] = ()
    #: Keys of an item under which its payload is accepted; the first one present counts.
    data_keys: tuple[str, ...] = ("data",)
    #: More rows that `apply` may change: locked for update, the policy is asked about each.
    rows: Mapping[str, Target] = field(default_factory=dict)
    #: Rows that `apply` only looks at: share lock, no policy, never shown to the client.
    reads: Mapping[str, Target] = field(default_factory=dict)
    #: Keys of the payload with lists of client_ids: those of further rows, of these models, that a create makes.
    makes: Mapping[str, Model] = field(default_factory=dict)
    #: `data -> fields to set`; None: the data as they are; returning `{}`: cannot be merged;
    #: returning `NOTHING_TO_SET`: changes nothing, and so is never a conflict.
    changes: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    #: Whether it takes `updated_at` and `resolve_strategy` and answers a version.
    versioned: bool = True
    #: Turns an older app's payload into today's, before the schema. Gets and returns a dict.
    upcast: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    #: Complete items for the documentation; checked against the schema at the start.
    examples: Sequence[Mapping[str, Any]] = ()
    #: Its operations in the words of people: `"Reading recorded"`; None: the type.
    label: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MenuEntry:
    """An entry of the menu on all pages."""

    #: The text of the link.
    label: str
    #: The page that it leads to, as `url_for` names it: `"equipment_pages.items"`. It takes no arguments.
    endpoint: str
    #: `user -> bool`: who sees the entry; None: everybody. The page itself must check as well.
    who: Callable[[Any], bool] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pages:
    """The pages that a plugin brings: HTML for people, never below `/api/v1`."""

    #: Their routes, templates and static files. Views answer with `app.pages.render`.
    blueprint: Blueprint
    #: Their entries in the menu, in order. `GET /` leads to the first entry that a user sees.
    menu: Sequence[MenuEntry] = ()
    #: `user -> {endpoint: text}`: a short text beside each of these entries, such as a number; an empty one is not
    #: shown. Called for each page with a menu, so that it has to be quick.
    counts: Callable[[Any], Mapping[str, str]] | None = None
    #: Subject -> the page that shows it, as `url_for` names it: links of mails lead there. `"late_device"`: the list of
    #: devices; `"set_aside"`: an item that was not applied, whose id is the page's argument `key`.
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plugin:
    """Everything that a distribution brings beside types. Entry-point group `fieldpost.plugins`; needed for tables.

    Types belong to the plugin that the same module states, otherwise to the only one of their distribution.
    """

    #: Prefix of its tables and settings; names its migrations' version table. Also the entry point's name.
    name: str
    #: The `API_VERSION` that it was written against, as a number.
    api_version: int
    #: Import path of the package with its migrations; None: it has no tables.
    migrations: str | None = None
    #: Mounted below `/api/v1`; signed in, except views marked with `app.web.public`.
    blueprint: Blueprint | None = None
    #: Name -> default; set by `FIELDPOST_<PLUGIN>_<NAME>`, parsed to the default's type.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Mounted on the `flask` command line.
    cli: click.Group | None = None
    #: Run by `storage gc`; returns how many things it removed.
    collect: Callable[[], int] | None = None
    #: `storage keys -> those whose objects the plugin needs`. `storage gc` removes, and `storage check` reports, all
    #: objects that neither an attachment nor a plugin needs; so a plugin that stores objects itself must name them.
    keeps: Callable[[Sequence[str]], Collection[str]] | None = None
    #: `user's id -> number`. Run by `privacy erase`: removes everything that the plugin keeps of the user outside of
    #: rows with an `__entity__`, and returns how many things it removed. It may be called twice for a user.
    erase: Callable[[int], int] | None = None
    #: The abilities that clients have because it is installed: `GET /api/v1/` answers each of these names with true.
    abilities: Sequence[str] = ()
    #: Pages for people, mounted below `/<name>/`; signed in by cookie, except views marked with `app.web.public`.
    pages: Pages | None = None
    #: Types that it once had -> the hint beside `invalid_type` for devices that still send them.
    removed: Mapping[str, str] = field(default_factory=dict)


def edit(operation: Operation, context: Context) -> Outcome:
    """The `apply` of most types: create the row, or change the target, with `operation.changes`.

    A name that is no column of the entity's fields is a key of its document, where it has one.
    """
    if operation.target is not None:
        context.change(operation.target, operation.changes)
        return Outcome()
    model: Any = operation.model
    values, name_of_document = dict(operation.changes), model.__entity__.document
    if name_of_document is not None:
        columns = recorded_columns(model)
        values[name_of_document] = {name: values.pop(name) for name in operation.changes if name not in columns}
    return Outcome(row=context.create(model, operation.parent, values))


def plugin_settings(name: str) -> Mapping[str, Any]:
    """The settings of the plugin `name`, for its routes, its commands and `collect`; `apply` has `context.settings`."""
    settings: Mapping[str, Any] = current_app.extensions["fieldpost.plugin_settings"][name]
    return settings
