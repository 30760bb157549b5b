"""Every command that a page names can be given: in a block of shell, or in a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path

import click
import pytest
from flask import Flask
from flask_migrate.cli import db as db_group

from app.config import names_of_settings
from app.serving.commands import serve_command
from tests.guards.sources import ROOT
from tests.guards.test_docs import PAGES
from tests.support.typed import BLOCK, Typed, lines_of, typed

PAGES_WITH_COMMANDS = [*PAGES, *sorted((ROOT / "plugins").glob("*/README.md"))]

#: A command in a sentence.
INLINE = re.compile(r"`((?:fieldpost|flask|make|pip|python) [^`]+)`")

TARGETS = set(re.findall(r"^([a-z./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")

#: Looks at the arguments of a program, and yields those that it would not take.
Look = Callable[[Flask, Sequence[str]], Iterator[str]]


def of_fieldpost(app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    rest = list(arguments)
    command: click.Command = click.Group(commands={**app.cli.commands, "db": db_group, "serve": serve_command})
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if isinstance(command, click.Group) and "make" in command.commands:
        # `backup TARGET`
        command = command.commands["make"]
    elif isinstance(command, click.Group):
        yield from (word for word in rest[:1] if word != "…")
    options = {option for parameter in command.params for option in parameter.opts}
    yield from (word for word in rest if word.startswith("-") and word.partition("=")[0] not in options)


def of_flask(app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    if tuple(arguments[:2]) == ("--app", "wsgi"):
        return of_fieldpost(app, arguments[2:])
    return iter(["its application is missing: say `fieldpost`"])


def of_make(_app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    return (word for word in arguments if "=" not in word and word not in TARGETS)


def of_pip(_app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    for word in arguments:
        extra = re.fullmatch(r"(?:fieldpost|\.)\[(.+)\]", word)
        if extra is not None and extra[1] not in SETUP["options.extras_require"]:
            yield word
        if word.startswith("./") and not (ROOT / word).is_dir():
            yield word


def of_python(_app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    script, *rest = arguments
    if script.endswith(".py"):
        source = (ROOT / script).read_text()
        yield from (word for word in rest if word.startswith("--") and f'"{word}"' not in source)


def of_export(_app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    known = {*names_of_settings()}
    names = [word.partition("=")[0] for word in arguments]
    return (name for name in names if name not in known and not name.startswith("AWS_"))


def of_podman(app: Flask, arguments: Sequence[str]) -> Iterator[str]:
    # The name of the program, or of the image or the service whose program it is.
    if "fieldpost" not in arguments or "build" in arguments:
        return iter(())
    before = len(arguments) - arguments[::-1].index("fieldpost")
    return of_fieldpost(app, arguments[before:])


#: The programs whose commands are looked at. Others take several lines, or are somebody else's.
LOOKS: dict[str, Look] = {
    "fieldpost": of_fieldpost,
    "flask": of_flask,
    "make": of_make,
    "pip": of_pip,
    "python": of_python,
    "export": of_export,
    "podman": of_podman,
}


def program_of(command: str) -> str:
    """The program without its directory."""
    return command.split()[0].rpartition("/")[2]


def commands_on(page: Path) -> list[Typed]:
    text = page.read_text()
    lines = [line for block in BLOCK.findall(text) for line in lines_of(block)] + INLINE.findall(BLOCK.sub("", text))
    return [typed(line) for line in lines if program_of(line) in LOOKS]


@pytest.mark.database("sqlite")
def test_every_command_on_a_page_can_be_given(app: Flask) -> None:
    faults = []
    for page in PAGES_WITH_COMMANDS:
        for command in commands_on(page):
            found = list(LOOKS[program_of(str(command))](app, command.words[1:]))
            faults += [f"{page.name}: {command}: {found}"] if found else []
    assert faults == []
