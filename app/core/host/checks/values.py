"""Checks of names, texts, columns and functions, for handlers, plugins and models alike."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper

from app.core.host.findings import Finding, Kind

#: The form of operation types, aliases, entities and settings.
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

NOT_CALLABLE = Kind("its {part} cannot be called with {count}", "docs/plugins.md says what it gets.")
COROUTINE = Kind("its {part} is a coroutine function, which nothing awaits", "Write it with `def`.")


def is_name(value: object) -> bool:
    """Whether the value can name an operation type, an entity or a setting."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def are_texts(value: object) -> bool:
    """Whether the value is a sequence of texts, and not one text."""
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(text, str) for text in value)


def function_findings(where: str, part: str, function: object, arity: int) -> Iterator[Finding]:
    """Whether `function`, given as `part`, can be called with `arity` arguments, and without `await`."""
    if not callable(function) or not _takes(function, arity):
        count = f"{arity} argument" if arity == 1 else f"{arity} arguments"
        yield NOT_CALLABLE.at(where, part=part, count=count)
    elif inspect.iscoroutinefunction(function):
        yield COROUTINE.at(where, part=part)


def columns_by_name(model: type) -> Mapping[str, ColumnElement[Any]]:
    """The columns of a model by their attributes' names; empty for a class that is not mapped."""
    try:
        mapper: Mapper[Any] = sqlalchemy_inspect(model)
    except NoInspectionAvailable:
        return {}
    return {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}


def _takes(function: Callable[..., object], arity: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arity))
    except TypeError:
        return False
    except ValueError:
        return True  # a callable written in C has no signature
    return True
