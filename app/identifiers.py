"""What an id may look like on the wire. Imports nothing of ours, so that any module may import it."""

from __future__ import annotations

import re

#: Beyond it not every JSON reader keeps an integer (contract, section 0); ids too.
MAX_INTEGER = 2**53 - 1

#: RFC 9562, section 4: the text form of a UUID, in either case.
UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
