"""`flask plugins …`: a new plugin whose tests pass as generated, its next migration, and leaving it again."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade

from tests.conftest import World
from tests.outsider.conftest import Environment
from tests.support.forks import Program, run
from tests.support.servers import ROOT, environment_of

ENTRIES = "[fieldpost.sync_handlers]\nmeter_reading = {0}:handler\n[fieldpost.plugins]\nmeter_reading = {0}:plugin\n"


def plugins(app: Flask, *arguments: str, stdin: str = "") -> Any:
    result = app.test_cli_runner().invoke(args=["plugins", *arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def test_check_is_content_with_what_ships(app: Flask) -> None:
    result = plugins(app, "check")
    assert (result.exit_code, result.output) == (0, "4 types and 3 plugins are all right.\n")


def test_check_names_missing_migrations_and_the_command(app: Flask) -> None:
    with app.app_context():
        downgrade(revision="base")
    result = plugins(app, "check")
    assert result.exit_code == 1
    assert "The tables of fieldpost are at migration none, and 0021 is needed." in result.output
    assert "Run `fieldpost db upgrade`." in result.output


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("name", ["Meter", "2meter", "meter-reading", "class", "m" * 41])
def test_a_new_plugin_needs_a_name_that_can_be_a_type(app: Flask, tmp_path: Path, name: str) -> None:
    result = plugins(app, "new", name, "--directory", str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "cannot be a type" in result.output
    assert not (tmp_path / "new").exists()


@pytest.mark.database("sqlite")
def test_a_new_plugin_overwrites_nothing(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    result = plugins(app, "new", "meter_reading", "--directory", str(tmp_path))
    assert result.exit_code == 1
    assert "is there and not empty" in result.output


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("command", ["remove", "revision"])
def test_a_plugin_that_is_not_there_is_told_with_those_that_are(app: Flask, command: str) -> None:
    result = plugins(app, command, "nowhere", *(["-m", "x"] if command == "revision" else []))
    assert result.exit_code == 1
    assert "No plugin is called 'nowhere'. Installed are: console, photos, signatures." in result.output


def test_removing_a_plugin_without_tables_tells_of_ledger_and_devices(app: Flask, world: World) -> None:
    result = plugins(app, "remove", "photos")
    assert result.exit_code == 0
    assert "It has no tables of its own." in result.output
    assert "Ledger: 0 operations and 0 changed rows. They stay" in result.output
    assert "Type photo_delete: items that devices still have queued are answered with invalid_type" in result.output
    assert "It is part of Fieldpost itself, and cannot be uninstalled alone." in result.output


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("name", ["photo_delete", "form_fill"])
def test_what_is_removed_may_be_named_by_a_type(app: Flask, name: str) -> None:
    result = plugins(app, "remove", name)
    assert "It has no tables of its own." in result.output
    assert f"Type {name}" in result.output
    refused = plugins(app, "remove", name, "--drop-tables")
    assert "has no tables to drop. Leave --drop-tables out." in refused.output


class Generated:
    """A plugin as `plugins new` wrote it, in a fresh environment."""

    def __init__(self, directory: Path) -> None:
        self.source = directory / "meter_reading"
        self.environment = Environment(directory / "environment")
        self.variables = environment_of(directory)
        self.flask("plugins", "new", "meter_reading", "--directory", str(self.source))
        # Installed like an editable one: its directory on the path, its metadata beside it.
        site = self.environment.site
        (site / "meter_reading.pth").write_text(f"{self.source}\n")
        metadata = site / "fieldpost_meter_reading-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fieldpost-meter-reading\nVersion: 0.1.0\n")
        (metadata / "entry_points.txt").write_text(ENTRIES.format("fieldpost_meter_reading"))

    def run(self, *arguments: str, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a module where the plugin is installed."""
        return run(Program(arguments, dict(self.variables), cwd, [self.environment.site]), stdin)

    def flask(self, *arguments: str, stdin: str = "") -> str:
        """The output of a command that must succeed."""
        result = self.run("flask", "--app", "wsgi", *arguments, stdin=stdin)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return Generated(tmp_path_factory.mktemp("generated"))


def test_the_tests_of_a_new_plugin_pass_as_generated(generated: Generated) -> None:
    result = generated.run("pytest", "-q", "-rs", cwd=generated.source)
    assert result.returncode == 0, result.stdout
    skipped = [line for line in result.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("the type makes no inspections" in line for line in skipped), skipped


def test_a_new_plugin_is_in_good_style(generated: Generated) -> None:
    for step in (["ruff", "check"], ["ruff", "format", "--check"]):
        result = generated.run(*step, "--config", str(ROOT / "pyproject.toml"), ".", cwd=generated.source)
        assert result.returncode == 0, result.stdout


def test_a_new_plugin_can_be_built_and_has_its_migrations_in_it(generated: Generated, tmp_path: Path) -> None:
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", *options, str(generated.source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "fieldpost_meter_reading/migrations/0001_first_table.py" in zipfile.ZipFile(wheel).namelist()


def test_its_next_migration_comes_from_its_models_and_goes_back_with_the_others(generated: Generated) -> None:
    assert "meter_reading: at migration 0001" in generated.flask("db", "upgrade")
    models = generated.source / "fieldpost_meter_reading" / "models.py"
    column = "    note: Mapped[str | None] = mapped_column(Text)\n"
    more = "    read_at: Mapped[datetime | None] = mapped_column(UTCDateTime)\n"
    imports = "from datetime import datetime\n\nfrom app.models import UTCDateTime"
    text = models.read_text().replace("from app.models import KEEP_IDS", f"{imports}, KEEP_IDS")
    models.write_text(text.replace(column, column + more))
    assert "0002_when_it_was_read.py: read it before" in generated.flask(
        "plugins", "revision", "meter_reading", "-m", "when it was read"
    )
    assert "meter_reading: at migration 0002" in generated.flask("db", "upgrade")
    told = generated.flask("plugins", "remove", "meter_reading", "--drop-tables", stdin="y\n")
    assert "The tables are dropped." in told
    refused = generated.run("flask", "--app", "wsgi", "plugins", "check")
    assert refused.returncode == 1
    assert "The tables of meter_reading are at migration none, and 0002 is needed." in refused.stderr


def test_a_migration_that_fails_leaves_everything_as_it_was(generated: Generated, tmp_path: Path) -> None:
    wrong = generated.source / "fieldpost_meter_reading" / "migrations" / "0009_wrong.py"
    previous = sorted(wrong.parent.glob("0*.py"))[-1].name[:4]
    wrong.write_text(
        f'"""Wrong."""\n\nfrom alembic import op\n\nrevision = "0009"\ndown_revision = "{previous}"\n\n\n'
        'def upgrade() -> None:\n    op.execute("CREATE TABLE meter_reading_x (id INTEGER)")\n    raise KeyError("x")\n'
    )
    generated.variables["FIELDPOST_DATA_DIR"] = str(tmp_path)
    try:
        result = generated.run("flask", "--app", "wsgi", "db", "upgrade")
        checked = generated.run("flask", "--app", "wsgi", "plugins", "check")
    finally:
        wrong.unlink()
    assert result.returncode == 1
    assert "Nothing was migrated. The migrations of meter_reading raised KeyError: 'x'. Mend them" in result.stderr
    assert "The tables of fieldpost are at migration none" in checked.stderr, "the core's were rolled back, too"
