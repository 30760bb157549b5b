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
    """The commands of each block of a page, none of which has a quotation of several lines."""
    return [[typed(line) for line in lines_of(block)] for block in BLOCK.findall(page)]


def lines_of(block: str) -> list[str]:
    """The lines that have more than a comment; one that ends in a backslash goes on."""
    lines = block.replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def typed(line: str) -> Typed:
    """One command. Raises `ValueError` if a quotation in it does not end."""
    lexer = shlex.shlex(CRON.sub("", line), posix=True, punctuation_chars="<>")
    lexer.whitespace_split = True
    words, files = [], {"<": "", ">": ""}
    for word in lexer:
        if word in files:
            files[word] = next(lexer)
        else:
            words.append("fieldpost" if word == INSTALLED else word)
    return Typed(tuple(words), files["<"], files[">"])
