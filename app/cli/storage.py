"""`fieldpost storage check|gc|use`: rows without bytes, bytes that nobody needs, and who takes how much room."""

from __future__ import annotations

import sys

import click
from sqlalchemy import select

from app.attachments import upkeep
from app.attachments.room import use_by_user
from app.cli.data import with_data
from app.cli.failures import reported_failures
from app.config import current_settings
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.models import User

MIB = 1024 * 1024


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


@storage_group.command("use")
@with_data
def use_command() -> None:
    """Tell how much room the photos and signatures of each user take, the largest use first."""
    settings = current_settings()
    with reported_failures():
        uses = use_by_user()
        people = select(User.id, User.email).where(User.id.in_([use.user_id for use in uses]))
        emails = {row.id: row.email for row in db.session.execute(people)}
    for use in uses:
        name = emails.get(use.user_id, f"user {use.user_id}")
        click.echo(f"{name}: {_room(use.byte_size, settings.user_storage_bytes)} in {use.images} images")
    total, images = sum(use.byte_size for use in uses), sum(use.images for use in uses)
    click.echo(f"all users: {_room(total, settings.site_storage_bytes)} in {images} images")


def _room(byte_size: int, quota: int) -> str:
    return f"{byte_size / MIB:.1f} MiB" + (f" of {quota / MIB:.1f} MiB" if quota else "")
