"""What Fieldpost is compared with, installed and started on loopback: Kinto, PouchDB Server, the database's own limit.

They are installed, once, into a directory outside of this repository, with `pip` and `npm`.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from load import CLIENTS, RECORDS, Contender, changed, record
from server import Client, free_port, running_postgresql, stopping, wait_until_it_answers

KINTO = """\
[server:main]
use = egg:waitress#main
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = {url}
kinto.cache_backend = kinto.core.cache.postgresql
kinto.cache_url = {url}
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = {url}
kinto.userid_hmac_secret = {secret}
kinto.bucket_create_principals = system.Authenticated
kinto.batch_max_requests = 100
multiauth.policies = basicauth
multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy
"""

POUCHDB = """\
const PouchDB = require("pouchdb").defaults({ prefix: process.argv[2] + "/" });
const app = require("express")();
app.use("/", require("express-pouchdb")(PouchDB, {
  mode: "minimumForPouchDB", overrideMode: { include: ["routes/bulk-docs"] }, inMemoryConfig: true,
}));
app.listen(Number(process.argv[3]), "127.0.0.1");
"""


class KintoPeer:
    """A Kinto user with a collection; one batch request, one PATCH with If-Match for each change."""

    def __init__(self, port: int, number: int) -> None:
        credentials = base64.b64encode(f"user{number}:password".encode()).decode()
        self._client = Client("127.0.0.1", port, {"Authorization": f"Basic {credentials}"})
        self._path = f"/buckets/push-{uuid4().hex[:12]}"
        self._client.call("PUT", f"/v1{self._path}", {})
        self._client.call("PUT", f"/v1{self._path}/collections/fills", {})
        self._path += "/collections/fills/records"
        self.versions: dict[str, int] = {}
        for start in range(0, RECORDS, 100):
            numbers = range(start, min(start + 100, RECORDS))
            self._batch([self._request("PUT", f"r{each}", record(each)) for each in numbers])
        self.ids = list(self.versions)

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """One batch."""
        return self._batch(
            [{**self._request("PATCH", each, changed(tick)), "headers": self._condition(each)} for each in ids]
        )

    def _request(self, method: str, name: str, data: dict[str, str]) -> dict[str, Any]:
        return {"method": method, "path": f"{self._path}/{name}", "body": {"data": data}}

    def _condition(self, name: str) -> dict[str, str]:
        return {"If-Match": f'"{self.versions[name]}"'}

    def _batch(self, requests: list[dict[str, Any]]) -> int:
        responses = self._client.call("POST", "/v1/batch", {"requests": requests})["responses"]
        applied = [each["body"]["data"] for each in responses if each["status"] in (200, 201)]
        self.versions |= {each["id"]: each["last_modified"] for each in applied}
        return len(responses) - len(applied)


class PouchDBPeer:
    """A database of PouchDB Server; `_bulk_docs` takes whole documents, each with its revision."""

    def __init__(self, port: int) -> None:
        self._client = Client("127.0.0.1", port)
        self._path = f"/push-{uuid4().hex[:12]}"
        self._client.call("PUT", self._path)
        self._documents = {f"r{each}": {"_id": f"r{each}", **record(each)} for each in range(RECORDS)}
        self.ids = list(self._documents)
        self._send(self.ids)

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """One batch."""
        for each in ids:
            self._documents[each].update(changed(tick))
        return self._send(ids)

    def _send(self, ids: Sequence[str]) -> int:
        answers = self._client.call("POST", f"{self._path}/_bulk_docs", {"docs": [self._documents[i] for i in ids]})
        applied = [each for each in answers if "rev" in each]
        for each in applied:
            self._documents[each["id"]]["_rev"] = each["rev"]
        return len(answers) - len(applied)


class LimitPeer:
    """One `UPDATE … FROM unnest` and one commit a batch, straight into PostgreSQL: what nobody on it can exceed."""

    def __init__(self, url: str, number: int) -> None:
        self._connection = psycopg.connect(url)
        table = f"fills{number}"
        self._connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v bigint NOT NULL, data jsonb NOT NULL)")
        rows = [(each, json.dumps(record(each))) for each in range(RECORDS)]
        self._connection.cursor().executemany(f"INSERT INTO {table} VALUES (%s, 1, %s)", rows)
        self._connection.commit()
        self._update = (
            f"UPDATE {table} t SET data = t.data || s.ch::jsonb, v = t.v + 1 "
            "FROM unnest(%s::int[], %s::bigint[], %s::text[]) s(id, v, ch) "
            "WHERE t.id = s.id AND t.v = s.v RETURNING t.id, t.v"
        )
        self.ids = list(range(RECORDS))
        self._versions = dict.fromkeys(self.ids, 1)

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """One batch."""
        parameters = [list(ids), [self._versions[each] for each in ids], [json.dumps(changed(tick))] * len(ids)]
        found = {row[0]: row[1] for row in self._connection.execute(self._update, parameters)}
        self._connection.commit()
        self._versions.update(found)
        return len(ids) - len(found)


def install(directory: Path) -> None:
    """Kinto and PouchDB Server into the directory, where they are not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "kinto" / "bin" / "kinto").exists():
        venv.create(directory / "kinto", with_pip=True)
        _run([f"{directory}/kinto/bin/pip", "install", "--quiet", "kinto[postgresql]", "gunicorn", "setuptools<81"])
    if not (directory / "node_modules" / "express-pouchdb").exists():
        _run(["npm", "install", "--silent", "--prefix", str(directory), "express", "express-pouchdb", "pouchdb"])


