"""Distributions as strangers write them, installed with pip into fresh environments."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.support.servers import ROOT

#: Distributions, not tests of Fieldpost.
collect_ignore = ["broken", "second_version"]

HERE = Path(__file__).parent
EQUIPMENT = ROOT / "examples" / "equipment"


class Environment:
    """A fresh environment that borrows what Fieldpost needs, so that only the distribution has to be installed.

    It borrows Fieldpost itself, too, unless it is to be installed.
    """

    def __init__(self, directory: Path, *, borrows_fieldpost: bool = True) -> None:
        venv.create(directory, symlinks=True)
        self.python = directory / "bin" / "python"
        self.site = next((directory / "lib").glob("python*")) / "site-packages"
        borrowed = sysconfig.get_path("purelib")
        # A plain path leaves out what pip notes there about Fieldpost's source.
        lines = f"import site; site.addsitedir({borrowed!r})\n{ROOT}\n" if borrows_fieldpost else f"{borrowed}\n"
        (self.site / "borrowed.pth").write_text(lines)

    def pip(self, *arguments: str, cwd: Path | None = None) -> None:
        """Run pip for this environment; nothing is fetched from anywhere."""
        # It is among what the environment borrows. With `--python` another pip would start this one.
        command = [str(self.python), "-m", "pip", "--quiet", *arguments]
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)

    def install(self, *wheels: Path) -> None:
        """Install wheels, in place of other versions of them."""
        self.pip("install", "--no-deps", "--no-index", "--force-reinstall", *map(str, wheels))

    def place(self, source: Path) -> None:
        """Put a distribution in as its `setup.cfg` says and pip would, which takes much longer."""
        told = ConfigParser()
        told.optionxform = str  # type: ignore[assignment,method-assign]
        told.read(source / "setup.cfg")
        name, version = told["metadata"]["name"], told["metadata"]["version"]
        for package in source.glob("*/__init__.py"):
            shutil.copytree(package.parent, self.site / package.parent.name)
        metadata = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = [f"[{group}]\n{entries}\n" for group, entries in told["options.entry_points"].items()]
        (metadata / "entry_points.txt").write_text("".join(groups))


#: What `pip wheel` does in a directory of ours; it would start two processes more.
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def build(source: Path, directory: Path) -> Path:
    """A wheel of a distribution's source."""
    command = [sys.executable, "-c", BUILD, str(directory)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (found,) = directory.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def first_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1.0 of the distribution."""
    source = shutil.copytree(EQUIPMENT, tmp_path_factory.mktemp("first") / "source")
    return build(source, tmp_path_factory.mktemp("first_wheel"))


@pytest.fixture(scope="session")
def second_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2.0: a column more, a key renamed, a type removed."""
    source = shutil.copytree(EQUIPMENT, tmp_path_factory.mktemp("second") / "source")
    shutil.copytree(HERE / "second_version", source, dirs_exist_ok=True)
    return build(source, tmp_path_factory.mktemp("second_wheel"))


@pytest.fixture
def fresh(tmp_path: Path) -> Environment:
    """An environment of this test alone."""
    return Environment(tmp_path / "environment")
