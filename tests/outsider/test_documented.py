"""The complete plugin of `docs/plugins.md`, made from the page alone: its files, its commands, its answers."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outsider.conftest import Environment
from tests.outsider.test_installed import Site
from tests.support.demo import copy_demo
from tests.support.servers import ROOT
from tests.test_readme import comparable

PAGE = (ROOT / "docs" / "plugins.md").read_text().split("\n## A complete plugin\n")[1].split("\n## ")[0]

#: A file, as the page brings it: its path in the sentence before, then its text.
FILES = dict(re.findall(r"`(meter_reading/[\w./]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))

#: What the page tells to type, and what it shows as the answer.
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(ANSWER,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)

#: How pip fetches nothing from anywhere.
OFFLINE = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]


def test_it_takes_less_than_sixty_lines() -> None:
    assert len(FILES) == 3
    assert sum(1 for text in FILES.values() for line in text.splitlines() if line.strip()) < 60


@pytest.fixture
def site(fresh: Environment, tmp_path: Path) -> Site:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    copy_demo(tmp_path)
    return Site(fresh, tmp_path, "")


def test_it_works_as_the_page_says(site: Site, tmp_path: Path) -> None:
    install, sync, new = COMMANDS
    first, *others = (shlex.split(line) for line in install.splitlines())
    assert first[0] == "pip"
    site.environment.pip(*first[1:], *OFFLINE, cwd=tmp_path)
    refuses_to_start_without_a_migration(site)
    assert "5 types and 4 plugins are all right." in [fieldpost(site, *line) for line in others][-1]
    with site.server() as client:
        script = f"TOKEN={client.token}\n" + sync.replace("http://127.0.0.1:8000", client.address)
        answer = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout
        assert comparable(answer) == comparable(ANSWER)
        assert client.get("/inspections/1/offline_data")["entities"]["meter_reading"][0]["note"] == "Behind the boiler"
        assert len(client.get("/entities/meter_reading/1/history")["history"]) == 2
    (line,) = (shlex.split(line) for line in new.splitlines())
    assert "meter_reading/README.md" in fieldpost(site, *line, "--directory", f"{tmp_path}/new/meter_reading")


def fieldpost(site: Site, program: str, *arguments: str) -> str:
    """The output of a command as it is typed; it must succeed."""
    assert program == "fieldpost"
    result = site.run("app.serving.program", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def refuses_to_start_without_a_migration(site: Site) -> None:
    result = site.run("gunicorn", "wsgi:app")
    assert "The plugin meter_reading states migrations, but there are none in " in result.stderr
    assert "write the first: `fieldpost plugins revision meter_reading --message 'first table'`." in result.stderr


def test_its_code_is_in_good_style(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for step in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *step, "--config", str(ROOT / "pyproject.toml"), "."]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout
