"""Commands that meet no server's data: they refuse, make nothing, and say where the settings come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app import config
from app.core.environment_file import read_environment_file
from app.errors import ConfigurationError
from app.serving.commands import Program

COMMANDS = [
    ["backup", "nothing.tar"],
    ["maintenance"],
    ["storage", "check"],
    ["storage", "gc"],
    ["users", "list"],
    ["ledger", "prune"],
    ["demo"],
    ["plugins", "check"],
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somewhere else than the server's data, with none of its settings."""
    for name in ("DATABASE_URL", "FIELDPOST_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config, "INSTALLATION", tmp_path / "installation")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def fieldpost(*arguments: str) -> Result:
    return CliRunner().invoke(Program(), arguments)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_refuses_a_database_that_is_not_there_and_makes_nothing(place: Path, command: Sequence[str]) -> None:
    result = fieldpost(*command)
    assert result.exit_code == 1, result.output
    assert f"There is no SQLite database {place}/installation/instance/fieldpost.sqlite3." in result.output
    assert "give this command the server's settings" in result.output
    assert [path.name for path in place.rglob("*")] == ["elsewhere"]


def test_a_directory_that_cannot_be_made_is_told_in_a_sentence(place: Path) -> None:
    (place / "installation").write_text("in the way")
    result = fieldpost("db", "upgrade")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: The data directory {place}/installation/instance cannot be made: ")


def test_the_default_directory_is_that_of_the_installation_whichever_directory_a_command_is_called_in(
    place: Path,
) -> None:
    (place / "installation").mkdir()
    assert fieldpost("db", "upgrade").exit_code == 0
    assert (place / "installation" / "instance" / "fieldpost.sqlite3").is_file()
    assert list((place / "elsewhere").iterdir()) == []
    assert fieldpost("users", "list").exit_code == 0


def test_a_relative_directory_that_somebody_sets_is_that_of_the_caller(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDPOST_DATA_DIR", "data")
    assert f"{place}/elsewhere/data/fieldpost.sqlite3" in fieldpost("users", "list").output


def test_the_program_has_the_commands_and_none_of_flasks_own(place: Path) -> None:
    output = fieldpost("--help").output
    for name in ("serve", "db", "users", "backup", "check"):
        assert f"\n  {name} " in output
    for name in ("\n  run ", "\n  shell ", "--app"):
        assert name not in output
    assert fieldpost("--version").output.startswith("fieldpost ")


def test_settings_that_cannot_work_are_told_in_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDPOST_LOG_LEVEL", "LOUD")
    result = fieldpost("users", "list")
    assert isinstance(result.exception, SystemExit)
    assert str(result.exception.code).startswith("Fieldpost cannot start. FIELDPOST_LOG_LEVEL='LOUD'")


def environment_with(path: Path, text: str, **more: str) -> dict[str, str]:
    path.write_text(text)
    environment = {"FIELDPOST_ENVIRONMENT_FILE": str(path), **more}
    read_environment_file(environment)
    return environment


def test_a_file_of_settings_counts_where_the_environment_is_silent(tmp_path: Path) -> None:
    text = "# comment\n\nPORT=9000\nHOST='::1'\nDATABASE_URL=\"postgresql://u:p=#@h/d\"\nFIELDPOST_STORAGE=\n"
    environment = environment_with(tmp_path / "env", text, PORT="8001")
    del environment["FIELDPOST_ENVIRONMENT_FILE"]
    assert environment == {
        "PORT": "8001",
        "HOST": "::1",
        "DATABASE_URL": "postgresql://u:p=#@h/d",
        "FIELDPOST_STORAGE": "",
    }


@pytest.mark.parametrize("line", ["export PORT=1", "PORT", "1PORT=1"])
def test_a_line_that_is_no_setting_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Line 2 of .*env is no setting. Write NAME=value"):
        environment_with(tmp_path / "env", f"PORT=1\n{line}\n")


def test_a_file_of_settings_that_cannot_be_read_stops_the_command(tmp_path: Path) -> None:
    """Without it the command would work on another database."""
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory\. Run this as the user"):
        read_environment_file({"FIELDPOST_ENVIRONMENT_FILE": str(tmp_path)})
    (tmp_path / "latin").write_bytes(b"FIELDPOST_MAIL_FROM=J\xf6rg\n")
    with pytest.raises(ConfigurationError, match=r"latin are not in UTF-8\. Save"):
        read_environment_file({"FIELDPOST_ENVIRONMENT_FILE": str(tmp_path / "latin")})
    environment: dict[str, str] = {"FIELDPOST_ENVIRONMENT_FILE": str(tmp_path / "none")}
    read_environment_file(environment)
    assert list(environment) == ["FIELDPOST_ENVIRONMENT_FILE"]
