"""The destination of an image, as a device names it (contract, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.values import MAX_INTEGER, UUID_FORM, nfc
from app.errors import InvalidError, RequestError
from app.http.body import find_unstorable

FIELD_NAME_LENGTH = 255
LOCAL_ID_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The form fill and field that an image is meant for, not yet compared with the database."""

    #: `photo` or `signature`.
    kind: str
    #: An id, or a client_id in lower case; None if the sent text is neither.
    form_fill: int | str | None
    #: In NFC.
    field_name: str
    #: The device's name for the file. It is only displayed, and never becomes a path (trap 15).
    filename: str | None
    #: Makes a retry safe; None if the device sent none.
    local_id: str | None


def read_destination(kind: str, sent: Mapping[str, str]) -> Destination:
    """The destination in the texts `form_fill_id` and `field_name`, and perhaps `filename` and `local_id`.

    Raises `RequestError`s with status 400.
    """
    form_fill_id, field_name = sent.get("form_fill_id", "").strip(), sent.get("field_name", "")
    if not form_fill_id or not field_name.strip():
        raise missing_parameters("form_fill_id, field_name", "Send both, none of them empty.")
    _check_text("field_name", nfc(field_name), FIELD_NAME_LENGTH)
    local_id = sent.get("local_id") or None
    if local_id is not None:
        _check_text("local_id", local_id, LOCAL_ID_LENGTH)
    return Destination(
        kind=kind,
        form_fill=_form_fill(form_fill_id),
        field_name=nfc(field_name),
        filename=_display_name(sent.get("filename")),
        local_id=local_id,
    )


def missing_parameters(names: str, message: str) -> RequestError:
    """The error for an upload without its required parameters."""
    return RequestError(f"Required parameters: {names}", message, code="invalid")


def _check_text(name: str, value: str, longest: int) -> None:
    reason = find_unstorable(value)
    if len(value) > longest:
        reason = f"Longer than maximum length {longest}."
    if reason is not None:
        raise InvalidError(extra={"details": {name: [reason]}})


def _form_fill(sent: str) -> int | str | None:
    if sent.isascii() and sent.isdecimal():
        number = int(sent) if len(sent) <= 16 else 0
        return number if 0 < number <= MAX_INTEGER else None
    return sent.lower() if UUID_FORM.fullmatch(sent) else None


def _display_name(filename: str | None) -> str | None:
    """The last component of the device's path, without characters that cannot be printed."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:255].strip() or None
