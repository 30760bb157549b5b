"""`flask users …`: the first administrator, forgotten passwords, people who leave."""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext
from marshmallow import ValidationError
from sqlalchemy import select

from app.accounts.emails import normalized_email
from app.accounts.users import add_user, change_user
from app.administration.fields import line
from app.cli.failures import reported_failures
from app.core.database.engine import db
from app.core.ledger.record import Origin
from app.core.values import Values
from app.models import ROLES, User

ORIGIN = Origin(door="cli")

password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line. Without it you are asked."
)


def _read_name(_context: click.Context, _parameter: click.Parameter, sent: str) -> str:
    """A name that can be seen, as REST asks for one."""
    try:
        name: str = line().deserialize(sent)
    except ValidationError as error:
        raise click.BadParameter(" ".join(map(str, error.messages))) from None
    return name


@click.group("users")
def users_group() -> None:
    """Add and change the people who sign in."""


@users_group.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--name", required=True, callback=_read_name)
@password_stdin
@with_appcontext
@reported_failures()
def create_command(email: str, role: str, name: str, password_stdin: bool) -> None:
    """Add a user."""
    if "@" not in email.strip("@"):
        raise click.BadParameter(f"{email!r} is no e-mail address.", param_hint="EMAIL")
    password = _password(password_stdin)
    user = add_user(ORIGIN, email=email, name=name, role=role, password=password)
    click.echo(f"Created {user.role} {user.email} with id {user.id}.")


@users_group.command("list")
@with_appcontext
@reported_failures()
def list_command() -> None:
    """List all users."""
    for user in db.session.scalars(select(User).order_by(User.id)):
        state = "active" if user.active else "deactivated"
        click.echo(f"{user.id}\t{user.email}\t{user.role}\t{state}\t{user.name}")


@users_group.command("set-password")
@click.argument("email")
@password_stdin
@with_appcontext
@reported_failures()
def set_password_command(email: str, password_stdin: bool) -> None:
    """Set a user's password, and end all sign-ins of the user."""
    _change(email, {"password": _password(password_stdin)})
    click.echo(f"Set the password of {email}; its sign-ins have ended.")


@users_group.command("deactivate")
@click.argument("email")
@with_appcontext
@reported_failures()
def deactivate_command(email: str) -> None:
    """Deactivate a user, and end all sign-ins of the user."""
    _change(email, {"active": False})
    click.echo(f"Deactivated {email}; its sign-ins have ended.")


def _change(email: str, values: Values) -> None:
    user_id = db.session.scalar(select(User.id).where(User.email == normalized_email(email)))
    if user_id is None:
        raise click.ClickException(f"There is no user {email}. `users list` shows them all.")
    change_user(ORIGIN, user_id, values)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
