"""`fieldpost privacy`: the data of a person or a customer, and values that must not be kept."""

from __future__ import annotations

from pathlib import Path

import click
import orjson
from sqlalchemy import select

from app.accounts.erasure import erase_person, export_person
from app.administration.customer_archive import Customer, has_inspections, names_like, write_archive
from app.cli.data import user_id_of, with_data
from app.cli.failures import reported_failures
from app.cli.new_file import new_file
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.audit import note_alone
from app.core.ledger.forget import forget_earlier_values
from app.core.ledger.record import Origin
from app.http.logs import log_security_event
from app.models import LedgerEntry

ORIGIN = Origin(door="cli")


@click.group("privacy")
def privacy_group() -> None:
    """Tell and remove what is kept about people and customers. Backups keep what they have until you remove them."""


@privacy_group.command("export")
@click.argument("email")
@with_data
@reported_failures()
def export_command(email: str) -> None:
    """Write everything that is kept about a user to standard output: a JSON object a line, with its `kind`."""
    user_id = user_id_of(email)
    note_alone("user_exported", ORIGIN, None, ("user", user_id))
    for row in export_person(user_id):
        click.echo(orjson.dumps(row, default=str))


@privacy_group.command("erase")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_data
@reported_failures()
def erase_command(email: str, yes: bool) -> None:
    """Deactivate a user, put a pseudonym in place of name and address, remove sign-ins and devices. Work is kept.

    Plugins' rows lose the fields that tell of the user.
    """
    user_id = user_id_of(email)
    if not yes:
        click.confirm(f"Erase {email}? Nobody can take this back.", abort=True)
    erased = erase_person(ORIGIN, user_id)
    log_security_event("person erased", account_id=user_id)
    click.echo(f"The user with id {user_id} is {erased.email} now. What people have written into forms stays.")
    for entity, count in erased.emptied.items():
        click.echo(f"{entity.replace('_', ' ')}: emptied the personal fields of {count} rows")
    for plugin, count in erased.removed.items():
        click.echo(f"plugin {plugin}: removed {count}")
    if erased.failed:
        faults = "; ".join(f"{plugin}: {type(error).__name__}: {error}" for plugin, error in erased.failed.items())
        raise click.ClickException(
            f"Plugins could not remove their data of this user ({faults}). Everything else is done. Mend the plugin, "
            f"and run `fieldpost privacy erase {erased.email}` again."
        )


@privacy_group.command("forget")
@click.argument("entity", metavar="form-fill")
@click.argument("row_id", metavar="ID")
@with_data
@reported_failures()
def forget_command(entity: str, row_id: str) -> None:
    """Forget the earlier values of a row, such as those of a form fill. Its present values stay, and retries hold."""
    name = entity.replace("-", "_")
    _require_entity(name)
    count = forget_earlier_values(ORIGIN, name, row_id)
    log_security_event("values forgotten", entity=entity, entity_id=row_id)
    click.echo(
        f"Forgot {count} changes of {entity} {row_id}."
        if count
        else f"The ledger has no earlier values of {entity} {row_id}. Name a row by its id, not by its client_id."
    )


def _require_entity(name: str) -> None:
    """Raise `click.ClickException` unless a row of this entity is here, or was: its plugin may be gone."""
    there = {*current_registry().models}
    if name not in there and not db.session.scalar(select(LedgerEntry.id).where(LedgerEntry.entity == name).limit(1)):
        names = ", ".join(sorted(there)).replace("_", "-")
        raise click.ClickException(f"No rows are called {name.replace('_', '-')!r}. There are: {names}.")


@privacy_group.command("archive")
@click.argument("target", metavar="FILE.zip", type=click.Path(path_type=Path))
@click.option("--customer", "names", multiple=True, help="The customer's name. Repeat it for other spellings.")
@click.option("--email", "emails", multiple=True, help="The customer's e-mail address.")
@with_data
@reported_failures()
def archive_command(target: Path, names: tuple[str, ...], emails: tuple[str, ...]) -> None:
    """Write everything about one customer into a new ZIP file: inspections, forms, photos and the history."""
    if not (names or emails):
        raise click.UsageError("Name the customer with --customer or --email.")
    customer = Customer(names, emails)
    if not has_inspections(customer):
        raise click.ClickException(_no_such_customer(customer))
    with new_file(target) as file:
        archived = write_archive(customer, file)
    note_alone("customer_archived", ORIGIN, None, inspections=archived.rows["inspections"])
    log_security_event("customer archived", inspections=archived.rows["inspections"])
    rows = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in archived.rows.items())
    click.echo(f"{target}: {rows}, {archived.files} files.")
    for attachment_id in archived.missing:
        click.echo(f"The bytes of attachment {attachment_id} are missing: see `fieldpost storage check`.", err=True)


def _no_such_customer(customer: Customer) -> str:
    names = names_like(customer)
    hint = f"There are: {'; '.join(names)}." if names else "Write it as it stands in the inspections."
    return f"No inspection has this customer. {hint}"
