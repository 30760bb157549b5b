"""Counting statements, and reading answers and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, event

from app.core.database.engine import db
from app.models import LedgerEntry
from tests.conftest import World

API = "/api/v1"


@pytest.fixture
def count_statements(app: Flask) -> Iterator[Callable[[Callable[[], Any]], int]]:
    """`count_statements(call)`: how many SQL statements a call sends."""
    with app.app_context():
        engine: Engine = db.engine
    statements: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    def count(call: Callable[[], Any]) -> int:
        statements.clear()
        call()
        return len(statements)

    event.listen(engine, "before_cursor_execute", listen)
    yield count
    event.remove(engine, "before_cursor_execute", listen)


def details(answer: Any) -> dict[str, Any]:
    """The `details` of a 400 `invalid`."""
    assert (answer.status_code, answer.json["code"]) == (400, "invalid"), answer.json
    found: dict[str, Any] = answer.json["details"]
    return found


def fault(answer: Any) -> tuple[int, str, str]:
    """Status, code and error of an answer in the one shape of errors."""
    assert answer.json["success"] is False
    assert answer.json["message"]
    assert answer.json["request_id"]
    return answer.status_code, answer.json["code"], answer.json["error"]


def entries(world: World, entity: str) -> list[LedgerEntry]:
    """The ledger's entries about rows of one entity, gains and losses of sight left out."""
    return [each for each in world.all(LedgerEntry) if each.entity == entity and each.viewer_id is None]
