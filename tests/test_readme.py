"""The README's first sync, run command by command against a real server, and its answers compared."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import cases
from tests.support.servers import ROOT, demo_server

README = (ROOT / "README.md").read_text()

#: What differs from run to run: times, the ids of attachments, and the generation of the database's history.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GENERATION = re.compile(r"\b[0-9a-f]{32}\b")


def blocks(section: str) -> list[tuple[str, str]]:
    """The fenced blocks of a section, each with its language."""
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def comparable(value: str) -> Any:
    """JSON with everything replaced that may differ."""
    return json.loads(GENERATION.sub("<generation>", UUID.sub("<id>", TIME.sub("<time>", value))))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[str]:
    with demo_server(data) as url:
        yield url


@pytest.fixture
def commands(server: str, data: Path) -> list[tuple[str, str]]:
    """The blocks of the first sync, for this server and its data directory."""
    return [
        (language, text.replace("http://127.0.0.1:8000", server).replace("instance/", f"{data}/"))
        for language, text in blocks("A first sync")
    ]


def test_the_first_sync_works_as_the_readme_says(commands: list[tuple[str, str]], tmp_path: Path) -> None:
    script, expected = [], []
    for language, text in commands:
        if language == "sh":
            script.append(text)
        else:
            # The answer of the command before: told apart from the next by a line of its own.
            script[-1] += "\necho; echo ---"
            expected.append(comparable(text))
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    answers = [comparable(each) for each in result.stdout.split("\n---\n") if each.strip()]
    assert len(answers) == len(expected) == 3
    for answer, shown in zip(answers, expected, strict=True):
        assert answer == shown


def test_sending_the_batch_again_replays_it(commands: list[tuple[str, str]], tmp_path: Path) -> None:
    sign_in, sync = [text for language, text in commands if language == "sh"][:2]
    script = "\n".join([sign_in, sync, "echo; echo ---", sync])
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    again = json.loads(result.stdout.split("---")[1])["results"]["success"]
    assert [each["replayed"] for each in again] == [True, True, True]


@cases("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert link.startswith("http") or (ROOT / link).exists()
