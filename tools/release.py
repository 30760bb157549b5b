"""`make release VERSION=1.2.3` makes a release: its version and changelog, its files in `dist/`, a commit and a tag.

All work happens in a worktree of its own, so that only committed files are built, and the checkout changes at the very
end or not at all. Nothing is pushed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
#: What a release consists of: the name of each distribution -> its directory. All have the same version.
DISTRIBUTIONS = {"fieldpost": ".", "fieldpost-console": "plugins/console"}
CHANGELOG = "docs/changelog.md"
UNRELEASED = "## Unreleased\n"
#: They work in an environment of their own, which is removed afterwards.
BUILD_TOOLS = ("build>=1.2,<2", "cyclonedx-bom>=7,<8")


class Refused(Exception):
    """The release cannot be made. The message says what is in the way, and what to do about it."""


def release(tree: Path, version: str, make: Callable[[Path, str, Path], None]) -> None:
    """Release the checkout `tree` as `version`; `make(tree, version, dist)` writes the files to publish into `dist`.

    Raises `Refused`, `CalledProcessError` if a command failed, and whatever error `make` raises. After any of them the
    checkout, its tags and `dist/` are as they were before.
    """
    refuse_unready(tree, version)
    with worktree(tree) as copy:
        write_version(copy, version)
        dist = copy / "dist"
        make(copy, version, dist)
        write_checksums(dist)
        run("git", "commit", "--quiet", "--all", "--message", f"Fieldpost {version} is released", cwd=copy)
        publish(tree, version, dist, commit=run("git", "rev-parse", "HEAD", cwd=copy))


def publish(tree: Path, version: str, dist: Path, commit: str) -> None:
    """Give the checkout the files, the tag and the commit, or none of them."""
    git = partial(run, "git", cwd=tree)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, tree / "dist", ignore_errors=True)
        shutil.copytree(dist, tree / "dist", dirs_exist_ok=True)
        git("tag", "--annotate", "--message", f"Fieldpost {version}", f"v{version}", commit)
        undo.callback(git, "tag", "--delete", f"v{version}")
        # It refuses if somebody has committed, or edited the same files, in the meantime.
        git("merge", "--quiet", "--ff-only", commit)
        undo.pop_all()


def refuse_unready(tree: Path, version: str) -> None:
    """Raise `Refused` unless the checkout can be released as `version`."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(f"{version!r} is no version of three numbers: call make release VERSION=1.2.3")
    if changes := run("git", "status", "--porcelain", cwd=tree):
        raise Refused(f"The checkout has changes. Commit or remove them first:\n{changes}")
    if (tree / "dist").exists() and any((tree / "dist").iterdir()):
        raise Refused("dist/ has files of an earlier build. Remove them first: rm -r dist")
    refuse_old(tree, Version(version))
    if not re.search(r"^- ", unreleased(changelog(tree)), re.MULTILINE):
        raise Refused(f"{CHANGELOG} lists no change under {UNRELEASED.strip()!r}. Write there what has changed.")
    if missing := unpinned(tree):
        raise Refused(f"constraints.txt has no release that fits {', '.join(missing)}. Run make constraints first.")


def refuse_old(tree: Path, version: Version) -> None:
    """Raise `Refused` unless `version` is newer than every release, and not older than the one in preparation."""
    headings = re.findall(r"^## (\d+\.\d+\.\d+)\b", changelog(tree), re.MULTILINE)
    tags = re.findall(r"^v(\d+\.\d+\.\d+)$", run("git", "tag", "--merged", "HEAD", cwd=tree), re.MULTILINE)
    newest = max(map(Version, headings + tags), default=None)
    if newest and version <= newest:
        raise Refused(f"{version} is not newer than {newest}, which has been released. Name a later version.")
    prepared = setup(tree)["metadata"]["version"]
    if version < Version(prepared):
        raise Refused(f"{version} is older than {prepared}, which setup.cfg states. Name that version, or a later one.")


def unpinned(tree: Path) -> list[str]:
    """The requirements of all distributions, extras included, for which `constraints.txt` has no fitting release."""
    lines = (tree / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(name): pin for name, equals, pin in (line.partition("==") for line in lines) if equals}
    return [
        str(requirement)
        for requirement in requirements(tree)
        if pins.get(canonicalize_name(requirement.name), "0") not in requirement.specifier
    ]


def requirements(tree: Path) -> Iterator[Requirement]:
    """Everything that the distributions ask for, except each other."""
    for directory in DISTRIBUTIONS.values():
        config = setup(tree, directory)
        extras = config["options.extras_require"].values() if config.has_section("options.extras_require") else ()
        for line in "\n".join([config["options"]["install_requires"], *extras]).splitlines():
            if line.strip() and line.strip() not in DISTRIBUTIONS:
                yield Requirement(line)