@contextmanager
def kinto(directory: Path) -> Iterator[Contender]:
    """Kinto with its PostgreSQL backends, two workers of four threads, as Fieldpost has."""
    with running_postgresql() as postgresql, tempfile.TemporaryDirectory(prefix="fieldpost-kinto-") as place:
        settings = Path(place) / "kinto.ini"
        settings.write_text(KINTO.format(url=postgresql.url, secret=uuid4().hex))
        (Path(place) / "kinto_wsgi.py").write_text(
            f"from pyramid.paster import get_app\n\napplication = get_app({str(settings)!r})\n"
        )
        _run([f"{directory}/kinto/bin/kinto", "migrate", "--ini", str(settings)])
        port = free_port()
        command = [f"{directory}/kinto/bin/gunicorn", "-w2", "-kgthread", "--threads=4", "--log-level=warning"]
        process = subprocess.Popen([*command, f"--bind=127.0.0.1:{port}", "kinto_wsgi:application"], cwd=place)
        with stopping(process):
            wait_until_it_answers(port, process, "/v1/")
            peers = [KintoPeer(port, each) for each in range(CLIENTS)]
            yield Contender(name="Kinto", peers=peers, roots=[process.pid, postgresql.process_id])


@contextmanager
def pouchdb(directory: Path) -> Iterator[Contender]:
    """PouchDB Server on LevelDB: one process, no sign-in."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-pouchdb-") as place:
        port = free_port()
        environment = {**os.environ, "NODE_PATH": str(directory / "node_modules"), "NODE_ENV": "production"}
        process = subprocess.Popen(["node", "-e", POUCHDB, "pouchdb", place, str(port)], cwd=place, env=environment)
        with stopping(process):
            wait_until_it_answers(port, process, "/")
            peers = [PouchDBPeer(port) for _ in range(CLIENTS)]
            yield Contender(name="PouchDB Server", peers=peers, roots=[process.pid])


@contextmanager
def limit() -> Iterator[Contender]:
    """PostgreSQL by itself."""
    with running_postgresql() as postgresql:
        peers = [LimitPeer(postgresql.url, each) for each in range(CLIENTS)]
        yield Contender(name="limit", peers=peers, roots=[postgresql.process_id])


def _run(command: list[str]) -> None:
    # What they print is shown only where they fail.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
