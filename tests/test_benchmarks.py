"""The benchmarks still run, each for a moment; what they measure here means nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

#: Modules that the others share.
SHARED = {"clusters.py", "devices.py", "load.py", "peers.py", "photos.py", "processes.py", "server.py"}

#: Each script with what makes it quick. Those for plugins are run in `test_many_plugins.py`.
QUICK = {
    "device_day.py": "--database sqlite --devices 1 --share 0.03 --pixels 300000",
    "exports.py": "--database sqlite --inspections 500 --photos 6",
    "failover.py": "--only awaited --devices 1 --seconds 0.2 --cut 0.2",
    "feed.py": "--database sqlite --sizes 1000 --rounds 1",
    "growth.py": "--database sqlite --times 2 --batch 10 --seconds 0.1 --rounds 1",
    "hostile.py": "--rounds 1",
    "kills.py": "--kills 3",
    "move.py": "--form-fills 800 --photos 2",
    "memory.py": "--only baseline --uploads 2 --scale 0.05",
    "pages.py": "--database sqlite --inspections 500 --rounds 1",
    "push.py": "--database sqlite --batches 10 --seconds 0.5 --rounds 1",
    "recovery.py": "",
    "scale.py": "--processes 1 --devices 1 --share 0.03 --pixels 300000",
    "set_aside.py": "--database sqlite --rounds 1",
    "soak.py": "--minutes 0.05 --samples 3",
    "start.py": "--rounds 1 --starts 1",
    "upload.py": "--seconds 0.1 --rounds 1",
}
#: The figures that some fail at are for machines that do nothing else.
JUDGING = {"exports.py", "feed.py", "growth.py", "kills.py", "pages.py", "soak.py"}


@pytest.mark.parametrize("name", QUICK)
def test_every_benchmark_runs(name: str) -> None:
    command = [sys.executable, "-W", "ignore", str(BENCHMARKS / name), *QUICK[name].split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or name in JUDGING, done.stderr


def test_no_benchmark_is_left_out() -> None:
    assert {each.name for each in BENCHMARKS.glob("*.py")} == {*QUICK, *SHARED, "many_plugins.py"}
