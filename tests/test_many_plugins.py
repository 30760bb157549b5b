"""What many plugins cost; `benchmarks/many_plugins.py` measures it, here it is bounded."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.servers import ROOT


def test_fifty_plugins_add_less_than_a_second_to_the_start() -> None:
    """Of the processor's time, which depends least on what else the machine does."""
    command = [sys.executable, str(ROOT / "benchmarks" / "many_plugins.py"), "start", "--rounds", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["plugins"] == 50
    assert 0 < found["added_cpu_s"] < 1
