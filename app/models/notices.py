"""What people were told by e-mail, so that nobody is told twice (`fieldpost notify`)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import BigId, UTCDateTime


class Notice(db.Model):  # type: ignore[name-defined, misc]
    """One thing that one user was told of. No foreign keys: the upkeep removes it once the thing is settled."""

    __tablename__ = "notices"

    user_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    #: One of the subjects of `app.administration.notices`.
    subject: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: The id of the device, or of the item that was set aside.
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    told_at: Mapped[datetime] = mapped_column(UTCDateTime)
