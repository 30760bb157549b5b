"""`GET /api/v1/`: limits, abilities and types, for everybody (contract, section 0)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.core.host.registry import Installed
from app.plugin_api import API_VERSION, Plugin
from tests.conftest import SettableClock
from tests.support.answers import json_of

ROOT = "/api/v1/"


def root(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get(ROOT)
    assert answer.status_code == 200
    body: dict[str, Any] = json_of(answer)
    return body


def test_everybody_reads_what_the_server_is(app: Flask) -> None:
    assert root(app) == {
        "success": True,
        "name": "Fieldpost",
        "version": version("fieldpost"),
        "api": 1,
        "limits": {
            "max_batch_items": 1000,
            "max_batch_bytes": 8 * 1024 * 1024,
            "max_public_bytes": 8 * 1024,
            "max_photo_bytes": 10 * 1024 * 1024,
            "max_photo_pixels": 50_000_000,
            "max_form_bytes": 1024 * 1024,
            "max_template_fields": 2000,
            "max_template_options": 2000,
            "max_json_depth": 32,
            "max_changes": 5000,
        },
        "abilities": {"merge": True, "field_inspections": True, "resumable_uploads": False},
        "types": ["form_fill", "inspection", "photo_delete", "signature_delete"],
    }


def test_the_limits_are_those_of_the_settings(environment: dict[str, str], clock: SettableClock) -> None:
    app = create_app({**environment, "FIELDPOST_MAX_BATCH_ITEMS": "7"}, clock)
    assert root(app)["limits"]["max_batch_items"] == 7


def test_a_plugin_announces_its_abilities(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin(name="extra", api_version=API_VERSION, abilities=("resumable_uploads", "drawings"))
    installed = Installed(plugin=plugin, entry_point="extra:plugin", distribution="extra", version="1")
    monkeypatch.setitem(app.extensions["fieldpost.registry"].installed, "extra", installed)
    assert root(app)["abilities"] == {
        "merge": True,
        "field_inspections": True,
        "resumable_uploads": True,
        "drawings": True,
    }


def test_the_address_without_its_slash_is_404(app: Flask) -> None:
    assert app.test_client().get("/api/v1").status_code == 404
