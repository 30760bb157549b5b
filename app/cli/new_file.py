"""A file that a command makes: it overwrites nothing, and is whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from app.core.private_files import create_private


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """A new file that only its owner may read. After an error in the block nothing of it is left.

    Raises `click.ClickException` if it is there already, or cannot be written.
    """
    try:
        with create_private(target) as file:
            yield file
    except FileExistsError:
        raise click.ClickException(f"{target} is there already. Name a file that is not, or remove it.") from None
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise click.ClickException(f"{target} cannot be written: {error.strerror}. Nothing was kept.") from None
        raise
