"""How many changes a second a server takes from devices, and what a large batch costs in memory.

The load: 4 clients, each with 200 records of 20 fields, send batches of 100 changes of 2 fields, each with the
version last seen, and take over the versions that are answered. Conflicts and errors must be 0.

    python benchmarks/push.py                                   Fieldpost on SQLite, by itself
    python benchmarks/push.py --postgresql                      on a PostgreSQL that is started for it
    python benchmarks/push.py --kinto http://127.0.0.1:8888     side by side with a running Kinto, in turns
    python benchmarks/push.py --memory                          a batch of 1000: memory above idle

Kinto, for the comparison (its PostgreSQL backend on the same machine, two workers):
`pip install 'kinto[postgresql]' gunicorn`, `kinto init --backend postgresql`, `kinto migrate`, then
`gunicorn --workers 2 --worker-class gthread --threads 4 --bind 127.0.0.1:8888 …` with its `app.wsgi`.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from server import ADMIN, PASSWORD, Client, Server, running_postgresql, running_server

CLIENTS, RECORDS, FIELDS = 4, 200, 20


class Peer(Protocol):
    """One client of one server, with records of its own."""

    ids: list[Any]

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """Send one batch; how many of its changes were not applied."""


def record(number: int) -> dict[str, str]:
    """A record as both servers get it."""
    return {f"Field_{each}": f"value {each} of record {number} lorem ipsum dolor" for each in range(FIELDS)}


class FieldpostPeer:
    """A technician with an inspection and its form fills."""

    def __init__(self, server: Server, number: int, inspection_id: int, form_template_id: int) -> None:
        self._client = server.client(f"technician{number}@example.com")
        items = [
            {
                "type": "form_fill",
                "local_id": str(uuid4()),
                "data": {
                    "inspection_id": inspection_id,
                    "form_template_id": form_template_id,
                    "client_id": str(uuid4()),
                    "data": record(each),
                },
            }
            for each in range(RECORDS)
        ]
        results = self._client.call("POST", "/api/v1/sync", {"sync_items": items})["results"]
        self.versions = {each["server_id"]: each["updated_at"] for each in results["success"]}
        self.ids = list(self.versions)
        if len(self.ids) != RECORDS:
            raise RuntimeError(f"The records could not be made: {results['errors'][:1]}")

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """One batch with a new local_id for each change, as devices must."""
        items = [
            {
                "type": "form_fill",
                "local_id": str(uuid4()),
                "data": {
                    "id": each,
                    "updated_at": self.versions[each],
                    "changes": {"Field_1": f"t{tick}", "Field_2": f"u{tick}"},
                },
            }
            for each in ids
        ]
        results = self._client.call("POST", "/api/v1/sync", {"sync_items": items})["results"]
        for each in results["success"]:
            self.versions[each["server_id"]] = each["updated_at"]
        return len(ids) - len(results["success"])


class KintoPeer:
    """A Kinto user with a collection; one batch request, one PATCH with If-Match for each change."""

    def __init__(self, url: str, number: int) -> None:
        parts = urllib.parse.urlparse(url)
        credentials = base64.b64encode(f"user{number}:{PASSWORD}".encode()).decode()
        self._client = Client(str(parts.hostname), parts.port or 80, {"Authorization": f"Basic {credentials}"})
        self._path = f"/buckets/push-{uuid4().hex[:12]}"
        self._client.call("PUT", f"/v1{self._path}", {})
        self._client.call("PUT", f"/v1{self._path}/collections/fills", {})
        self._path += "/collections/fills/records"
        self.versions: dict[str, int] = {}
        for start in range(0, RECORDS, 100):
            requests = [
                {"method": "PUT", "path": f"{self._path}/r{each}", "body": {"data": record(each)}}
                for each in range(start, start + 100)
            ]
            self._take(self._client.call("POST", "/v1/batch", {"requests": requests})["responses"])
        self.ids = list(self.versions)

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """One batch."""
        requests = [
            {
                "method": "PATCH",
                "path": f"{self._path}/{each}",
                "headers": {"If-Match": f'"{self.versions[each]}"'},
                "body": {"data": {"Field_1": f"t{tick}", "Field_2": f"u{tick}"}},
            }
            for each in ids
        ]
        return self._take(self._client.call("POST", "/v1/batch", {"requests": requests})["responses"])

    def _take(self, responses: list[dict[str, Any]]) -> int:
        applied = [each["body"]["data"] for each in responses if each["status"] in (200, 201)]
        self.versions |= {each["id"]: each["last_modified"] for each in applied}
        return len(responses) - len(applied)


def fieldpost_peers(server: Server) -> list[Peer]:
    """Technicians with records, made through the API."""
    admin = server.client(ADMIN)
    structure = [{"name": name, "type": "text"} for name in record(0)]
    template = _data(admin.call("POST", "/api/v1/form_templates", {"name": "Push", "form_structure": structure}))
    template_id = template["form_template"]["id"]
    peers: list[Peer] = []
    for number in range(CLIENTS):
        user = {
            "email": f"technician{number}@example.com",
            "name": "Push",
            "role": "technician",
            "password": PASSWORD,
        }
        user_id = _data(admin.call("POST", "/api/v1/users", user))["user"]["id"]
        body = {"date": "2024-03-15", "form_template_ids": [template_id], "assignee_id": user_id}
        inspection = _data(admin.call("POST", "/api/v1/inspections", body))["inspection"]
        peers.append(FieldpostPeer(server, number, inspection["id"], template_id))
    return peers


def _data(answer: dict[str, Any]) -> Any:
    if not answer["success"]:
        raise RuntimeError(f"The benchmark's data could not be made: {answer}")
    return answer["data"]


def load(peers: Sequence[Peer], batch: int, seconds: float) -> dict[str, Any]:
    """Push from all clients at once for some seconds; rates, and milliseconds of a batch."""
    latencies: list[float] = []
    failed: list[int] = []
    end = time.monotonic() + seconds

    def run(peer: Peer) -> None:
        position = tick = 0
        while time.monotonic() < end:
            ids = [peer.ids[(position + each) % len(peer.ids)] for each in range(batch)]
            position, tick = position + batch, tick + 1
            start = time.perf_counter()
            failed.append(peer.push(ids, tick))
            latencies.append(time.perf_counter() - start)

    start = time.monotonic()
    threads = [threading.Thread(target=run, args=(each,)) for each in peers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    elapsed = time.monotonic() - start
    latencies.sort()
    return {
        "changes_per_second": round(len(latencies) * batch / elapsed),
        "batches_per_second": round(len(latencies) / elapsed, 1),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 1),
        "p95_ms": round(latencies[int(len(latencies) * 0.95)] * 1000, 1),
        "failed": sum(failed),
    }


def compare(kinto_url: str | None, batch: int, seconds: float, rounds: int, database_url: str) -> None:
    """Take turns, so that a noisy machine is noisy for both; print each round and the median ratio."""
    with running_server(DATABASE_URL=database_url) as server:
        contenders: dict[str, Callable[[], list[Peer]]] = {"fieldpost": lambda: fieldpost_peers(server)}
        if kinto_url is not None:
            contenders["kinto"] = lambda: [KintoPeer(kinto_url, each) for each in range(CLIENTS)]
        peers = {name: make() for name, make in contenders.items()}
        rates: dict[str, list[int]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, clients in peers.items():
                found = load(clients, batch, seconds)
                rates[name].append(found["changes_per_second"])
                print(json.dumps({"server": name, "batch": batch, "clients": CLIENTS, **found}), flush=True)
        if kinto_url is not None:
            ratios = [ours / theirs for ours, theirs in zip(rates["fieldpost"], rates["kinto"], strict=True)]
            print(json.dumps({"fieldpost_to_kinto": round(statistics.median(ratios), 1)}))


def measure_memory(items: int) -> None:
    """Peak memory of a worker above idle while it takes batches of `items`, in MiB."""
    with running_server(workers=1) as server:
        admin = server.client(ADMIN)
        structure = [{"name": name, "type": "text"} for name in record(0)]
        template = _data(admin.call("POST", "/api/v1/form_templates", {"name": "Push", "form_structure": structure}))
        body = {"date": "2024-03-15", "form_template_ids": [template["form_template"]["id"]]}
        fill = _data(admin.call("POST", "/api/v1/inspections", body))["form_fills"][0]
        parts = {"inspection_id": fill["inspection_id"], "form_template_id": fill["form_template_id"]}
        # A first small batch, so that what is loaded once and stays is not counted.
        _create(admin, parts, 1)
        (worker,) = server.worker_ids()
        idle = _memory(worker, "VmRSS")
        Path(f"/proc/{worker}/clear_refs").write_text("5")
        ids = _create(admin, parts, items)
        after_create = _memory(worker, "VmHWM")
        changes = [
            {"type": "form_fill", "local_id": str(uuid4()), "data": {"id": each, "changes": record(1)}} for each in ids
        ]
        results = admin.call("POST", "/api/v1/sync", {"sync_items": changes})["results"]
        if len(results["success"]) != items:
            raise RuntimeError(f"Not all were applied: {results['errors'][:1]}")
        peak = _memory(worker, "VmHWM")
        print(
            json.dumps(
                {
                    "items": items,
                    "idle_mib": round(idle, 1),
                    "create_above_idle_mib": round(after_create - idle, 1),
                    "above_idle_mib": round(peak - idle, 1),
                }
            )
        )


def _create(client: Client, parts: dict[str, Any], count: int) -> list[int]:
    items = [
        {
            "type": "form_fill",
            "local_id": str(uuid4()),
            "data": {**parts, "client_id": str(uuid4()), "data": record(each)},
        }
        for each in range(count)
    ]
    results = client.call("POST", "/api/v1/sync", {"sync_items": items})["results"]
    return [each["server_id"] for each in results["success"]]


def _memory(process_id: int, name: str) -> float:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"No {name} of process {process_id}")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinto", metavar="URL", help="a running Kinto to compare with")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL that is started for it")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    arguments = parser.parse_args()
    if arguments.memory:
        measure_memory(1000)
    else:
        with running_postgresql() if arguments.postgresql else nullcontext("") as url:
            compare(arguments.kinto, arguments.batch, arguments.seconds, arguments.rounds, url)


main()
