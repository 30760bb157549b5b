"""Users: `POST|GET /users`, `GET|PATCH /users/:id`, for administrators only (contract, sections 2 and 8)."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response
from sqlalchemy import select

from app.accounts import users as administration
from app.accounts.users import add_user, serialize_account
from app.administration.fields import split_version
from app.administration.schemas import NewUserSchema, UserChangeSchema
from app.api.blueprint import admins_only
from app.api.paging import PageSchema, read_page
from app.core.database.engine import db
from app.core.values import JsonObject, Values
from app.errors import NotFoundError
from app.models import User
from app.openapi.shapes import ACCOUNT, obj, page_of
from app.web import RestBlueprint, answer, described, origin_of_request

blueprint = RestBlueprint("users", __name__, description="People who sign in")


@blueprint.get("/users")
@described(data=page_of("users", ACCOUNT), errors=("forbidden",))
@admins_only
@blueprint.query(PageSchema)
def list_users(query: Values) -> Response:
    """All users, by id."""
    page = read_page(db.session(), select(User).order_by(User.id), query, "users", _serialize_all)
    return answer(page, "Users retrieved successfully")


@blueprint.post("/users")
@described(data=obj(user=ACCOUNT), status=201, errors=("forbidden",))
@admins_only
@blueprint.body(NewUserSchema)
def create_user(body: Values) -> Response:
    """A new user, who can sign in at once unless `active` is false."""
    created = add_user(origin_of_request(), **body)
    return answer({"user": serialize_account(created)}, "User created successfully", 201)


@blueprint.get("/users/<row_id:user_id>")
@described(data=obj(user=ACCOUNT), errors=("forbidden", "not_found"))
@admins_only
def get_user(user_id: int) -> Response:
    """One user."""
    user = db.session.get(User, user_id)
    if user is None:
        raise NotFoundError("User not found")
    return answer({"user": serialize_account(user)}, "User retrieved successfully")


@blueprint.patch("/users/<row_id:user_id>")
@described(data=obj(user=ACCOUNT), errors=("forbidden", "not_found", "stale"))
@admins_only
@blueprint.body(UserChangeSchema)
def change_user(body: Values, user_id: int) -> Response:
    """Change a user. Deactivation and a new password end all sign-ins of the user."""
    values, version = split_version(body)
    changed = administration.change_user(origin_of_request(), user_id, values, version)
    return answer({"user": serialize_account(changed)}, "User updated successfully")


def _serialize_all(users: Sequence[User]) -> list[JsonObject]:
    return [serialize_account(user) for user in users]
