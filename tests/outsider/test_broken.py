"""What Fieldpost says about plugins that do not fit: all of it at once, each with where, what, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.outsider.conftest import HERE, Environment
from tests.support.forks import Program, run
from tests.support.servers import environment_of

#: Entry point or model -> what is said about it.
FINDINGS = [
    # Plugins
    ("bad_name", "its name is 'Bad Name'. Use lower-case letters, digits and underscores, 40 at most, the same as the"),
    ("newer", "it is written for plugin API 2, and this Fieldpost knows 1. Upgrade Fieldpost, or install an older"),
    (
        "older",
        "it is written for plugin API 0, and this Fieldpost serves 1 to 1. Install a newer release of the plugin.",
    ),
    ("worded", "its api_version is '1'. State the number that it is written for."),
    ("no_plugin", "it is a str. Point it at a Plugin(…)."),
    ("odd_setting", "its setting 'limits' = [1, 2] cannot be read from the environment. Use a lower-case name, and a"),
    ("wrong_parts", "its blueprint is a str. State a Blueprint, or nothing."),
    ("wrong_parts", "its cli is a builtin_function_or_method. State a Group, or nothing."),
    ("wrong_parts", "its collect cannot be called with 0 arguments. docs/plugins.md says what it gets."),
    ("blueprint_taken", "a blueprint named 'sync' is there already. Rename the plugin's."),
    ("exploding", "mounting its blueprint raised ValueError: no such template. Mend the blueprint."),
    ("route_taken", "POST /api/v1/sync is already answered by 'sync.push'. Choose another address."),
    ("route_alike", "GET /api/v1/inspections/<number> is already answered by 'inspections."),
    ("command_of_flask", "the command `fieldpost routes` is there already. Rename the plugin's."),
    ("command_taken", "the command `fieldpost users` is there already. Rename the plugin's."),
    ("counted", "FIELDPOST_COUNTED_MOST='many' is no whole number. Correct it, or unset it."),
    ("counted", "FIELDPOST_COUNTED_RATIO='half' is no number. Correct it, or unset it."),
    ("counted", "FIELDPOST_COUNTED_STRICT='maybe' is neither true nor false. Correct it, or unset it."),
    ("login", "its setting FIELDPOST_LOGIN_RATE belongs to Fieldpost itself. Rename the setting."),
    ("healthy", "its migrations 'fieldpost_broken.two_heads' end in 2 revisions. Let each follow exactly one other"),
    ("lost", "its migrations 'fieldpost_broken.nowhere' cannot be read: ModuleNotFoundError: No module named"),
    ("hasty", "`removed` names the type 'photo_delete', which is installed. Take it out of `removed`."),
    # Handlers
    (
        "raises",
        "importing it raised RuntimeError: no such file. Mend it, or uninstall it with `pip uninstall fieldpost-br",
    ),
    ("exits", "importing it raised SystemExit: 3. Mend it"),
    ("missing", "importing it raised AttributeError: module 'fieldpost_broken.handlers' has no attribute 'missing'."),
    ("no_handler", "it is a dict. Point it at a SyncHandler(…)."),
    ("other_name", "its type is 'another_name'. Give type and entry point the same name."),
    ("Bad-Name", "'Bad-Name' cannot be a type. Use lower-case letters, digits and underscores, 63 at most."),
    ("alias_taken", "the type 'form_fill_update' is already that of 'plugins.form_fills:handler' of fieldpost "),
    ("inspection", "the type 'inspection' is already that of 'plugins.inspections:handler' of fieldpost "),
    ("alias_twice", "its aliases again, again name a type twice. State each once."),
    ("aliases_text", "its aliases are 'abc'. State a tuple of texts; one of one has a comma"),
    ("no_keys", "its data_keys are empty, so that no payload can be sent. State at least one."),
    ("schema_made", "its schema is <NoteSchema(many=False)>. State a marshmallow Schema class, not an instance."),
    ("schema_raises", "making its schema raised KeyError: 'colour'. Mend RaisingSchema."),
    ("schema_greedy", "its schema has id, updated_at, which the core reads. Take it out of GreedySchema."),
    ("schema_strange", "its schema has note, and Inspection has no such fields for `edit` to set. Correct NoteSchema"),
    ("policy_narrow", "its policy cannot be called with 2 arguments. docs/plugins.md says what it gets."),
    ("apply_waits", "its apply is a coroutine function, which nothing awaits. Write it with `def`."),
    ("changes_wide", "its changes cannot be called with 1 argument. docs/plugins.md says what it gets."),
    ("upcast_text", "its upcast cannot be called with 1 argument."),
    ("label_empty", "its label is ' '. State a text of at least one character, or nothing."),
    ("target_optional", "its target is not a by_id(…) that is always there. An operation acts on one row that the"),
    ("target_via", "its target is not a by_id(…) that is always there."),
    ("rows_list", "its rows are not a mapping of names to by_id(…), via(…) or children(…). State one."),
    ("rows_twice", "x stand in both rows and reads. Name each row once."),
    ("makes_templates", "its makes are not a mapping of keys to models with a client_id. State those of the rows."),
    ("no_entity", "the model 'Plain' has no `__entity__ = Entity(…)`. Give it one."),
    ("rootless", "FormTemplate stands below no inspection, which says who may. Inherit app.models.Syncable."),
    ("one_key", "the key 'id' names rows of both FormFill and Inspection. Give each by_id(…) a key of its own."),
    ("no_column", "'photos' goes by the column 'form_id', which Attachment does not have. Correct it."),
    ("example_item", "its examples are not a sequence of items. Put them into a tuple."),
    (
        "example_wrong",
        "its example 1 is refused: Invalid payload {'note': ['Missing data for required field.'], 'nota': [",
    ),
    ("example_other", "its example 1 is of the type 'photo_delete'. Correct the example, or the schema."),
    # Models
    ("Stray", "its table is 'stray', which begins with no name of a plugin of its distribution (there is: "),
    ("Unmigrated", "nothing makes its table 'broken_unmigrated'. State `migrations=` in the Plugin 'broken'."),
    ("Forgetful", "SQLite would give its ids twice, and a device's old item hit a new row. Add app.models.KEEP_IDS"),
    ("Blocking", "its foreign key inspection_id would keep the core from deleting rows of inspections, even once the"),
    ("LongIds", "its ids are longer than the ledger keeps. Use String(36)."),
    ("Careless", "its rows have no `id` and no versions. Inherit app.models.Syncable."),
    ("Imposter", "the entity name 'form_fill' is taken. Choose another one."),
    ("Imposter", "`counted` is 'last_sync', which is taken in the status. Choose another one."),
    ("Muddled", "'Muddled Name' cannot be an entity's name. Use lower-case letters, digits and underscores."),
    ("Muddled", "its entity names colour, which are no columns. Correct `unrecorded` or `identity`."),
    (
        "Muddled",
        "JSON has no type for the values of price (Numeric()), which its entity records. Use Float, an",
    ),
    ("Muddled", "its document 'name' is no JSON column. Use app.models.JSONValue."),
    ("Muddled", "its entity loads friends, which are no relationships. Correct `loads`."),
    ("Imposter", "its `personal` does not map columns to fields with their values. docs/plugins.md shows how"),
    ("Muddled", "its `personal` goes by price, nobody, which refer to no users. Name a column with ForeignKey('users"),
    ("Muddled", "its `personal` empties id, which are no fields. Correct it."),
    ("Muddled", "its `personal` puts None into name, which cannot be null. State the value that is to stand there."),
    ("Muddled", "its entity has sentences for uq_nothing, no constraints of healthy_muddled. Correct them."),
    ("Muddled", "its record cannot be called with 1 argument. docs/plugins.md says what it gets."),
    ("Muddled", "its title cannot be called with 1 argument."),
    ("Muddled", "its labels cannot be called with 1 argument."),
    ("Muddled", "its panel is 'muddled.txt'. Name a template that ends in .html, so that values in it are escaped."),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `plugins check` says where everything that can be wrong is installed."""
    directory = tmp_path_factory.mktemp("broken")
    environment = Environment(directory / "environment")
    environment.place(HERE / "broken")
    wrong = {
        "FIELDPOST_COUNTED_MOST": "many",
        "FIELDPOST_COUNTED_RATIO": "half",
        "FIELDPOST_COUNTED_STRICT": "maybe",
        "FIELDPOST_LOGIN_RATE": "5 per minute",
    }
    command = ["flask", "--app", "wsgi", "plugins", "check"]
    result = run(Program(command, environment_of(directory, **wrong), sites=[environment.site]))
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(("where", "what"), FINDINGS)
def test_a_finding_says_where_what_and_what_to_do(told: str, where: str, what: str) -> None:
    lines = [line for line in told.splitlines() if what in line]
    assert lines, told
    assert any(f"entry point {where!r}" in line or f".{where} of " in line or f":{where} of " in line for line in lines)


def test_nothing_else_is_found_and_all_is_told_at_once(told: str) -> None:
    head, *lines = told.splitlines()
    assert head == (
        f"Fieldpost cannot start. {len(FINDINGS)} things about plugins are wrong, and the server does not start "
        "half-loaded:"
    )
    assert len(lines) == len(FINDINGS)


def test_each_finding_names_its_distribution(told: str) -> None:
    assert [line for line in told.splitlines()[1:] if "fieldpost-broken" not in line] == []


def test_the_list_is_complete(tmp_path: Path) -> None:
    """Every entry point and model of the distribution is there for a finding, or for one to stand on."""
    named = {where for where, _ in FINDINGS} | {"broken", "Plain"}
    text = (HERE / "broken" / "setup.cfg").read_text()
    entries = {line.partition("=")[0].strip() for line in text.splitlines() if "fieldpost_broken." in line}
    assert entries <= named
