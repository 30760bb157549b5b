"""A request of which no part takes much more memory and time than its bytes, whoever has made it up.

Werkzeug makes several objects of each escape in a form or a query (`%41`), and of each part of a header that is a list.
A stranger's 8 KiB took sixty times their memory so, and a form of 8 MiB half a gigabyte.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from typing import IO, Any

from flask import Request, request
from werkzeug.datastructures import ImmutableMultiDict, LanguageAccept, MIMEAccept, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_accept_header
from werkzeug.utils import cached_property

from app.errors import InvalidError, RequestError, TooLargeError

ENCODED_FORM = "application/x-www-form-urlencoded"

#: The most fields of a form. The largest of our pages has a few thousand.
MOST_FIELDS = 10_000

#: The same before the sign-in.
MOST_PUBLIC_FIELDS = 20

#: The most parts of a header that is a list. A browser keeps up to 180 cookies for a host.
MOST_PARTS = 200

#: The languages, and the kinds of content, that are looked at; the others are those that are wanted least.
MOST_CHOICES = 10

#: A percent sign that begins no escape.
NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class LongListError(RequestError):
    """A header is a list of more parts than any client sends."""

    status = 431
    code = "headers_too_large"
    error = "A header has too many parts"
    message = "Delete the cookies of this host, or send fewer values in one header."


class FormParser(FormDataParser):
    """Werkzeug's, which reads an encoded form with little memory and bounds its fields, as it does with multipart."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, Any], MultiDict[str, Any]]:
        """The stream, the fields and the files. Raises `TooLargeError` and `InvalidError` besides Werkzeug's."""
        if mimetype != ENCODED_FORM:
            return super().parse(stream, mimetype, content_length, options)
        return stream, self.cls(self._fields(stream.read())), self.cls()

    def _fields(self, form: bytes) -> Iterator[tuple[str, str]]:
        if self.max_form_parts is not None and form.count(b"&") >= self.max_form_parts:
            raise TooLargeError(
                self.max_form_parts,
                "The form has too many fields",
                "Load the page again, and send the form from there.",
            )
        if NO_ESCAPE.search(form):
            raise InvalidError(message="The form has a percent sign that begins no escape. Send it from its page.")
        return read_fields(form)


class BoundedRequest(Request):
    """Flask's request with other readers of its form, its query and its lists."""

    form_data_parser_class = FormParser

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The query. People write percent signs into addresses by hand, and each that begins no escape is one."""
        return self.parameter_storage_class(read_fields(NO_ESCAPE.sub(b"%25", self.query_string)))

    @cached_property
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """The cookies; none of them if they are too many, since the request is refused then."""
        is_long = _parts(self.environ.get("HTTP_COOKIE", "")) > MOST_PARTS
        return ImmutableMultiDict() if is_long else super().cookies

    @cached_property
    def accept_languages(self) -> LanguageAccept:
        """The languages that the client prefers."""
        return parse_accept_header(_first(self.headers.get("Accept-Language", "")), LanguageAccept)

    @cached_property
    def accept_mimetypes(self) -> MIMEAccept:
        """The kinds of content that the client prefers."""
        return parse_accept_header(_first(self.headers.get("Accept", "")), MIMEAccept)


def refuse_long_lists() -> None:
    """Raise `LongListError` for a header of too many parts. Repeated headers arrive as one list."""
    for name, value in request.environ.items():
        if (name.startswith("HTTP_") or name == "CONTENT_TYPE") and _parts(value) > MOST_PARTS:
            raise LongListError()


def read_fields(encoded: bytes) -> Iterator[tuple[str, str]]:
    """The names and values of an encoded form or query, in which every percent sign begins an escape.

    As the URL standard reads them; bytes that are no UTF-8 stay escaped, as Werkzeug keeps them.
    """
    for field in encoded.split(b"&"):
        if field:
            name, _, value = field.partition(b"=")
            yield _text(name), _text(value)


def _text(encoded: bytes) -> str:
    plain = encoded.replace(b"+", b" ")
    if b"%" in plain:
        # Quoted-printable has the same escapes behind another sign, and its decoder makes no object of each.
        plain = a2b_qp(plain.replace(b"=", b"=3D").replace(b"%", b"="))
    return plain.decode("utf-8", "werkzeug.url_quote")


def _parts(value: str) -> int:
    """How many parts a header has, about."""
    return value.count(",") + value.count(";") + 1


def _first(value: str) -> str:
    return ",".join(value.split(",", MOST_CHOICES)[:MOST_CHOICES])
