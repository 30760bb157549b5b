"""Passwords: argon2id hashes, made and checked a few at a time (contract, section 1)."""

from __future__ import annotations

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: Characters of a password: long enough for NIST SP 800-63B, short enough to hash quickly.
SHORTEST, LONGEST = 10, 1024

#: argon2id with the parameters of OWASP's password storage cheat sheet: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

#: Each hash takes 19 MiB. The limit keeps a flood of sign-ins from taking the machine's memory.
_slots = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """The argon2id hash of `password`, parameters and salt included."""
    with _slots:
        return _hasher.hash(password)


#: A hash to compare with if the e-mail address is unknown, so that the answer takes the same time.
_NOBODY = _hasher.hash("nobody has this password")


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether `password` has this hash. Without a hash the answer is False, after the same time."""
    with _slots:
        try:
            _hasher.verify(password_hash or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None
