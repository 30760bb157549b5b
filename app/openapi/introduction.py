"""The text at the top of the OpenAPI document: what holds for every call (contract, section 0)."""

from __future__ import annotations

from app.openapi.faults import FAULTS

CONVENTIONS = """\
The server that field-inspection apps sync with: offline batches in, each change applied exactly once.

- Sign in with `POST /api/v1/auth/login`, then send the access token as `Authorization: Bearer …`.
- Times are RFC 3339 in UTC with three decimals. Any offset is accepted, none means UTC, finer digits are cut; only 2000
  to 2100.
- Integers within ±(2⁵³ − 1); no NUL and no lone surrogates in text.
- A JSON body may have `Content-Encoding: gzip`; limits count decoded bytes.
- `X-Request-ID`, up to 64 visible ASCII characters, is kept, else made; it is in every answer and in the log.
- Keys may be added to any object. None is ever removed or given another meaning within v1.

Every answer is JSON, errors included, but for the bytes of attachments and `/metrics`. The codes of errors:

| code | status | meaning |
|---|---|---|
"""

INTRODUCTION = CONVENTIONS + "\n".join(
    f"| `{each.code}` | {each.status} | {each.meaning} |" for each in FAULTS.values()
)
