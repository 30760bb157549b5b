"""How long `fieldpost move` takes.

From SQLite to PostgreSQL with as many form fills as said, each with an operation and a change in the ledger, and back
into another SQLite file; and photos of 4 MiB from the data directory to an object storage, which is rclone on this
machine.

    python benchmarks/move.py                                   100 000 form fills, 1 GiB of photos
    python benchmarks/move.py --form-fills 800 --photos 2       small and quick
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from growth import fill
from load import CLIENTS, RECORDS
from server import Server, free_port, run_program, running_postgresql, set_up, stopping

from app.attachments.storage.local import LocalStorage
from app.config import load_settings

PHOTO = 4 * 1024 * 1024

BUCKET = "photos"


def fieldpost(variables: Mapping[str, str], *arguments: str) -> float:
    """Run a command; returns its seconds, the start of the process included."""
    began = time.monotonic()
    run_program(variables, *arguments)
    return time.monotonic() - began


def prepare(variables: Mapping[str, str], form_fills: int, photos: int) -> None:
    """A SQLite database with so many form fills, and a storage with so many photos."""
    set_up(variables)
    url, directory = load_settings(variables).database_url, Path(variables["FIELDPOST_DATA_DIR"])
    server = Server(port=0, process_id=0, database_url=url, data_directory=directory)
    fill(server, max(1, form_fills // (CLIENTS * RECORDS)))
    storage = LocalStorage(directory / "attachments")
    for number in range(photos):
        storage.put(f"{number % 256:02x}/{number:08x}", os.urandom(PHOTO))


@contextmanager
def bucket(directory: Path) -> Iterator[dict[str, str]]:
    """The settings of an object storage that keeps its files in this directory."""
    (directory / BUCKET).mkdir(parents=True)
    port, key, secret = free_port(), "benchmark", secrets.token_hex(16)
    program = str(Path(sys.executable).with_name("rclone"))
    options = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}", "--config", "/dev/null"]
    command = [program, "serve", "s3", *options, str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with stopping(process):
        time.sleep(2)
        yield {
            "FIELDPOST_S3_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "eu-central-1",
        }


def measure(directory: Path, form_fills: int, photos: int) -> None:
    """Print the seconds of each way."""
    variables = {
        **os.environ,
        "FIELDPOST_DATA_DIR": str(directory / "data"),
        "DATABASE_URL": "",
        "FIELDPOST_SECRET_KEY": secrets.token_urlsafe(48),
    }
    prepare(variables, form_fills, photos)
    with running_postgresql() as postgresql:
        there = fieldpost(variables, "move", "--to", postgresql.url)
        print(f"{form_fills:,} form fills from SQLite to PostgreSQL: {there:.1f} s", flush=True)
        back = fieldpost(
            {**variables, "DATABASE_URL": postgresql.url}, "move", "--to", f"sqlite:///{directory}/back.sqlite3"
        )
        print(f"and back: {back:.1f} s", flush=True)
    with bucket(directory / "bucket") as settings:
        seconds = fieldpost({**variables, **settings}, "move", "--files", f"s3://{BUCKET}/fieldpost")
    print(f"{photos} photos, {photos * PHOTO / 2**20:,.0f} MiB, to an object storage: {seconds:.1f} s", flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form-fills", type=int, default=100_000)
    parser.add_argument("--photos", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fieldpost-move-") as directory:
        measure(Path(directory), options.form_fills, options.photos)


if __name__ == "__main__":
    main()
