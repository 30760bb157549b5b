"""Errors of the application as the command line tells them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.errors import RequestError, StorageError


@contextmanager
def told() -> Iterator[None]:
    """Turn a refusal into one sentence on standard error and exit code 1."""
    try:
        yield
    except RequestError as error:
        details = error.extra.get("details", {})
        reasons = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in details.items())
        raise click.ClickException(f"{error.error}. {reasons or error.message}") from None
    except StorageError as error:
        raise click.ClickException(str(error)) from None
