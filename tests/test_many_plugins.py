"""What many plugins cost; `benchmarks/many_plugins.py` measures it, here it is bounded."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import pytest

from tests.support.forks import run_text
from tests.support.servers import ROOT


def test_fifty_plugins_add_less_than_a_second_to_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the processor's time, which depends least on what else the machine does. All starts have Fieldpost loaded."""
    script = ROOT / "benchmarks" / "many_plugins.py"
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "start", "--rounds", "1"])
    monkeypatch.setattr(subprocess, "run", run_text)
    runpy.run_path(str(script), run_name="__main__")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["plugins"] == 50
    assert 0 < found["added_cpu_s"] < 1
