"""A real server that loses nothing acknowledged: on a full disk, and when its SQLite file is replaced or damaged."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from tests.serving.test_gunicorn import Device, edit
from tests.support import servers
from tests.support.databases import SECRET_KEY
from tests.support.demo import copy_demo
from tests.support.forks import Forked, Program
from tests.support.pictures import jpeg
from tests.support.servers import ROOT, environment_of, gunicorn, start, stop

WORKERS, WRITERS = 2, 4

#: The size of the small disk in bytes: the database, temporary files and a little more.
SMALL = 16 * 1024 * 1024

TOKEN = "a token for the numbers, and long enough"


@dataclass
class Server:
    """A running server, its database's file, and a device."""

    path: Path
    environment: dict[str, str]
    device: Device
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("disk")
    copy_demo(directory)
    environment = environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY, WEB_CONCURRENCY=str(WORKERS))
    process = start(environment)
    yield Server(directory / "fieldpost.sqlite3", environment, Device(environment), process)
    if process.poll() is None:
        stop(process)


#: Joins another process where it sees its disk, and becomes a server. The arguments: that process, and the directory.
ENTER = """
import ctypes, os, runpy, sys, tempfile
holder, directory = sys.argv[1:]
system = ctypes.CDLL(None, use_errno=True)
for place in [os.open(f"/proc/{holder}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")]:
    if system.setns(place, 0):
        raise OSError(ctypes.get_errno(), "The disk of another process cannot be entered.")
    os.close(place)
os.chdir(directory)
tempfile.tempdir = None
sys.argv = ["gunicorn", "--log-level=warning", "wsgi:app"]
runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own with room for `SMALL` bytes, mounted for the process `holder` and those that join it."""

    path: Path
    holder: int

    @contextmanager
    def serving(self, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A server that runs where the disk is mounted."""
        process = Forked(Program(["-c", ENTER, str(self.holder), str(ROOT)], environment))
        try:
            servers.wait_for(f"http://127.0.0.1:{environment['PORT']}", process)
            yield process
        finally:
            stop(process)

    @property
    def seen(self) -> Path:
        """The disk's path for all other processes."""
        return Path(f"/proc/{self.holder}/root{self.path}")


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    place = tmp_path_factory.mktemp("small")
    script = f"mount -t tmpfs -o size={SMALL} small {place} && echo mounted && exec sleep 600"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "mounted\n":
            pytest.skip("NOT TESTED: a full disk. The test mounts a tmpfs: allow user namespaces, or run it as root.")
        yield SmallDisk(place, holder.pid)
        holder.kill()


def fill(disk: Path) -> Path:
    """Leave no room on a disk; the file that takes it."""
    path = disk / "fill"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def pids(process: subprocess.Popen[bytes]) -> set[str]:
    """The workers of a server."""
    return set(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())


def is_ready(worker: str) -> bool:
    """Whether a worker has loaded the application."""
    return any(Path(tempfile.gettempdir()).glob(f"fieldpost-metrics-*/ready-{worker}"))


def summed(disk: Path) -> set[str]:
    """The kinds of numbers of which those of ended workers are in one file."""
    return {path.name.removesuffix("_ended.db") for path in disk.glob("tmp/fieldpost-metrics-*/*_ended.db")}


def test_on_a_full_disk_the_server_answers_503_and_is_back_by_itself(small_disk: SmallDisk, tmp_path: Path) -> None:
    copy_demo(small_disk.seen / "data")
    (small_disk.seen / "tmp").mkdir()
    environment = environment_of(
        small_disk.path / "data",
        FIELDPOST_SECRET_KEY=SECRET_KEY,
        FIELDPOST_METRICS_TOKEN=TOKEN,
        WEB_CONCURRENCY=str(WORKERS),
        TMPDIR=str(small_disk.path / "tmp"),
    )
    with small_disk.serving(environment) as process:
        # The device is of a process outside, for which the directory is at another place.
        device, load = Device({**environment, "FIELDPOST_DATA_DIR": str(small_disk.seen / "data")}), Load()
        assert send_one(device, load) == 200
        workers, full = pids(process), fill(small_disk.seen)
        # Many routes and statuses, each of which is a new number.
        for path in ("/readyz", "/metrics", "/api/v1/sync/status", "/api/v1/inspections", "/api/v1/none"):
            assert device.get(path)[0] in {200, 401, 404, 503}
        photo = {"form_fill_id": "1", "field_name": "Riser_Photo", "photo": jpeg() + bytes(600_000)}
        for _ in range(8):
            assert device.send(photo)[0] == 503
            wait_for(lambda: send_one(device, load) == 503, "the log never needs room")
        assert device.get("/readyz")[0] == 503
        os.kill(int(workers.pop()), signal.SIGKILL)
        wait_for(lambda: len(pids(process) - workers) == 1, "no worker is started on a full disk")
        for _ in range(8):
            assert device.send(photo)[0] == 503
        full.unlink()
        wait_for(lambda: device.get("/readyz")[0] == 200, "the server does not come back")
        assert send_one(device, load) == 200
        assert device.send(photo)[0] == 200
        assert load.statuses == {200, 503}
        # No worker has ended but the one that was killed. Its numbers are summed when another one starts.
        assert workers < pids(process)
        os.kill(int(workers.pop()), signal.SIGKILL)
        wait_for(lambda: {"counter", "histogram"} == summed(small_disk.seen), "numbers of ended workers are not summed")
    # A worker that was killed may have kept others from emptying the log at the end.
    for file in (small_disk.seen / "data").glob("fieldpost.sqlite3*"):
        shutil.copy(file, tmp_path)
    assert load.acknowledged.keys() <= recorded(tmp_path / "fieldpost.sqlite3")


@dataclass
class Load:
    """What several devices have sent at full speed."""

    #: local_id -> when it was sent, of the acknowledged batches, on the monotonic clock.
    acknowledged: dict[str, float] = field(default_factory=dict)
    #: Every status that was answered; None: the connection was closed.
    statuses: set[int | None] = field(default_factory=set)

    def sent_after(self, moment: float) -> set[str]:
        """The acknowledged batches that were sent after a moment."""
        return {local_id for local_id, sent in self.acknowledged.items() if sent > moment}


def send_one(device: Device, load: Load) -> int | None:
    """Send one edit and note its answer."""
    local_id, sent = uuid4().hex, time.monotonic()
    status: int | None
    try:
        status, answer = device.call("/api/v1/sync", {"sync_items": [edit(local_id, local_id=local_id)]})
    except (OSError, http.client.HTTPException):
        status = None
    load.statuses.add(status)
    if status == 200 and answer["results"]["success"]:
        load.acknowledged[local_id] = sent
    return status


@contextmanager
def under_load(device: Device) -> Iterator[Load]:
    """Several writers, until the block ends."""
    load, is_over = Load(), threading.Event()

    def write() -> None:
        while not is_over.is_set():
            if send_one(device, load) != 200:
                time.sleep(0.02)

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        is_over.set()
        for thread in threads:
            thread.join(timeout=30)


def wait_for(condition: Callable[[], bool], sentence: str, seen: object = "") -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{sentence} {seen}"
        time.sleep(0.02)


def recorded(path: Path) -> set[str]:
    """The batches in the file, which must be sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {local_id for (local_id,) in connection.execute("SELECT local_id FROM ledger_operations")}


def test_after_the_file_was_replaced_all_that_is_acknowledged_is_in_the_new_one(server: Server) -> None:
    copy = server.path.with_name("copy")
    with closing(sqlite3.connect(server.path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with under_load(server.device) as load:
        wait_for(lambda: len(load.acknowledged) > 20, "nothing is acknowledged")
        copy.replace(server.path)
        replaced = time.monotonic()
        wait_for(lambda: len(load.sent_after(replaced)) > 20, "the server does not come back")
    assert load.statuses <= {200, 503, None}
    assert load.sent_after(replaced) <= recorded(server.path)
    assert server.device.get("/readyz")[0] == 200


def test_while_the_file_is_away_nothing_is_taken(server: Server) -> None:
    with under_load(server.device) as load:
        wait_for(lambda: len(load.acknowledged) > 20, "nothing is acknowledged")
        away = server.path.rename(server.path.with_name("away"))
        removed = time.monotonic()
        wait_for(lambda: 503 in load.statuses, "work is taken for a file that is gone")
        status, answer = server.device.get("/readyz")
        assert (status, answer["checks"]["database"]) == (503, "failed")
        (worker, *_) = pids(server.process)
        os.kill(int(worker), signal.SIGTERM)
        wait_for(lambda: len(pids(server.process) - {worker}) == WORKERS, "no other worker starts")
        wait_for(lambda: all(map(is_ready, pids(server.process))), "the new worker is not ready")
        assert not server.path.exists(), "a worker that starts makes no file"
        assert load.sent_after(removed) == set()
        away.rename(server.path)
        wait_for(lambda: bool(load.sent_after(removed)), "the server does not come back")
    assert load.statuses <= {200, 503}
    assert load.acknowledged.keys() <= recorded(server.path)


def test_a_damaged_file_takes_nothing_more_and_is_refused_at_the_next_start(server: Server) -> None:
    load = Load()
    # A connection that nobody else writes beside has all pages in its memory or in the log, and would read no file.
    with closing(sqlite3.connect(server.path)) as connection:
        (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not is_busy
    with server.path.open("r+b") as file:
        file.write(b"\xff" * server.path.stat().st_size)
    wait_for(lambda: send_one(server.device, load) == 503, "damage is not noticed", load.statuses)
    assert load.statuses <= {200, 503}
    wait_for(lambda: server.device.get("/readyz")[0] == 503, "the server stays ready")
    stop(server.process)
    again = gunicorn(server.environment)
    assert again.returncode != 0
    assert "restore a backup" in again.stderr
