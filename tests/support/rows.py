"""Rows that are there, for code whose types allow that they are not."""

from __future__ import annotations

from typing import Any

from app.plugin_api import Operation


def target_of(operation: Operation) -> Any:
    """The target of an operation of a type that always has one."""
    assert operation.target is not None
    return operation.target
