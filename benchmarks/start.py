"""Processor time of `create_app`, in milliseconds: of this checkout, or of this one and another in turns.

A round is a process of its own. It makes three applications before it measures, so that imports do not count.

    python benchmarks/start.py                         5 rounds of 20 starts
    python benchmarks/start.py --against ../earlier    the same for another checkout, in turns
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from server import ROOT

MEASURE = """
import json, sys, time
from app import create_app
used = []
for number in range(3 + int(sys.argv[1])):
    started = time.process_time()
    create_app()
    used.append(1000 * (time.process_time() - started))
print(json.dumps(used[3:]))
"""


def measure(checkout: Path, starts: int) -> list[float]:
    """Milliseconds of the processor that each of a round's starts takes in a checkout."""
    with tempfile.TemporaryDirectory() as directory:
        settings = {"FIELDPOST_DATA_DIR": directory, "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "ERROR"}
        command = [sys.executable, "-c", MEASURE, str(starts)]
        result = subprocess.run(
            command, cwd=checkout, env={**os.environ, **settings}, check=True, stdout=subprocess.PIPE
        )
    used: list[float] = json.loads(result.stdout)
    return used


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout; its dependencies must be installed here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=20, help="in each round")
    arguments = parser.parse_args()
    checkouts = {"here": ROOT, **({"against": arguments.against} if arguments.against else {})}
    used: dict[str, list[float]] = {name: [] for name in checkouts}
    for _ in range(arguments.rounds):
        for name, checkout in checkouts.items():
            used[name] += measure(checkout, arguments.starts)
    for name, times in used.items():
        found = {"median_ms": round(statistics.median(times), 1), "least_ms": round(min(times), 1)}
        print(json.dumps({"checkout": name, **found, "starts": len(times)}))


main()
