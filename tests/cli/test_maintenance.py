"""`flask maintenance`: all upkeep in one command, and one part's failure is its own (contract, section 9)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.attachments import upkeep
from app.core.host.registry import Installed
from app.core.ledger import prune as pruning
from app.models import FormFill, LedgerEntry, SignIn, SyncHour, User
from app.plugin_api import API_VERSION, Plugin
from app.testing import push, sign_in
from tests.conftest import SettableClock, World
from tests.support.answers import json_of
from tests.support.databases import settle


@pytest.fixture
def form_fill(world: World, tech: User) -> FormFill:
    return world.form_fill(world.inspection(tech), data={"a": 0})


def maintain(app: Flask, *arguments: str) -> Any:
    settle(app)
    return app.test_cli_runner().invoke(args=["maintenance", *arguments])


def install(app: Flask, name: str, collect: Callable[[], int]) -> None:
    """Let this application know a plugin that has something to collect."""
    plugin = Plugin(name=name, api_version=API_VERSION, collect=collect)
    found = Installed(plugin=plugin, entry_point=f"{name}:plugin", distribution=name, version="1")
    app.extensions["fieldpost.registry"].installed[name] = found


@pytest.fixture
def neglected(app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock) -> Path:
    """A server after 500 days without upkeep; a file that nobody needs."""
    sign_in(app, tech).post("/api/v1/auth/logout")
    sign_in(app, tech)
    path: Path = app.extensions["fieldpost.storage"].root / "ab" / "ab-orphan"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"bytes")
    os.utime(path, (clock().timestamp(), clock().timestamp()))
    clock.forward(days=500)
    item = {"type": "form_fill", "local_id": "new", "data": {"id": form_fill.id, "changes": {"a": 1}}}
    push(sign_in(app, tech), item)
    install(app, "parts", lambda: 7)
    return path


def test_it_does_all_upkeep_and_says_what(app: Flask, world: World, neglected: Path) -> None:
    result = maintain(app)
    assert result.exit_code == 0, result.output
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    assert list(lines) == [
        *(
            "finished inspections",
            "sign-ins",
            "ledger",
            "set aside",
            "counts of hours",
            "audit log",
            "notices",
            "storage",
            "plugin parts",
        )
    ]
    assert lines["sign-ins"] == "removed 2"
    assert lines["ledger"].startswith("removed ")
    assert lines["set aside"] == "removed 0"
    assert lines["counts of hours"] == "removed 0"
    assert lines["storage"] == "removed 1 objects"
    assert lines["plugin parts"] == "removed 7"
    assert not neglected.exists()
    assert (len(world.all(SignIn)), len(world.all(LedgerEntry))) == (1, 1)


def test_a_second_time_there_is_nothing_to_do(app: Flask, neglected: Path) -> None:
    maintain(app)
    result = maintain(app)
    assert result.exit_code == 0
    assert [line.split(": ")[1][:9] for line in result.output.splitlines()[:5]] == ["removed 0"] * 5


def test_the_counts_of_an_hour_go_after_the_month_that_pages_show(
    app: Flask, world: World, neglected: Path, clock: SettableClock
) -> None:
    for days, left in ((34, 1), (2, 0)):
        clock.forward(days=days)
        assert maintain(app).exit_code == 0
        assert len(world.all(SyncHour)) == left


def test_nothing_is_removed_unless_it_is_called(app: Flask, world: World, neglected: Path) -> None:
    assert neglected.exists()
    assert (len(world.all(SignIn)), len(world.all(LedgerEntry)) > 5) == (3, True)


def test_what_is_kept_can_be_said(app: Flask, world: World, neglected: Path) -> None:
    assert maintain(app, "--keep", "179d").exit_code == 2
    assert neglected.exists(), "a mistake in the command does nothing"
    before = len(world.all(LedgerEntry))
    assert maintain(app, "--keep", "600d").exit_code == 0
    assert len(world.all(LedgerEntry)) == before


@pytest.mark.parametrize("part", ["ledger", "storage", "plugin parts"])
@pytest.mark.parametrize("error", [OSError("the disk is gone"), SystemExit(3)], ids=["error", "exit"])
def test_one_part_that_fails_does_not_stop_the_others(
    app: Flask, world: World, neglected: Path, monkeypatch: pytest.MonkeyPatch, part: str, error: BaseException
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    if part == "ledger":
        monkeypatch.setattr(pruning, "_prune", fail)
    elif part == "storage":
        monkeypatch.setattr(upkeep, "collect", fail)
    else:
        install(app, "parts", fail)
    install(app, "seals", lambda: 3)
    result = maintain(app)
    assert result.exit_code == 1
    assert f"{part}: failed, and is to be run again: {type(error).__name__}: {error}" in result.output
    assert result.output.count("failed, and is to be run again") == 1
    done = {line.split(":")[0] for line in result.output.splitlines() if ": removed" in line}
    names = {"finished inspections", "sign-ins", "ledger", "set aside", "counts of hours", "audit log", "notices"}
    assert done == (names | {"storage", "plugin parts", "plugin seals"}) - {part}
    assert (len(world.all(LedgerEntry)) == 1) == (part != "ledger")
    assert neglected.exists() == (part == "storage")


def test_a_sign_in_is_kept_for_as_long_as_one_of_its_tokens_works(
    app: Flask, world: World, tech: User, clock: SettableClock
) -> None:
    body = {"email": tech.email, "password": "correct horse battery staple"}
    tokens: Any = app.test_client().post("/api/v1/auth/login", json=body).json
    for days in (89, 89):
        clock.forward(days=days)
        assert "sign-ins: removed 0" in maintain(app).output
        headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
        tokens = app.test_client().post("/api/v1/auth/refresh", headers=headers).json
        assert tokens["success"] is True
    clock.forward(days=90, seconds=1)
    assert "sign-ins: removed 1" in maintain(app).output
    headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    answer: Any = app.test_client().post("/api/v1/auth/refresh", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "token_expired")


def test_a_token_of_a_revoked_sign_in_stays_revoked(app: Flask, world: World, tech: User) -> None:
    client = sign_in(app, tech)
    client.post("/api/v1/auth/logout")
    assert "sign-ins: removed 1" in maintain(app).output
    assert json_of(client.get("/api/v1/auth/me"))["code"] == "token_revoked"
