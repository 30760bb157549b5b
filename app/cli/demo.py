"""`fieldpost demo`: data to try Fieldpost with."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import click
import orjson
from sqlalchemy import select

from app.accounts.users import add_user
from app.administration.form_templates import add_template
from app.administration.inspections import create_inspection
from app.administration.rescue import FORM
from app.cli.data import with_data
from app.cli.demo_story import tell_story
from app.cli.failures import reported_failures
from app.clock import now, to_wire
from app.config import current_settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.ledger.record import Origin
from app.core.private_files import make_private_directory, write_private
from app.core.values import JsonObject
from app.models import User

ORIGIN = Origin(door="cli")

#: The file in the data directory that keeps the passwords: a line for each person, `email password`.
PASSWORDS = "demo_passwords"

#: The file with the queue of a phone that broke, to be read in.
RESCUE_FILE = "demo_rescue_file.json"

PEOPLE = (("admin@example.com", "Ada Admin", "admin"), ("technician@example.com", "Theo Technician", "technician"))

FORM_STRUCTURE = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location", "section_name": "Risers"},
    {
        "name": "Pressure_row_1",
        "type": "number",
        "label_name": "Static pressure",
        "section_name": "Risers",
        "unit": "psi",
    },
    {
        "name": "Valve_Open",
        "type": "select",
        "label_name": "Valve open?",
        "section_name": "Risers",
        "options": ["yes", "no", "n/a"],
    },
    {"name": "Riser_Photo", "type": "photo", "label_name": "Photo of the riser", "section_name": "Risers"},
    {"name": "Signature", "type": "signature", "label_name": "Signature", "section_name": "Closing"},
]

PLACES = (
    ("Harbour Warehouse", "1 Quay Street", "monthly"),
    ("City Library", "22 Market Square", "quarterly"),
    ("Riverside Clinic", "7 Mill Lane", "annual"),
)


@click.command("demo")
@click.option("--if-empty", is_flag=True, help="Do nothing, without an error, where demo data has no place.")
@click.option("--anyway", is_flag=True, help="Add the demo data on PostgreSQL and behind a trusted proxy too.")
@with_data
@reported_failures()
def demo_command(if_empty: bool, anyway: bool) -> None:
    """Add an administrator, a technician, a form template and three inspections; print how to sign in."""
    obstacle = _obstacle(anyway)
    if obstacle is None:
        _add_demo_data()
    elif if_empty:
        click.echo(f"{obstacle} No demo data was added.")
    else:
        raise click.ClickException(f"{obstacle} No demo data was added.")


def _obstacle(anyway: bool) -> str | None:
    """The reason why demo data has no place on this server, with the cure; None if it has one."""
    settings = current_settings()
    if db.session.scalar(select(User.id).limit(1)) is not None:
        return "There are users already; demo data is for an empty database only."
    cure = "`users create` adds the first administrator, `demo --anyway` the demo data."
    if database_of(db.engine).directory(db.engine) is None and not anyway:
        return f"This server uses PostgreSQL, so it is probably not for trying things out. {cure}"
    if settings.trusted_proxies and not anyway:
        return f"This server is behind a proxy (FIELDPOST_TRUSTED_PROXIES), so strangers may reach it. {cure}"
    return None


def _add_demo_data() -> None:
    passwords = {email: secrets.token_urlsafe(12) for email, _, _ in PEOPLE}
    # Kept first: a password that is not known is of no use to anybody.
    place = _keep(passwords)
    admin, technician = (
        add_user(ORIGIN, email=email, name=name, role=role, password=passwords[email]) for email, name, role in PEOPLE
    )
    template = add_template(ORIGIN, {"name": "Sprinkler riser", "form_structure": FORM_STRUCTURE})
    inspection_ids = [
        _add_inspection(admin.id, technician.id, template.id, days, place) for days, place in enumerate(PLACES, 1)
    ]
    queue = tell_story(admin, technician, inspection_ids)
    rescue_file = _keep_queue(technician, queue)
    click.echo("Demo data is ready. Sign in as")
    for email, _, role in PEOPLE:
        click.echo(f"  {email}  {passwords[email]}  ({role})")
    click.echo(f"The passwords are kept in {place}, which only you can read.")
    click.echo(f"{rescue_file} has the work of a phone that broke: read it in on the page Rescue file.")


def _keep(passwords: Mapping[str, str]) -> Path:
    """Write the passwords to their file, in place of those of an earlier database."""
    path = current_settings().data_dir / PASSWORDS
    try:
        make_private_directory(path.parent)
        path.unlink(missing_ok=True)
        write_private(path, "".join(f"{email} {password}\n" for email, password in passwords.items()).encode())
    except OSError as error:
        raise click.ClickException(
            f"The demo passwords cannot be kept in {path}: {error.strerror}. No demo data was added. "
            "Let this user write the data directory, or set FIELDPOST_DATA_DIR to another one."
        ) from error
    return path


def _keep_queue(sender: User, items: Sequence[JsonObject]) -> Path:
    """Write a rescue file (contract, section 14), as an app would save it, in place of that of an earlier database."""
    document = {
        "fieldpost_rescue": FORM,
        "saved_at": to_wire(now()),
        "user": {"id": sender.id, "email": sender.email},
        "device_id": str(uuid4()),
        "sync_items": items,
    }
    path = current_settings().data_dir / RESCUE_FILE
    path.unlink(missing_ok=True)
    write_private(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return path


def _add_inspection(owner_id: int, assignee_id: int, template_id: int, days: int, place: tuple[str, str, str]) -> int:
    name, address, interval = place
    values = {
        "date": now().date() + timedelta(days=days),
        "owner_id": owner_id,
        "assignee_id": assignee_id,
        "system_category": "wet pipe",
        "interval_category": interval,
        "job": f"D-{days:04}",
        "property": {"property_name": name, "address": address, "city": "Springfield", "zip_code": "12345"},
        "customer": {"name": f"{name} Ltd", "email": "office@example.com", "phone_1": "555-0100", "phone_2": None},
    }
    inspection_id, _form_fills = create_inspection(ORIGIN, values, [template_id])
    return inspection_id
