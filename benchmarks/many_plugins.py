"""What plugins cost: how much longer the start takes with many, and a batch over many types than one over a single.

The plugins are those that `flask plugins new` writes, each with a type, a table and a migration of its own.

    python benchmarks/many_plugins.py start               50 plugins: seconds that they add to the start
    python benchmarks/many_plugins.py batch               batches of 100 items over 10 types and over 1, in turns
    python benchmarks/many_plugins.py batch --postgresql  on a PostgreSQL that is started for it
"""

from __future__ import annotations

import argparse
import compileall
import configparser
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

from server import ADMIN, ROOT, Client, PostgreSQL, running_postgresql, running_server

from app.cli.plugins import write_plugin

#: A start as a worker makes it, its migrations looked at; what Python itself and the imports take is not counted.
START = """
import json, time, app
from app.core.database.engine import db
from app.core.host.migrations import missing
started, used = time.perf_counter(), time.process_time()
with app.create_app().app_context(), db.engine.connect() as connection:
    missing(connection)
print(json.dumps([time.perf_counter() - started, time.process_time() - used]))
"""


def install(names: Sequence[str], site: Path) -> None:
    """Put plugins and their metadata into a directory, as pip would."""
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory)
            list(write_plugin(name, source))
            shutil.copytree(source / f"fieldpost_{name}", site / f"fieldpost_{name}")
            config = configparser.ConfigParser()
            config.read(source / "setup.cfg")
        distribution, version = config["metadata"]["name"], config["metadata"]["version"]
        metadata = site / f"fieldpost_{name}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        groups = [f"[{group}]{lines}\n" for group, lines in config["options.entry_points"].items()]
        (metadata / "entry_points.txt").write_text("".join(groups))


def measure_start(count: int, rounds: int) -> None:
    """Seconds that the plugins add to the start: the median of rounds in turns, elapsed and of the processor."""
    added: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as directory:
        site = Path(directory) / "site"
        site.mkdir()
        install([f"reading{each}" for each in range(count)], site)
        compileall.compile_dir(site, quiet=1)  # as an installation does
        for _ in range(rounds):
            without, with_plugins = start(None), start(site)
            added.append((with_plugins[0] - without[0], with_plugins[1] - without[1]))
            print(json.dumps({"without_s": round(without[0], 3), "with_s": round(with_plugins[0], 3)}), flush=True)
    elapsed, processor = (statistics.median(each) for each in zip(*added, strict=True))
    print(json.dumps({"plugins": count, "added_s": round(elapsed, 3), "added_cpu_s": round(processor, 3)}))


def start(site: Path | None) -> tuple[float, float]:
    """How long one start takes, with what is installed in `site`: elapsed, and of the processor."""
    with tempfile.TemporaryDirectory() as directory:
        variables = {**os.environ, "FIELDPOST_DATA_DIR": directory, "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "ERROR"}
        variables |= {} if site is None else {"PYTHONPATH": str(site)}
        command = [sys.executable, "-c", START]
        result = subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE)
    elapsed, processor = json.loads(result.stdout.splitlines()[-1])
    return elapsed, processor


def measure_batches(kinds: int, items: int, rounds: int, postgresql: PostgreSQL | None) -> None:
    """Milliseconds of a batch that makes rows, and of one that changes them: of one type, and of many, in turns."""
    names = [f"reading{each}" for each in range(kinds)]
    with tempfile.TemporaryDirectory() as directory:
        install(names, Path(directory))
        with running_server(workers=1, postgresql=postgresql, PYTHONPATH=directory) as server:
            client = server.client(ADMIN)
            inspection = inspection_of(client)
            seconds: dict[tuple[str, int], list[float]] = {}
            for number in range(rounds + 1):
                for chosen in (names[:1], names):
                    made = [item(chosen, each, {"inspection_id": inspection, "value": each}) for each in range(items)]
                    rows, taken = push(client, made)
                    changed = [item(chosen, each, {"id": row, "value": 1000 + each}) for each, row in enumerate(rows)]
                    _, again = push(client, changed)
                    if number:  # the first round prepares statements
                        seconds.setdefault(("create", len(chosen)), []).append(taken)
                        seconds.setdefault(("change", len(chosen)), []).append(again)
    for action in ("create", "change"):
        one, many = (1000 * statistics.median(seconds[action, each]) for each in (1, kinds))
        found = {"action": action, "items": items, "one_type_ms": round(one, 1), f"{kinds}_types_ms": round(many, 1)}
        print(json.dumps({**found, "ratio": round(many / one, 2)}), flush=True)


def inspection_of(client: Client) -> int:
    """A new inspection."""
    structure = [{"name": "Location", "type": "text"}]
    template = client.call("POST", "/api/v1/form_templates", {"name": "Types", "form_structure": structure})
    body = {"date": "2024-03-15", "form_template_ids": [template["data"]["form_template"]["id"]]}
    return int(client.call("POST", "/api/v1/inspections", body)["data"]["inspection"]["id"])


def item(names: Sequence[str], number: int, data: dict[str, Any]) -> dict[str, Any]:
    """The item of this number; types take turns."""
    return {"type": names[number % len(names)], "local_id": str(uuid4()), "data": data}


def push(client: Client, items: Sequence[dict[str, Any]]) -> tuple[list[int], float]:
    """Send a batch, all of which must be applied; the rows' ids, and the seconds that it took."""
    started = time.perf_counter()
    results = client.call("POST", "/api/v1/sync", {"sync_items": items})["results"]
    taken = time.perf_counter() - started
    if len(results["success"]) != len(items):
        raise RuntimeError(f"Not all were applied: {results['errors'][:1]}")
    return [each["server_id"] for each in results["success"]], taken


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "batch"])
    parser.add_argument("--plugins", type=int, default=50, help="for `start`: how many")
    parser.add_argument("--types", type=int, default=10, help="for `batch`: how many beside one")
    parser.add_argument("--items", type=int, default=100, help="for `batch`: in each")
    parser.add_argument("--rounds", type=int, default=0, help="default: 5 starts, 50 batches")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL that is started for it")
    arguments = parser.parse_args()
    if arguments.what == "start":
        measure_start(arguments.plugins, arguments.rounds or 5)
        return
    with running_postgresql() if arguments.postgresql else nullcontext() as postgresql:
        measure_batches(arguments.types, arguments.items, arguments.rounds or 50, postgresql)


main()
