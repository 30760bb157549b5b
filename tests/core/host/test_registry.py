"""Finding, checking, indexing and mounting plugins. `tests/outsider` has a broken one for each kind of finding."""

from __future__ import annotations

import asyncio
import enum
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import click
import pytest
from flask import Blueprint, Flask
from marshmallow import Schema, fields, post_load
from sqlalchemy import (
    ARRAY,
    Boolean,
    Date,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeEngine
from werkzeug.middleware.proxy_fix import ProxyFix

from app import create_app, policies
from app.core.database.types import UTCDateTime
from app.core.host.checks.handlers import field_findings
from app.core.host.checks.models import model_findings
from app.core.host.findings import Finding, Kind, refuse
from app.core.host.handlers import by_ids, core_keys, models_of, takes_client_id
from app.core.host.load import load_plugins
from app.core.host.mount import mount_blueprints, mount_commands
from app.core.host.registry import HANDLERS, PLUGINS, Registry
from app.core.host.settings import read_settings
from app.errors import PluginError
from app.models import KEEP_IDS, Attachment, FormFill, FormTemplate, Inspection, JSONValue
from app.plugin_api import (
    API_VERSION,
    Entity,
    MenuEntry,
    Pages,
    Plugin,
    SyncHandler,
    by_id,
    children,
    edit,
    plugin_settings,
    via,
)
from app.testing import World, sign_in
from app.web import public
from tests.support.cases import cases


class Stranger(Distribution):
    """A distribution that is not installed."""

    def __init__(self, name: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return Path(path)


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module to put plugins and handlers into."""
    found = ModuleType("stranger")
    monkeypatch.setitem(sys.modules, "stranger", found)
    return found


def handler(name: str, **parts: Any) -> SyncHandler:
    given = {"schema": Schema, "target": by_id(FormFill), "policy": policies.change, "apply": edit}
    return SyncHandler(type=name, **{**given, **parts})


def plugin(name: str, **parts: Any) -> Plugin:
    return Plugin(name=name, api_version=API_VERSION, **parts)


def entry(module: ModuleType, name: str, value: object, distribution: str = "fieldpost-stranger") -> EntryPoint:
    """An entry point for the object, which is put into the module."""
    attribute = f"{name}_{distribution.replace('-', '_')}_{type(value).__name__}"
    setattr(module, attribute, value)
    group = PLUGINS if isinstance(value, Plugin) else HANDLERS
    found: Any = EntryPoint(name, f"stranger:{attribute}", group)
    entry_point: EntryPoint = found._for(Stranger(distribution))
    return entry_point


def filled(*entries: EntryPoint) -> Registry:
    registry = Registry()
    assert load_plugins(registry, entries) == []
    return registry


def test_types_and_aliases_lead_to_their_handler(stranger: ModuleType) -> None:
    found = handler("note", aliases=("remark",))
    registry = filled(entry(stranger, "note", found))
    assert registry.types == ["note", "remark"]
    assert registry.routes["remark"] is found
    registered = registry.handlers["note"]
    assert (registered.distribution, registered.version) == ("fieldpost-stranger", "1.5")
    assert registry.models == {"form_fill": FormFill}


def test_two_distributions_with_one_name_are_both_named(stranger: ModuleType) -> None:
    entries = [entry(stranger, "note", handler("note"), each) for each in ("first", "second")]
    entries += [entry(stranger, "notes", plugin("notes"), each) for each in ("first", "second")]
    findings = load_plugins(Registry(), entries)
    assert len(findings) == 2
    for finding in findings:
        assert finding.where.endswith("of second 1.5")
        assert finding.what.endswith("of first 1.5")
        assert finding.cure.startswith("Uninstall one of the two")


def test_one_finding_is_told_like_many() -> None:
    refuse([])
    with pytest.raises(
        PluginError, match=r"One thing about plugins is wrong, .*\n  1\. Here: it is broken\. Mend it\."
    ):
        refuse([Finding("Here", "it is broken", "Mend it.")])


def test_a_field_that_cannot_be_looked_into_is_a_finding_too(stranger: ModuleType) -> None:
    (finding,) = load_plugins(Registry(), [entry(stranger, "odd", plugin("odd", settings=3))])
    assert finding.what.startswith("checking it raised AttributeError")
    assert finding.cure == "Compare its fields with docs/plugins.md."


def test_a_kind_of_finding_shows_an_ellipsis_for_each_value() -> None:
    kind = Kind("its {part} is {value!r}", "State a by_id(…).")
    assert str(kind) == "its … is …. State a by_id(…)."
    assert kind.at("Here", part="target", value="x {y}") == Finding(
        "Here", "its target is 'x {y}'", "State a by_id(…)."
    )


def test_an_import_may_raise_anything(stranger: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[BaseException] = [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt()]
    monkeypatch.setattr(EntryPoint, "load", Mock(side_effect=raised))
    entries = [entry(stranger, name, handler(name)) for name in ("one", "two")]
    findings = load_plugins(Registry(), entries)
    assert [each.what for each in findings] == [
        "importing it raised CancelledError: ", "importing it raised GeneratorExit: "
    ]  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        load_plugins(Registry(), entries[:1])


def test_a_model_without_a_table_or_with_another_kind_of_entity_is_a_finding(stranger: ModuleType) -> None:
    class Plain:
        __entity__ = FormFill.__entity__
        inspection_id = inspection = None

    stray = type("Stray", (), {"__entity__": 3})
    registry = Registry()
    entries = [entry(stranger, "plain", handler("plain", target=by_id(Plain)))]
    (finding,) = [each for each in load_plugins(registry, entries) if each.what.startswith("it is not mapped")]
    assert finding.where.endswith("Plain of unknown")
    assert registry.models == {}
    entries = [entry(stranger, "stray", handler("stray", reads={"x": by_id(stray, "x_id")}))]
    (finding,) = load_plugins(Registry(), entries)
    assert finding.what == "the model 'Stray' has no `__entity__ = Entity(…)`"


class NotesSchema(Schema):
    note = fields.String()


class RenamingSchema(NotesSchema):
    @post_load
    def rename(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"notes": data["note"]}


@pytest.mark.parametrize(
    ("parts", "is_found"),
    [
        ({}, True),
        ({"schema": RenamingSchema}, False),
        ({"changes": lambda data: {"notes": data["note"]}}, False),
        ({"apply": lambda operation, context: None}, False),
        ({"target": by_id(FormFill)}, False),
    ],
    ids=["as it is", "post_load", "changes", "another apply", "a document"],
)
def test_a_key_that_edit_cannot_set_is_a_finding(parts: dict[str, Any], is_found: bool) -> None:
    given = {"schema": NotesSchema, "target": by_id(Inspection), **parts}
    found = [finding.what for finding in field_findings("Here", handler("note", **given))]
    assert found == ["its schema has note, and Inspection has no such fields for `edit` to set"] * is_found


class Price(enum.Enum):
    LOW = "low"


@pytest.mark.parametrize(
    "kind", [Numeric(), Float(asdecimal=True), LargeBinary(), Interval(), ARRAY(Numeric())], ids=repr
)
def test_a_recorded_column_that_json_has_no_type_for_is_a_finding(kind: TypeEngine[Any]) -> None:
    (finding,) = model_findings("Here", model_with(kind))
    assert finding.what == f"JSON has no type for the values of value ({kind!r}), which its entity records"
    unrecorded = model_with(kind, unrecorded=("value",))
    assert list(model_findings("Here", unrecorded)) == [], "what is not recorded may be anything"


@cases(
    "kind",
    [
        Numeric(asdecimal=False), Float(), Integer(), String(), Boolean(), Date(), Time(), UTCDateTime(), Uuid(),
        Enum(Price), JSONValue, ARRAY(String()),
    ],)  # fmt: skip
def test_a_recorded_column_that_json_has_a_form_for_is_none(kind: TypeEngine[Any]) -> None:
    assert list(model_findings("Here", model_with(kind))) == []


def model_with(kind: TypeEngine[Any], unrecorded: tuple[str, ...] = ()) -> type:
    """A model with a column of this type, in tables of its own."""
    base: Any = type("Base", (DeclarativeBase,), {})
    parts = {
        "__tablename__": "guest",
        "__table_args__": KEEP_IDS,
        "__entity__": Entity(name="guest", label="Guest", noun="guest", unrecorded=unrecorded, identity=()),
        "id": mapped_column(Integer, primary_key=True),
        "created_at": mapped_column(UTCDateTime()),
        "updated_at": mapped_column(UTCDateTime()),
        "value": mapped_column(kind),
    }
    found: type = type("Guest", (base,), parts)
    return found


# Questions about a handler


def test_the_keys_of_the_core_are_ids_versions_and_the_client_id_of_a_new_row() -> None:
    reads = {"template": by_id(FormTemplate, "form_template_id")}
    creating = handler("note", target=by_id(FormFill, parent=by_id(Inspection, "inspection_id")), reads=reads)
    assert core_keys(creating) == {
        "id", "inspection_id", "form_template_id", "client_id", "updated_at", "resolve_strategy"
    }  # fmt: skip
    assert takes_client_id(creating)
    changing = handler("note", versioned=False)
    assert core_keys(changing) == {"id"}
    assert not takes_client_id(changing)


def test_a_handlers_models_are_those_of_its_targets_and_their_parents_each_once() -> None:
    found = handler(
        "note",
        target=by_id(FormFill, parent=by_id(Inspection, "inspection_id")),
        rows={"photos": children(Attachment, column="form_fill_id")},
        reads={"template": via(FormTemplate, column="form_template_id"), "other": by_id(FormFill, "other_id")},
    )
    assert models_of(found) == (FormFill, Inspection, Attachment, FormTemplate)
    assert [target.keys for target in by_ids(found)] == [("id",), ("inspection_id",), ("other_id",)]


# Whose a handler is


def test_a_handler_belongs_to_the_only_plugin_of_its_distribution(app: Flask, stranger: ModuleType) -> None:
    registry = filled(
        entry(stranger, "note", handler("note")), entry(stranger, "notes", plugin("notes", settings={"most": 3}))
    )
    assert read_settings(app, registry, {"FIELDPOST_NOTES_MOST": "5"}, []) == ([], [])
    assert registry.settings_of(registry.routes["note"]) == {"most": 5}


def test_a_handler_of_another_distribution_has_no_settings_of_it(app: Flask, stranger: ModuleType) -> None:
    registry = filled(
        entry(stranger, "note", handler("note"), "fieldpost-other"),
        entry(stranger, "notes", plugin("notes", settings={"most": 3})),
    )
    read_settings(app, registry, {}, [])
    assert registry.settings_of(registry.routes["note"]) == {}


def test_of_several_plugins_the_one_in_the_handlers_module_counts(app: Flask) -> None:
    registry: Registry = app.extensions["fieldpost.registry"]
    found = {name: registry.plugin_of(each) for name, each in registry.handlers.items()}
    assert found["photo_delete"] is registry.plugins["photos"]
    assert found["inspection"] is None


# Settings


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("a", "b", "b"),
        (1, "-2", -2),
        (0.5, "2", 2.0),
        (False, "Yes", True),
        (True, "off", False),
    ],
)
def test_a_setting_is_read_as_its_default_is(
    app: Flask, stranger: ModuleType, default: object, text: str, value: object
) -> None:
    registry = filled(entry(stranger, "notes", plugin("notes", settings={"one": default, "other": default})))
    assert read_settings(app, registry, {"FIELDPOST_NOTES_ONE": text}, []) == ([], [])
    with app.app_context():
        found = plugin_settings("notes")
    assert found == {"one": value, "other": default}
    assert type(found["one"]) is type(value)


def test_a_setting_that_two_plugins_claim_is_a_finding(app: Flask, stranger: ModuleType) -> None:
    registry = filled(
        entry(stranger, "meter", plugin("meter", settings={"reading_days": 1})),
        entry(stranger, "meter_reading", plugin("meter_reading", settings={"days": 1})),
    )
    (finding,), _ = read_settings(app, registry, {}, [])
    assert "FIELDPOST_METER_READING_DAYS belongs to fieldpost.plugins entry point 'meter'" in finding.what


def test_nobodys_setting_is_warned_about_and_no_plugins(environment: Mapping[str, str], caplog: Any) -> None:
    create_app({**environment, "FIELDPOST_METER_UNIT": "kWh"})
    assert "FIELDPOST_METER_UNIT is no setting of Fieldpost or an installed plugin: misspelt?" in caplog.text


# Routes and commands


def test_a_plugins_routes_are_closed_unless_they_say_otherwise(app: Flask, world: World, stranger: ModuleType) -> None:
    blueprint = Blueprint("notes", "stranger", url_prefix="/notes")
    blueprint.get("/closed")(lambda: {"who": "somebody"})

    @blueprint.get("/open")
    @public
    def is_open() -> Any:
        return {"who": "anybody"}

    registry = filled(entry(stranger, "notes", plugin("notes", blueprint=blueprint)))
    assert mount_blueprints(app, registry, "/api/v1") == []
    assert app.test_client().get("/api/v1/notes/open").json == {"who": "anybody"}
    assert app.test_client().get("/api/v1/notes/closed").status_code == 401
    assert sign_in(app, world.user()).get("/api/v1/notes/closed").json == {"who": "somebody"}


def test_the_same_route_of_two_plugins_is_a_finding_whatever_its_arguments_are_called(
    app: Flask, stranger: ModuleType
) -> None:
    first, second = (Blueprint(each, "stranger") for each in ("first", "second"))
    first.get("/notes/<int:number>")(lambda number: {})
    second.get("/notes/<note_id>")(lambda note_id: {})
    registry = filled(
        *(entry(stranger, each.name, plugin(each.name, blueprint=each)) for each in (first, second)),
    )
    (finding,) = mount_blueprints(app, registry, "/api/v1")
    assert "'second'" in finding.where
    assert "GET /api/v1/notes/<note_id> is already answered by 'first." in finding.what


def test_menu_entries_and_places_lead_to_views_that_are_there(app: Flask, stranger: ModuleType) -> None:
    pages = Blueprint("note_pages", "stranger")
    pages.get("/all")(dict)
    stated = Pages(
        blueprint=pages,
        menu=[MenuEntry(label=name, endpoint=f"note_pages.{name}") for name in ("dict", "gone")],
        places={"late_device": "note_pages.dict", "set_aside": "note_pages.lost"},
    )
    registry = filled(entry(stranger, "notes", plugin("notes", pages=stated)))
    assert [finding.what for finding in mount_blueprints(app, registry, "/api/v1")] == [
        "its menu entry 'gone' leads to 'note_pages.gone', which no view has",
        "its place 'set_aside' leads to 'note_pages.lost', which no view has",
    ]


def test_what_a_blueprint_does_beyond_its_own_routes_is_told_to_the_operator(app: Flask, stranger: ModuleType) -> None:
    modest, greedy = (Blueprint(each, "stranger") for each in ("modest", "greedy"))
    modest.get("/notes")(dict)
    modest.before_request(lambda: None)
    greedy.get("/<path:rest>")(lambda rest: {})
    greedy.before_app_request(lambda: None)
    greedy.after_app_request(lambda answer: answer)
    greedy.teardown_app_request(lambda _error: None)
    greedy.app_errorhandler(LookupError)(lambda _error: {})

    @greedy.record
    def take_over(_state: object) -> None:
        app.view_functions["health.healthz"] = dict
        app.before_request_funcs[None].pop(0)
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]

    registry = filled(*(entry(stranger, each.name, plugin(each.name, blueprint=each)) for each in (modest, greedy)))
    app.extensions["fieldpost.registry"] = registry
    assert mount_blueprints(app, registry, "/api/v1") == []
    assert registry.reach["modest"] == []
    told = app.test_cli_runner().invoke(args=["plugins", "check"]).output.splitlines()
    assert [line for line in told if line.startswith("greedy: ")] == [
        "greedy: Runs code before each request to any route.",
        "greedy: Takes away code that ran before each request, such as the sign-in guard.",
        "greedy: Runs code after each request to any route.",
        "greedy: Runs code at the end of each request to any route.",
        "greedy: Replaces the view health.healthz.",
        "greedy: Answers errors of any route.",
        "greedy: Wraps the whole server.",
        "greedy: Answers all addresses that nobody else answers: /api/v1/<path:rest>.",
    ]


def test_a_plugins_commands_are_flasks(app: Flask, stranger: ModuleType) -> None:
    group = click.Group("notes")
    group.command("count")(lambda: click.echo("3 notes"))
    assert mount_commands(app, filled(entry(stranger, "notes", plugin("notes", cli=group)))) == []
    assert app.test_cli_runner().invoke(args=["notes", "count"]).output == "3 notes\n"
