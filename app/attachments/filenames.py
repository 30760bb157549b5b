"""A device's name for a file, as a multipart sends it. It is only shown, and never becomes a path (trap 15)."""

from __future__ import annotations

import re

from werkzeug.http import parse_options_header

#: A parameter of a Content-Disposition: its name, and its value, perhaps quoted.
PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)', re.DOTALL)

#: The characters that browsers escape in names (WHATWG HTML, “multipart form data”), and those of RFC 9110.
ESCAPES = {'\\"': '"', "%22": '"', "%0D": "\r", "%0A": "\n"}
ESCAPED = re.compile("|".join(map(re.escape, ESCAPES)))


def filename_of(disposition: str) -> str | None:
    """The name in a Content-Disposition, perhaps with directories; None if there is none.

    An extended parameter, `filename*`, wins wherever it stands (RFC 6266, section 4.3).
    """
    parameters = PARAMETER.findall(disposition)
    extended = [f"{name}={value}" for name, value in parameters if name.lower().startswith("filename*")]
    if extended:
        return parse_options_header("; ".join(["form-data", *extended]))[1].get("filename", "")
    plain = next((value for name, value in parameters if name.lower() == "filename"), None)
    return None if plain is None else _unescaped(_unquoted(plain))


def last_component(path: str) -> str:
    """The part of a path behind its last slash or backslash: browsers write a path of Windows as it is."""
    return path.replace("\\", "/").rpartition("/")[2]


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value.startswith('"') else value.strip()


def _unescaped(name: str) -> str:
    return ESCAPED.sub(lambda match: ESCAPES[match[0]], name)
