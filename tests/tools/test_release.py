"""`make release` makes a commit, a tag and the files in `dist/`, or changes nothing at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NOT_TESTED
from tests.guards.sources import ROOT
from tools.release import DISTRIBUTIONS, Refused, release, unreleased

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason=f"{NOT_TESTED}releases. There is no git here.")

#: What a release reads and writes.
FILES = [".gitignore", "constraints.txt", *(f"{directory}/setup.cfg" for directory in DISTRIBUTIONS.values())]
CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Fixed\n\n- A fault.\n\n## 0.2.0 - 2026-01-31\n\n- The beginning.\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed checkout with the project's own metadata at version 0.2.0, and a changelog with one change."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "Anna")
        monkeypatch.setenv(f"{name}_EMAIL", "anna@example.com")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(re.sub(r"(?m)^version = .+$", "version = 0.2.0", (ROOT / name).read_text()))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/changelog.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=tree, check=True, capture_output=True, text=True).stdout.strip()


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "Work")


def state(tree: Path) -> tuple[str, ...]:
    """All that a failed release must leave alone."""
    log, tags = git(tree, "log", "--format=%H", "HEAD"), git(tree, "tag")
    return log, tags, git(tree, "status", "--porcelain", "--ignored"), git(tree, "worktree", "list")


def make(tree: Path, version: str, dist: Path) -> None:
    """Stands for the builds: one file with the version that the tree has."""
    dist.mkdir()
    (dist / f"fieldpost-{version}.whl").write_text((tree / "setup.cfg").read_text())


def refused(tree: Path, version: str = "0.3.0") -> str:
    before = state(tree)
    with pytest.raises(Refused) as refusal:
        release(tree, version, make)
    assert state(tree) == before
    return str(refusal.value)


def test_a_release_has_its_version_everywhere_and_its_date_in_the_changelog(tree: Path) -> None:
    release(tree, "0.3.0", make)
    for directory in DISTRIBUTIONS.values():
        assert "\nversion = 0.3.0\n" in (tree / directory / "setup.cfg").read_text()
    changelog = (tree / "docs/changelog.md").read_text()
    assert re.search(r"## Unreleased\n\n## 0\.3\.0 - \d{4}-\d\d-\d\d\n\n### Fixed\n\n- A fault\.\n", changelog)
    assert unreleased(changelog).strip() == ""


def test_a_release_is_one_commit_with_a_tag_and_a_clean_checkout(tree: Path) -> None:
    release(tree, "0.3.0", make)
    assert git(tree, "log", "--format=%s").splitlines() == ["Fieldpost 0.3.0 is released", "Work"]
    assert git(tree, "rev-parse", "v0.3.0^{commit}") == git(tree, "rev-parse", "HEAD")
    assert git(tree, "status", "--porcelain") == ""
    assert len(git(tree, "worktree", "list").splitlines()) == 1


def test_the_files_are_built_from_the_release_and_their_checksums_fit(tree: Path) -> None:
    release(tree, "0.3.0", make)
    wheel = tree / "dist/fieldpost-0.3.0.whl"
    assert "\nversion = 0.3.0\n" in wheel.read_text()
    sums = (tree / "dist/SHA256SUMS").read_text()
    assert sums == f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  fieldpost-0.3.0.whl\n"


def test_the_first_release_may_have_the_version_that_was_prepared(tree: Path) -> None:
    (tree / "docs/changelog.md").write_text("## Unreleased\n\n- The beginning.\n")
    commit(tree)
    release(tree, "0.2.0", make)
    assert git(tree, "tag") == "v0.2.0"


def test_a_checkout_with_changes_is_refused(tree: Path) -> None:
    (tree / "notes.txt").touch()
    assert "notes.txt" in refused(tree)


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "1.2.3rc1", "1.2.3; true"])
def test_other_versions_than_three_numbers_are_refused(tree: Path, version: str) -> None:
    assert "VERSION=1.2.3" in refused(tree, version)


@pytest.mark.parametrize("version", ["0.2.0", "0.1.9"])
def test_a_version_that_is_not_newer_than_the_last_is_refused(tree: Path, version: str) -> None:
    assert f"{version} is not newer than 0.2.0" in refused(tree, version)


def test_a_tag_counts_as_a_release_as_a_heading_does(tree: Path) -> None:
    git(tree, "tag", "v0.10.0")
    assert "0.9.0 is not newer than 0.10.0" in refused(tree, "0.9.0")


def test_a_version_older_than_the_prepared_one_is_refused(tree: Path) -> None:
    file = tree / "setup.cfg"
    file.write_text(file.read_text().replace("version = 0.2.0", "version = 1.0.0"))
    commit(tree)
    assert "0.3.0 is older than 1.0.0" in refused(tree)


def test_nothing_unreleased_is_refused(tree: Path) -> None:
    file = tree / "docs/changelog.md"
    file.write_text(CHANGELOG.replace("- A fault.\n", ""))
    commit(tree)
    assert "lists no change" in refused(tree)


def test_files_of_an_earlier_build_are_refused_and_stay(tree: Path) -> None:
    (tree / "dist").mkdir()
    (tree / "dist/fieldpost-0.2.0.whl").touch()
    assert "rm -r dist" in refused(tree)
    assert (tree / "dist/fieldpost-0.2.0.whl").exists()


@pytest.mark.parametrize("directory", DISTRIBUTIONS.values())
def test_a_requirement_that_the_constraints_do_not_fit_is_refused(tree: Path, directory: str) -> None:
    file = tree / directory / "setup.cfg"
    file.write_text(file.read_text().replace("install_requires =\n", "install_requires =\n    pillow>=999\n", 1))
    commit(tree)
    assert "pillow>=999" in refused(tree)


def test_a_build_that_fails_leaves_everything_as_it_was(tree: Path) -> None:
    def fail(tree: Path, version: str, dist: Path) -> None:
        make(tree, version, dist)
        raise OSError("no package index")

    before = state(tree)
    with pytest.raises(OSError, match="no package index"):
        release(tree, "0.3.0", fail)
    assert state(tree) == before


def test_a_commit_in_the_meantime_leaves_no_tag_and_no_files(tree: Path) -> None:
    def somebody_commits(copy: Path, version: str, dist: Path) -> None:
        make(copy, version, dist)
        (tree / "notes.txt").touch()
        commit(tree)

    with pytest.raises(subprocess.CalledProcessError):
        release(tree, "0.3.0", somebody_commits)
    assert git(tree, "log", "--format=%s").splitlines() == ["Work", "Work"]
    assert git(tree, "tag") == ""
    assert not (tree / "dist").exists()


def test_a_tag_that_exists_elsewhere_leaves_no_files_and_stays(tree: Path) -> None:
    git(tree, "tag", "v0.3.0", git(tree, "commit-tree", "HEAD^{tree}", "-m", "Elsewhere"))
    before = state(tree)
    with pytest.raises(subprocess.CalledProcessError):
        release(tree, "0.3.0", make)
    assert state(tree) == before


def test_the_program_says_in_a_sentence_why_it_refuses() -> None:
    command = (sys.executable, str(ROOT / "tools/release.py"), "")
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr == "'' is no version of three numbers: call make release VERSION=1.2.3\n"
