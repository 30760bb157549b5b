"""E-mail address and password, checked for tokens and for pages alike, under the same limits (contract, section 1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import select

from app.accounts import throttle
from app.accounts.emails import normalized_email
from app.accounts.passwords import is_password
from app.core.database.engine import db
from app.core.ledger.audit import count_try
from app.errors import UnauthorizedError
from app.http.logs import log_security_event
from app.models import User

T = TypeVar("T")


def sign_in_with(email: str, password: str, start: Callable[[User], T | None], door: str) -> T:
    """The result of `start` for the user with these credentials; None from `start` counts as a failure.

    An unknown address gets the same answer in the same time. `door`: `rest` or `page`, for the audit log.
    Raises `UnauthorizedError` with `wrong_credentials`, `TooManyTriesError` and `TryAgainError`.
    """
    email = normalized_email(email)
    try:
        with throttle.counted(email, UnauthorizedError):
            return _signed_in(_account(email), password, start, door)
    except throttle.TooManyTriesError as error:
        if error.is_new:
            user = _account(email)
            count_try("sign_in_throttled", door, user and user.id)
        raise


def _signed_in(user: User | None, password: str, start: Callable[[User], T | None], door: str) -> T:
    signed_in = None
    if is_password(password, user and user.password_hash) and user is not None and user.active:
        signed_in = start(user)
    if signed_in is None:
        log_security_event("sign-in failed", account_id=user and user.id)
        # Noted for an unknown address, too, because the answer would come sooner without it.
        count_try("sign_in_failed", door, user and user.id)
        raise UnauthorizedError("wrong_credentials", "Check the e-mail address and the password.")
    log_security_event("signed in", logging.INFO, account_id=user and user.id)
    return signed_in


def _account(email: str) -> User | None:
    """The user with this address, detached. No connection is held while a password is hashed."""
    user = db.session.scalar(select(User).where(User.email == email))
    db.session.remove()
    return user
