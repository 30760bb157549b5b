"""`flask demo`: data to try Fieldpost with."""

from __future__ import annotations

import secrets
from datetime import timedelta

import click
from flask.cli import with_appcontext
from sqlalchemy import select

from app.accounts.users import add_user
from app.api.administration.form_templates import add_template
from app.api.administration.inspections import create_inspection
from app.cli.failures import reported_failures
from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.ledger.record import Origin
from app.models import User

ORIGIN = Origin(door="cli")

#: Everybody who reads this file knows this password, so it is used only if nobody else can connect.
LOOPBACK_PASSWORD = "fieldpost-demo"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

PEOPLE = (("admin@example.com", "Ada Admin", "admin"), ("technician@example.com", "Theo Technician", "technician"))

FORM_STRUCTURE = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location", "section_name": "Risers"},
    {"name": "Pressure_row_1", "type": "number", "label_name": "Static pressure (psi)", "section_name": "Risers"},
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
@click.option("--if-empty", is_flag=True, help="Do nothing, without an error, where there are users already.")
@with_appcontext
@reported_failures()
def demo_command(if_empty: bool) -> None:
    """Add an administrator, a technician, a form template and three inspections; print how to sign in."""
    if db.session.scalar(select(User.id).limit(1)) is not None:
        if if_empty:
            click.echo("There are users already; no demo data was added.")
            return
        raise click.ClickException("There are users already; demo data is for an empty database only.")
    is_local = current_settings().host in LOOPBACK
    passwords = [LOOPBACK_PASSWORD if is_local else secrets.token_urlsafe(12) for _ in PEOPLE]
    admin, technician = (
        add_user(ORIGIN, email=email, name=name, role=role, password=password)
        for (email, name, role), password in zip(PEOPLE, passwords, strict=True)
    )
    template = add_template(ORIGIN, {"name": "Sprinkler riser", "form_structure": FORM_STRUCTURE})
    for days, (name, address, interval) in enumerate(PLACES, 1):
        _add_inspection(admin.id, technician.id, template.id, days, (name, address, interval))
    click.echo("Demo data is ready. Sign in as")
    for (email, _, role), password in zip(PEOPLE, passwords, strict=True):
        click.echo(f"  {email}  {password}  ({role})")


def _add_inspection(owner_id: int, assignee_id: int, template_id: int, days: int, place: tuple[str, str, str]) -> None:
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
    create_inspection(ORIGIN, values, [template_id])
