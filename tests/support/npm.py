"""Single packages of npm's registry, for tests that need no more of Node.js."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.node import NODE, NPM, SHARE

#: Name and release -> the SHA-256 of its archive.
PACKAGES = {
    "@sparticuz/chromium@153.0.0": "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0",
    "axe-core@4.14.1": "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
}


class NotFetchedError(Exception):
    """npm's registry did not give a package, or gave another one than we know."""


def npm_package(package: str) -> Path:
    """The unpacked files of one of `PACKAGES`, fetched if they are not there yet. Raises `NotFetchedError`."""
    directory = SHARE / package.strip("@").replace("/", "-")
    with alone(directory.name):
        if not directory.exists():
            partial = directory.with_suffix(".partial")
            with tarfile.open(_archive(package)) as archive:
                archive.extractall(partial, filter="data")
            (partial / "package").rename(directory)
            partial.rmdir()
    return directory


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Only one test process at a time is in a block of this name; the others wait for it."""
    SHARE.mkdir(exist_ok=True)
    with (SHARE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _archive(package: str) -> Path:
    command = [NODE, NPM, "pack", "--silent", "--pack-destination", str(SHARE), package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise NotFetchedError(f"{package} could not be fetched from npm's registry: {done.stderr.strip()}")
    archive = SHARE / done.stdout.strip()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != PACKAGES[package]:
        archive.unlink()
        raise NotFetchedError(f"{package} is another archive than the tests know: its SHA-256 is {digest}")
    return archive
