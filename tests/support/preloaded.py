"""Fieldpost and its plugins, loaded in the process that `forks.py` forks all others from.

A process that imports Fieldpost gets the modules that are already there. It reads entry points and settings itself, and
makes its own application. The same holds for gunicorn's workers, whose master forgets all modules: they find them here.
Servers that run another release than this one are to be started anew, and so is a process whose imports are tested.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from prometheus_client import values
from sqlalchemy.orm import configure_mappers

import app.serving.start  # noqa: F401
from app.core.host.registry import HANDLERS, PLUGINS
from app.http import metrics

for group in (PLUGINS, HANDLERS):
    for entry in entry_points(group=group):
        entry.load()
configure_mappers()


class Preloaded(MetaPathFinder, Loader):
    """Gives a process that imports one of the modules all of them, as they were loaded here."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules
        self._specs = {name: module.__spec__ for name, module in modules.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A description of the module, if it is one of them."""
        if fullname not in self._modules:
            return None
        sys.modules.update(self._modules)
        begin_numbers()
        return spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        return self._modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is. The import has given it another description of where it comes from."""
        module.__spec__ = self._specs[module.__name__]


def begin_numbers() -> None:
    """Keep the numbers where the environment says now: prometheus_client has read it when it was imported."""
    vars(values)["ValueClass"] = values.get_value_class()  # type: ignore[no-untyped-call]
    collectors: set[Any] = {*metrics.own._names_to_collectors.values()}
    for metric in collectors:
        if metric._is_observable():
            metric._metric_init()


sys.meta_path.insert(
    0, Preloaded({name: module for name, module in sys.modules.items() if name.partition(".")[0] == "app"})
)
gc.freeze()
