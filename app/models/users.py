"""People and their sign-ins (contract, sections 1 and 2)."""

from __future__ import annotations

from datetime import datetime

from flask_login import UserMixin
from sqlalchemy import ForeignKey, String
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


class User(Versioned, UserMixin, db.Model):  # type: ignore[name-defined, misc]
    """Somebody who signs in. `email` is stored in lower case."""

    __tablename__ = "users"
    __table_args__ = (choice_constraint("role", ROLES), KEEP_IDS)
    __entity__ = Entity(
        name="user",
        label="User",
        noun="user",
        fields=("email", "name", "role", "active"),
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

    @property
    def is_active(self) -> bool:
        """Flask-Login's question; a deactivated user is nobody from the next call on."""
        return self.active


class SignIn(db.Model):  # type: ignore[name-defined, misc]
    """One sign-in: a family of tokens. Each refresh makes the family's next generation (`app.accounts.tokens`)."""

    __tablename__ = "sign_ins"

    #: Random, so that a token cannot be guessed from another.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    #: The UUID that the app made at installation, as sent; None where none was named.
    device_id: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: The newest generation of which a token has been used, and which of its attempts that was.
    generation: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    #: How often the next generation has been issued; only the last of these may still be used.
    next_attempt: Mapped[int] = mapped_column(default=0)


class UserSync(db.Model):  # type: ignore[name-defined, misc]
    """When a user's last batch was processed. A table of its own: the user's row is locked for reading only."""

    __tablename__ = "user_syncs"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    last_sync: Mapped[datetime] = mapped_column(UTCDateTime)
