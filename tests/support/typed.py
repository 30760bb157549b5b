"""Commands as pages tell to type them: each line of a block of shell, without its comment."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)

#: The times at the beginning of a line for cron.
CRON = re.compile(r"^([\d*]+ +){5}")

#: The directory in which a page may name the program.
INSTALLED = "/opt/fieldpost/bin/fieldpost"


@dataclass(frozen=True)
class Typed:
    """A command and its arguments, with the files that it reads and writes by `<` and `>`."""

    words: tuple[str, ...]
    reads: str = ""
    writes: str = ""

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks_of(page: str) -> list[list[Typed]]:
    """The commands of each block of a page. A command that takes several lines is not read."""
    return [[typed(line) for line in lines_of(block)] for block in BLOCK.findall(page)]


def lines_of(block: str) -> list[str]:
    """The lines that have more than a comment."""
    return [line for line in block.splitlines() if line.strip() and not line.startswith("#")]


def typed(line: str) -> Typed:
    """One command. Raises `ValueError` if it ends on a later line."""
    lexer = shlex.shlex(CRON.sub("", line), posix=True, punctuation_chars="<>")
    lexer.whitespace_split = True
    words, files = [], {"<": "", ">": ""}
    for word in lexer:
        if word in files:
            files[word] = next(lexer)
        else:
            words.append("fieldpost" if word == INSTALLED else word)
    return Typed(tuple(words), files["<"], files[">"])
