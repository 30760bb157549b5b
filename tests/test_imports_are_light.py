"""What an import of ours loads: gunicorn's settings and tools import a module of `app` without the whole server."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = ["app", "app.errors", "app.config", "app.clock", "app.core.private_files", "app.core.settings"]


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_small_module_does_not_load_the_server(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(name for name in sys.modules if name.split('.')[0] == 'app'))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(finished.stdout.split()) <= {*LIGHT, "app.core"}
