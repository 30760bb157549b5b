"""`fieldpost storage check|gc`: rows without bytes, bytes without rows, and the removal of bytes that nobody needs."""

from __future__ import annotations

import sys

import click

from app.attachments import upkeep
from app.cli.data import with_data
from app.cli.failures import reported_failures
from app.core.host.registry import current_registry


@click.group("storage")
def storage_group() -> None:
    """Look after the stored photos and signatures."""


@storage_group.command("check")
@click.option("--content", is_flag=True, help="Read all bytes, and compare them with the SHA-256 of their upload.")
@with_data
def check_command(content: bool) -> None:
    """Compare storage and database. Changes nothing; exits with 1 if bytes are missing or damaged."""
    with reported_failures():
        findings = upkeep.check(reads_content=content)
    click.echo(f"{findings.objects} objects, {findings.attachments} attachments")
    for sentence, names in (
        ("without a row (`storage gc` removes it once it is old enough)", findings.orphans),
        ("whose bytes are missing", findings.missing),
        ("whose bytes have another size", findings.damaged),
        ("whose bytes are not those that were sent", findings.altered),
    ):
        for name in names:
            click.echo(f"{name}: {sentence}")
    if findings.missing or findings.damaged or findings.altered:
        sys.exit(1)


@storage_group.command("gc")
@with_data
def gc_command() -> None:
    """Remove objects without a row, and the bytes of photos deleted long ago. Rows are never removed."""
    with reported_failures():
        for key in upkeep.collect():
            click.echo(f"removed {key}")
        for plugin in current_registry().plugins.values():
            if plugin.collect is not None:
                click.echo(f"{plugin.name}: removed {plugin.collect()}")
