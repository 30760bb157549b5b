"""Fieldpost itself as a wheel: which packages it installs, and that it finds its migrations there."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.outsider.conftest import Environment, build
from tests.support.servers import ROOT, environment_of

#: All that a wheel is made of.
SOURCES = ("app", "plugins", "migrations", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("fieldpost") / "source"
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    return build(source, tmp_path_factory.mktemp("fieldpost_wheel"))


def test_a_wheel_installs_two_packages_and_no_migrations_beside_them(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if not name.startswith("fieldpost-")}
    assert packages == {"app", "plugins"}
    shipped = {name.removeprefix("app/_migrations/") for name in names if name.startswith("app/_migrations/")}
    there = {str(path.relative_to(ROOT / "migrations")) for path in (ROOT / "migrations").rglob("*.*")}
    assert shipped == {name for name in there if not name.endswith(".pyc")}


def test_an_installed_wheel_migrates_a_database_far_from_its_source(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", borrows_fieldpost=False)
    environment.install(wheel)
    variables = environment_of(tmp_path / "data")

    def run(*arguments: str) -> str:
        command = [str(environment.python), *arguments]
        result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    print_migrations = "from app import create_app; print(create_app().extensions['migrate'].directory)"
    assert Path(run("-c", print_migrations).strip()).is_relative_to(tmp_path / "environment")
    flask = ("-m", "flask", "--app", "app:create_app")
    assert "fieldpost: at migration 0007" in run(*flask, "db", "upgrade")
    assert "0007 (head)" in run(*flask, "db", "current")