def setup(tree: Path, directory: str = ".") -> ConfigParser:
    """The `setup.cfg` of a distribution."""
    config = ConfigParser()
    config.read_string((tree / directory / "setup.cfg").read_text())
    return config


def changelog(tree: Path) -> str:
    """The text of the changelog."""
    return (tree / CHANGELOG).read_text()


def unreleased(text: str) -> str:
    """The section of a changelog that belongs to no release yet."""
    return text.partition(UNRELEASED)[2].partition("\n## ")[0]


def write_version(tree: Path, version: str) -> None:
    """Write the version into each `setup.cfg`, and with today's date (UTC) over the unreleased changes."""
    for directory in DISTRIBUTIONS.values():
        file = tree / directory / "setup.cfg"
        file.write_text(
            re.sub(r"^version = .+$", f"version = {version}", file.read_text(), count=1, flags=re.MULTILINE)
        )
    heading = f"{UNRELEASED}\n## {version} - {datetime.now(UTC):%Y-%m-%d}\n"
    (tree / CHANGELOG).write_text(changelog(tree).replace(UNRELEASED, heading, 1))


def make_files(tree: Path, version: str, dist: Path) -> None:
    """Write a wheel and an sdist of each distribution, and the SBOM, into `dist`. A package index must be in reach."""
    with TemporaryDirectory() as place:
        print("Building the files; this takes some minutes without a cache of packages.", flush=True)
        tools = environment(Path(place))
        run(tools / "pip", "install", "--quiet", *BUILD_TOOLS, cwd=tree)
        for directory in DISTRIBUTIONS.values():
            build(tools, tree, tree / directory, dist)
        write_components(tools, tree, version, dist)


def build(tools: Path, tree: Path, directory: Path, dist: Path) -> None:
    """Build an sdist, and from it the wheel, with the setuptools that `constraints.txt` names."""
    constraints = f"PIP_CONSTRAINT={tree / 'constraints.txt'}"
    run("env", constraints, tools / "python", "-m", "build", "--outdir", dist, directory, cwd=tree)


def write_components(tools: Path, tree: Path, version: str, dist: Path) -> None:
    """Write the SBOM (CycloneDX) of an environment that has the wheels and the releases of `constraints.txt`."""
    with TemporaryDirectory() as place:
        python = environment(Path(place), "--without-pip") / "python"
        install = partial(run, tools / "pip", "--python", python, "install", "--quiet", cwd=tree)
        # By name, because the SBOM would give the path of a file; and no index has this version yet.
        ours = [f"{name}=={version}" for name in DISTRIBUTIONS]
        install("--no-index", "--no-deps", "--find-links", dist, *ours)
        install("--constraint", tree / "constraints.txt", "fieldpost[redis,s3]", "fieldpost-console")
        output = dist / f"fieldpost-{version}.cdx.json"
        run(tools / "cyclonedx-py", "environment", "--output-reproducible", "--output-file", output, python, cwd=tree)


def write_checksums(dist: Path) -> None:
    """Write `SHA256SUMS`, as `sha256sum --check` reads it."""
    files = sorted(dist.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (dist / "SHA256SUMS").write_text("".join(lines))


def environment(place: Path, *options: str) -> Path:
    """Make a virtual environment, and return the directory of its programs."""
    run(sys.executable, "-m", "venv", *options, place, cwd=ROOT)
    return place / "bin"


@contextmanager
def worktree(tree: Path) -> Iterator[Path]:
    """A second checkout of the same commit, which is removed at the end."""
    with TemporaryDirectory() as place:
        copy = Path(place, "tree")
        run("git", "worktree", "add", "--quiet", "--detach", copy, cwd=tree)
        try:
            yield copy
        finally:
            run("git", "worktree", "remove", "--force", copy, cwd=tree)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return its output. Raises `CalledProcessError`, which has the output, if it fails."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.rstrip()


def main() -> None:
    """Release this checkout as the version of the first argument."""
    version = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        release(ROOT, version, make_files)
    except Refused as refusal:
        sys.exit(str(refusal))
    except subprocess.CalledProcessError as error:
        print(error.stdout, error.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"No release was made, and the checkout is as it was. This failed: {' '.join(map(str, error.cmd))}")
    print(f"Fieldpost {version} is committed and tagged, and its files are in dist/. Nothing was pushed; to do that:")
    print(f"git push --atomic origin HEAD v{version}")


if __name__ == "__main__":
    main()
