"""People and their sign-ins (contract, sections 1 and 2)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import KEEP_IDS, BigId, UTCDateTime
from app.core.values import JsonObject
from app.models.base import Versioned, choice_constraint
from app.plugin_api import Entity

#: The roles of contract section 2.
ROLES = ("admin", "technician", "user")


def user_record(user: User) -> JsonObject:
    """A user as a device needs one, to name the people of an inspection (contract, section 6)."""
    return {"id": user.id, "name": user.name, "role": user.role}


class User(Versioned, db.Model):  # type: ignore[name-defined, misc]
    """Somebody who signs in. `email` is stored in lower case."""

    __tablename__ = "users"
    __table_args__ = (choice_constraint("role", ROLES), KEEP_IDS)
    __entity__ = Entity(
        name="user",
        label="User",
        noun="user",
        unrecorded=("password_hash",),
        identity=(),
        record=user_record,
        constraints={"uq_users_email": "This e-mail address is taken"},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16))
    active: Mapped[bool] = mapped_column(default=True)
    password_hash: Mapped[str] = mapped_column(String(255))


class SignIn(db.Model):  # type: ignore[name-defined, misc]
    """One sign-in: of a device, with a family of tokens (`app.accounts.tokens`), or of a browser, with a cookie."""

    __tablename__ = "sign_ins"

    #: Random, so that a token cannot be guessed from another.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    #: The UUID that the app made at installation, as sent; None where none was named.
    device_id: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Whether it opens pages, and nothing of the API (contract, section 11).
    is_browser: Mapped[bool] = mapped_column(default=False, server_default=false())


class RefreshToken(db.Model):  # type: ignore[name-defined, misc]
    """A refresh token that may still be used. Each use gives a successor; spent tokens have no row.

    The token itself is not stored: its claims name this row.
    """

    __tablename__ = "refresh_tokens"

    #: Random, so that a token cannot be guessed from another.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    sign_in_id: Mapped[str] = mapped_column(ForeignKey("sign_ins.id", ondelete="CASCADE"), index=True)
    #: The token that gave this one, which may be spent by now; None for the first of a sign-in.
    predecessor_id: Mapped[str | None] = mapped_column(String(36))
    issued_at: Mapped[datetime] = mapped_column(UTCDateTime)
    first_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Whether one of its successors has been used: the answer with that one has certainly arrived.
    has_used_successor: Mapped[bool] = mapped_column(default=False)


class UserSync(db.Model):  # type: ignore[name-defined, misc]
    """When a user's last batch was processed. A table of its own: the user's row is locked for reading only."""

    __tablename__ = "user_syncs"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    last_sync: Mapped[datetime] = mapped_column(UTCDateTime)
