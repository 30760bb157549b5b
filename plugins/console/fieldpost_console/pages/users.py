"""*Users*: the people who sign in, for administrators: add, change, deactivate, and give a new password."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, flash, redirect, request, url_for
from marshmallow import Schema, ValidationError
from sqlalchemy import or_, select
from sqlalchemy.orm import InstrumentedAttribute
from werkzeug.wrappers import Response as BaseResponse

from app.administration import (
    NewUserSchema,
    UserChangeSchema,
    add_user,
    change_user,
    require_admin,
    split_version,
)
from app.attachments import bytes_of_user, user_quota
from app.errors import InvalidError, NotFoundError, StaleError
from app.models import ROLES, User, db
from app.pages import gettext, render
from app.web import origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.forms import read_search
from fieldpost_console.pages.keyset import Keys, read_key_page

COLUMNS: Sequence[InstrumentedAttribute[Any]] = (
    User.id,
    User.name,
    User.email,
    User.role,
    User.active,
    User.created_at,
)

#: The characters of a random password. None of them looks like another.
CHARACTERS = "abcdefghjkmnpqrstuvwxyz23456789"

#: A random password has this many groups of four characters, about 79 bits.
GROUPS = 4


@blueprint.get("/users")
def users() -> Response:
    """The users, by name; `q` is part of a name or an address."""
    require_admin(signed_in_user())
    q, role, state = read_search(), request.args.get("role", ""), request.args.get("state", "")
    statement = select(*COLUMNS)
    if q:
        statement = statement.where(or_(*(column.icontains(q, autoescape=True) for column in (User.name, User.email))))
    if role in ROLES:
        statement = statement.where(User.role == role)
    if state in ("active", "inactive"):
        statement = statement.where(User.active if state == "active" else ~User.active)
    page = read_key_page(db.session(), statement, Keys((User.name, User.id)))
    return render("console/users.html", page=page, given={"q": q, "role": role, "state": state})


@blueprint.get("/users/new")
def new_user() -> Response:
    """The form for a new user."""
    require_admin(signed_in_user())
    return _new_user({}, {})


@blueprint.post("/users/new")
def add() -> Response:
    """Add a user with a random password, which the answer shows: once, because nobody can read it afterwards."""
    require_admin(signed_in_user())
    given = _given("email", "name", "role")
    password = random_password()
    try:
        values = _loaded(NewUserSchema(), {**given, "password": password})
        added = add_user(origin_of_request("page"), **values)
    except InvalidError as error:
        return _new_user(given, error.extra["details"], 422)
    return render("console/user_password.html", person=added, password=password, is_new=True)


@blueprint.get("/users/<row_id:user_id>")
def user(user_id: int) -> Response:
    """One user, to change."""
    require_admin(signed_in_user())
    person = _person(user_id)
    return _user(person, {"name": person.name, "role": person.role}, {})


@blueprint.post("/users/<row_id:user_id>")
def change(user_id: int) -> BaseResponse:
    """Change name and role. Raises `StaleError` as a page that shows the present values and keeps the given ones."""
    require_admin(signed_in_user())
    given = _given("name", "role", "updated_at")
    return _changed(user_id, given, gettext("The user is changed."), {"name": given["name"], "role": given["role"]})


@blueprint.post("/users/<row_id:user_id>/active")
def set_active(user_id: int) -> BaseResponse:
    """Deactivate a user, which ends all sign-ins at once, or let them sign in again."""
    require_admin(signed_in_user())
    is_active = request.form.get("active") == "1"
    done = gettext("The user can sign in again.") if is_active else gettext("The user can no longer sign in.")
    return _changed(user_id, {"active": is_active}, done)


@blueprint.post("/users/<row_id:user_id>/password")
def give_password(user_id: int) -> Response:
    """Give a user a random password, which the answer shows once. All their sign-ins end."""
    require_admin(signed_in_user())
    password = random_password()
    person = change_user(origin_of_request("page"), user_id, {"password": password})
    return render("console/user_password.html", person=person, password=password, is_new=False)


def random_password() -> str:
    """A password that can be read to somebody over the telephone."""
    return "-".join("".join(secrets.choice(CHARACTERS) for _ in range(4)) for _ in range(GROUPS))


def _changed(
    user_id: int, values: Mapping[str, Any], done: str, given: Mapping[str, str] | None = None
) -> BaseResponse:
    """The answer to a change: the user's page again, with what is wrong with the change, or a redirect there."""
    person = _person(user_id)
    present = {"name": person.name, "role": person.role}
    try:
        change_user(origin_of_request("page"), user_id, *split_version(_loaded(UserChangeSchema(), values)))
    except InvalidError as error:
        return _user(person, given or present, error.extra["details"], 422)
    except StaleError:
        # The form gets the present version, so that sending it again means to overwrite what is shown beside it.
        return _user(_person(user_id), given or present, {}, 409)
    flash(done)
    return redirect(url_for("console.user", user_id=user_id), 303)


def _given(*names: str) -> dict[str, str]:
    """The values of a form's fields, without the blanks around them."""
    return {name: request.form.get(name, "").strip() for name in names}


def _loaded(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the schema reads them. Raises `InvalidError`."""
    try:
        loaded: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        raise InvalidError(extra={"details": error.messages_dict}) from None
    return loaded


def _person(user_id: int) -> User:
    person = db.session.get(User, user_id, populate_existing=True)
    if person is None:
        raise NotFoundError("User not found")
    return person


def _new_user(given: Mapping[str, str], faults: Mapping[str, Sequence[str]], status: int = 200) -> Response:
    return render("console/new_user.html", status, given=given, faults=faults)


def _user(person: User, given: Mapping[str, str], faults: Mapping[str, Sequence[str]], status: int = 200) -> Response:
    return render(
        "console/user.html",
        status,
        person=person,
        given=given,
        faults=faults,
        is_stale=status == StaleError.status,
        is_oneself=person.id == signed_in_user().id,
        stored=bytes_of_user(db.session(), person.id),
        quota=user_quota(),
    )
