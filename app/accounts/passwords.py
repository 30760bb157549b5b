"""Passwords: which of them may be set, and argon2id hashes, made and checked a few at a time (contract, section 1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from threading import BoundedSemaphore, Lock
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: Characters of a password (NIST SP 800-63B): enough of them, and few enough to be hashed and estimated quickly.
SHORTEST, LONGEST = 8, 128

#: A password that takes fewer guesses is refused: common passwords, words and names, perhaps with a year, and rows of
#: the keyboard. This is the least that zxcvbn gives a score of 2.
GUESSES = 1_000_000

#: The characters at the front that are estimated. zxcvbn takes seconds for 72 digits and signs that stand for letters.
ESTIMATED = 24

#: argon2id with the parameters of OWASP's password storage cheat sheet: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

#: Each hash takes 19 MiB. The limit keeps a flood of sign-ins from taking the machine's memory.
_slots = BoundedSemaphore(2)

#: zxcvbn keeps the hints of its caller in a global place.
_one_estimate = Lock()


def fault_of(password: str, hints: Iterable[str] = ()) -> str | None:
    """The reason why nobody may have this password; None if it can be set. `hints` are texts about its owner."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"A password has {SHORTEST} to {LONGEST} characters."
    words = {word for hint in ("fieldpost", *hints) for word in (hint, *hint.split("@"), *re.split(r"\W+", hint))}
    with _one_estimate:
        estimate = _estimator()(password[:ESTIMATED], user_inputs=[*words - {""}])
    if estimate["guesses"] < GUESSES:
        return "This password is easy to guess. Take three or four words that do not belong together."
    return None


@cache
def _estimator() -> Callable[..., dict[str, Any]]:
    """zxcvbn, loaded when a password is first set: its lists are long, and most workers never need them."""
    estimator: Callable[..., dict[str, Any]] = import_module("zxcvbn").zxcvbn
    return estimator


def hash_password(password: str) -> str:
    """The argon2id hash of `password`, parameters and salt included."""
    with _slots:
        return _hasher.hash(password)


#: A hash to compare with if the e-mail address is unknown, so that the answer takes the same time. It is that of a
#: random text, and written down because no start has to take the time that a hash takes.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$NcMQUxErBUq0Il/HiXqPDQ$r9o99m+xGI6Im8nTpwz00Dgd4NJQvXAkOb8V7CXNrAo"


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether `password` has this hash. Without a hash the answer is False, after the same time."""
    with _slots:
        try:
            _hasher.verify(password_hash or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None
