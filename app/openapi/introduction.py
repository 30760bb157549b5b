"""The text at the top of the OpenAPI document, with the rules for every call (contract, section 0)."""

from __future__ import annotations

from app.openapi.error_codes import ERROR_CODES

CONVENTIONS = """\
The server that field-inspection apps sync with: offline batches in, each change applied exactly once.

- Sign in with `POST /api/v1/auth/login`, then send the access token as `Authorization: Bearer …`.
- Times are RFC 3339 in UTC with three decimals, from the years 2000 to 2099. You may send any offset; a time without
  one is UTC. Finer digits are cut off.
- An id may come as `11`, `11.0` or `"11"`. Anything that is no id is `invalid`; an id of no row is `not_found`.
- Integers are within ±(2⁵³ − 1). Texts have no NUL and no lone surrogates.
- A JSON body may have `Content-Encoding: gzip`. Limits count decoded bytes.
- The server keeps your `X-Request-ID` if it has up to 64 visible ASCII characters, and otherwise makes one. It is in
  every answer and in the log.
- Keys may be added to any object. None is ever removed or given another meaning within v1.

Every answer is JSON, errors included. The exceptions are the bytes of attachments and `/metrics`. The error codes are:

| code | status | meaning |
|---|---|---|
"""

INTRODUCTION = CONVENTIONS + "\n".join(
    f"| `{code.code}` | {code.status} | {code.meaning} |" for code in ERROR_CODES.values()
)
