"""`fieldpost users …`: the first administrator, forgotten passwords, people who leave."""

from __future__ import annotations

import sys

import click
from marshmallow import ValidationError
from sqlalchemy import select

from app.accounts.sign_ins import end_sign_ins_of, sign_ins_of
from app.accounts.users import add_user, change_user
from app.administration.fields import line
from app.cli.data import user_id_of, with_data
from app.cli.failures import reported_failures
from app.clock import to_wire
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
@with_data
@reported_failures()
def create_command(email: str, role: str, name: str, password_stdin: bool) -> None:
    """Add a user."""
    if "@" not in email.strip("@"):
        raise click.BadParameter(f"{email!r} is no e-mail address.", param_hint="EMAIL")
    password = _password(password_stdin)
    user = add_user(ORIGIN, email=email, name=name, role=role, password=password)
    click.echo(f"Created {user.role} {user.email} with id {user.id}.")


@users_group.command("list")
@with_data
@reported_failures()
def list_command() -> None:
    """List all users."""
    for user in db.session.scalars(select(User).order_by(User.id)):
        state = "active" if user.active else "deactivated"
        click.echo(f"{user.id}\t{user.email}\t{user.role}\t{state}\t{user.name}")


@users_group.command("set-password")
@click.argument("email")
@password_stdin
@with_data
@reported_failures()
def set_password_command(email: str, password_stdin: bool) -> None:
    """Set a user's password, and end all sign-ins of the user."""
    _change(email, {"password": _password(password_stdin)})
    click.echo(f"Set the password of {email}; its sign-ins have ended.")


@users_group.command("set-role")
@click.argument("email")
@click.argument("role", type=click.Choice(ROLES))
@with_data
@reported_failures()
def set_role_command(email: str, role: str) -> None:
    """Give a user another role. It counts from the user's next request on."""
    _change(email, {"role": role})
    click.echo(f"{email} is {role} now.")


@users_group.command("rename")
@click.argument("email")
@click.argument("name", callback=_read_name)
@with_data
@reported_failures()
def rename_command(email: str, name: str) -> None:
    """Give a user another name."""
    _change(email, {"name": name})
    click.echo(f"{email} is called {name} now.")


@users_group.command("reactivate")
@click.argument("email")
@with_data
@reported_failures()
def reactivate_command(email: str) -> None:
    """Let a deactivated user sign in again, with the same password."""
    _change(email, {"active": True})
    click.echo(f"Reactivated {email}; sign-ins that had ended stay so.")


@users_group.command("sign-ins")
@click.argument("email")
@with_data
@reported_failures()
def sign_ins_command(email: str) -> None:
    """List the sign-ins of a user that have not ended: id, kind, device, start and last use."""
    for sign_in in sign_ins_of(user_id_of(email)):
        kind = "browser" if sign_in.is_browser else "device"
        times = f"{to_wire(sign_in.created_at)}\t{to_wire(sign_in.last_used_at)}"
        click.echo(f"{sign_in.id}\t{kind}\t{sign_in.device_id or '-'}\t{times}")


@users_group.command("end-sign-in")
@click.argument("email")
@click.argument("sign_in_id", metavar="[SIGN_IN]", required=False)
@click.option("--all", "is_all", is_flag=True, help="End all sign-ins of the user.")
@with_data
@reported_failures()
def end_sign_in_command(email: str, sign_in_id: str | None, is_all: bool) -> None:
    """End a sign-in of a user: its tokens stop working at once. Unsent work stays on its device."""
    if is_all == bool(sign_in_id):
        raise click.UsageError("Name one sign-in, as `users sign-ins` shows it, or say --all.")
    count = end_sign_ins_of(ORIGIN, None, user_id_of(email), sign_in_id)
    if not count and sign_in_id:
        raise click.ClickException(f"{email} has no sign-in {sign_in_id}. `users sign-ins {email}` shows them.")
    click.echo(f"Ended {count} sign-ins of {email}.")


@users_group.command("deactivate")
@click.argument("email")
@with_data
@reported_failures()
def deactivate_command(email: str) -> None:
    """Deactivate a user, and end all sign-ins of the user."""
    _change(email, {"active": False})
    click.echo(f"Deactivated {email}; its sign-ins have ended.")


def _change(email: str, values: Values) -> None:
    change_user(ORIGIN, user_id_of(email), values)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
