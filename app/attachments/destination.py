"""The destination of an image, as a device names it (contract, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.attachments.filenames import last_component
from app.core.values import nfc, read_key
from app.errors import InvalidError, RequestError
from app.http.body import find_unstorable

FIELD_NAME_LENGTH = 255
LOCAL_ID_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The form fill and field that an image is meant for, not yet compared with the database."""

    #: `photo` or `signature`.
    kind: str
    #: An id, or a client_id in lower case.
    form_fill: int | str
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
    if not form_fill_id or not field_name:
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


def missing_parameters(names: str, message: str, **extra: bool) -> RequestError:
    """The error for an upload without its required parameters, or one that cannot be read."""
    return RequestError(f"Required parameters: {names}", message, code="invalid", extra=extra)


def invalid_parameters(message: str, **details: list[str]) -> RequestError:
    """The error for parameters that are there and wrong; `details` maps them to sentences."""
    return RequestError("Invalid parameters", message, code="invalid", extra={"details": details} if details else {})


def _check_text(name: str, value: str, longest: int) -> None:
    reason = find_unstorable(value)
    if len(value) > longest:
        reason = f"Longer than maximum length {longest}."
    if reason is not None:
        raise InvalidError(extra={"details": {name: [reason]}})


def _form_fill(sent: str) -> int | str:
    with suppress(ValueError):
        key = read_key(sent)
        if isinstance(key, str) or key > 0:
            return key
    sentence = "Not the id of a form fill: send its number, or its client_id (a UUID)."
    raise invalid_parameters(f"form_fill_id: {sentence}", form_fill_id=[sentence])


def _display_name(filename: str | None) -> str | None:
    """The last component of the device's path, without characters that cannot be printed."""
    name = last_component(filename or "")
    return "".join(character for character in name if character.isprintable())[:255].strip() or None
