"""E-mail addresses as names of accounts."""

from __future__ import annotations

import unicodedata


def normalized_email(sent: str) -> str:
    """The one form of an address, so that no two accounts have addresses that look alike.

    Compatible characters, such as those of full width, become the usual ones (NFKC), and capitals become small. Case is
    folded twice, because folding can leave characters that NFKC changes.
    """
    text = unicodedata.normalize("NFKC", sent).casefold()
    return unicodedata.normalize("NFKC", text).casefold().strip()
