"""The parts of a multipart as they arrive: one file, and a few texts (contract, section 4; RFC 7578)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, NeedData, State

from app.attachments.boundaries import Decoder
from app.attachments.destination import invalid_parameters, missing_parameters
from app.attachments.drafts import ImageDraft
from app.attachments.filenames import filename_of
from app.errors import InvalidError, RequestError, TooLargeError

#: Bytes that the other parts and the boundaries may take besides the photo.
OTHER_PARTS_BYTES = 64 * 1024
MAX_PARTS = 16
#: Bytes that the parser gets at a time, and so holds in memory.
SLICE = 64 * 1024

#: The part that names the charset of the texts that name none themselves (RFC 7578, section 4.6).
CHARSET_PART = "_charset_"
#: The text parts that mean something. Others are ignored, like the unknown keys of an envelope.
TEXTS = ("form_fill_id", "field_name", "local_id", CHARSET_PART)
#: Charsets that a text may have. Python knows more, some of which take long to decode.
CHARSETS = re.compile(
    r"(us-)?ascii|utf-?8|utf-?16(le|be)?|iso-8859-\d{1,2}|windows-\d{3,4}|koi8-[ru]|shift_jis|euc-(jp|kr)|gbk|gb18030|big5",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a multipart: the file, or a text with its content."""

    name: str
    #: The device's name for a file; None if it sent none.
    filename: str | None
    #: The charset that the part itself names.
    charset: str | None
    content: BytesIO


class PartReader:
    """Reads the parts. The one with the image is a file, with or without a file name.

    It is written to the draft as it arrives, so that a slow upload takes no memory.
    """

    def __init__(self, file_part: str, draft: ImageDraft) -> None:
        self._file_part = file_part
        self._draft = draft
        #: The head of the part with the image; None if there is none.
        self.file: Part | None = None
        self._texts: dict[str, Part] = {}
        self._part: Part | None = None
        self._count = 0

    def read(self, next_piece: Callable[[], bytes], boundary: bytes) -> None:
        """Read all parts. `next_piece` returns the next bytes of the body, and none at its end.

        Raises `RequestError`s with a sentence for each fault.
        """
        # The decoder also counts the part of a file that it holds: a slice, and the possible beginning of a boundary.
        decoder = Decoder(boundary, SLICE + OTHER_PARTS_BYTES)
        try:
            while piece := next_piece():
                if not self._took_content(decoder, piece):
                    self._read_slices(decoder, piece)
            self._parse(decoder, None)
        except RequestEntityTooLarge:
            raise _too_much_text() from None
        except (ValueError, AttributeError) as error:
            # The parser raises both kinds.
            raise self._unreadable(decoder) from error

    def _read_slices(self, decoder: Decoder, piece: bytes) -> None:
        """Read a piece in which a part begins or ends, or that may look so."""
        for start in range(0, len(piece), SLICE):
            cut = piece[start : start + SLICE]
            if not self._took_content(decoder, cut):
                self._parse(decoder, cut)

    def _took_content(self, decoder: Decoder, piece: bytes) -> bool:
        """Whether the piece was nothing but a part of the image, and has been written."""
        is_in_file = decoder.is_in_content and self._part is not None and self._part is self.file
        content = decoder.content_alone(piece) if is_in_file else None
        if content is not None:
            self._draft.write(content)
        return content is not None

    def _parse(self, decoder: Decoder, piece: bytes | None) -> None:
        """Let the parser have a piece, or None at the end of the body, and take what it has found."""
        decoder.receive_data(piece)
        while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
            self._take(event)

    def texts(self) -> dict[str, str]:
        """The text parts by name. Raises `InvalidError` for bytes that are no text in their charset."""
        default = self._texts.pop(CHARSET_PART, None)
        charset = "utf-8" if default is None else _decoded(default, "ascii").strip()
        return {name: _decoded(part, part.charset or charset) for name, part in self._texts.items()}

    def _take(self, event: Event) -> None:
        if isinstance(event, Field | File):
            self._begin(event)
        elif isinstance(event, Data) and self._part is not None:
            self._add(self._part, event)

    def _add(self, part: Part, event: Data) -> None:
        if part is self.file:
            self._draft.write(event.data)
            return
        if part.content.tell() + len(event.data) > OTHER_PARTS_BYTES:
            raise _too_much_text()
        part.content.write(event.data)

    def _begin(self, event: Field | File) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise TooLargeError(
                MAX_PARTS, "Too many parts", f"Send the {self._file_part} and its texts, and no others."
            )
        if not event.name:
            raise invalid_parameters("A part has no name. Send `Content-Disposition: form-data; name=…` with each.")
        if isinstance(event, File) or event.name == self._file_part:
            self._begin_file(event)
        else:
            self._begin_text(event)

    def _begin_file(self, event: Field | File) -> None:
        if event.name != self._file_part:
            raise self._not_one_file(f"The file stands in the part {event.name[:100]!r}.")
        if self.file is not None:
            raise self._not_one_file("There are several.")
        self._part = self.file = _part(event)

    def _begin_text(self, event: Field | File) -> None:
        if event.name in self._texts and event.name in TEXTS:
            raise invalid_parameters(f"The part {event.name[:100]!r} came twice. Send each part once.")
        self._part = self._texts[event.name] = _part(event)

    def _not_one_file(self, fault: str) -> RequestError:
        advice = f"Send one file a request, in the part {self._file_part!r}, and texts without a file name."
        return RequestError("Send one photo a request", f"{fault} {advice}", code="invalid")

    def _unreadable(self, decoder: Decoder) -> RequestError:
        """The error for the state in which the parser has given up. It can only run dry once all bytes have come."""
        if not decoder.complete:
            return self._broken("The multipart cannot be read. Send each part with its own Content-Disposition.")
        if decoder.state == State.PREAMBLE:
            return self._broken("The boundary that Content-Type names does not occur in the body.")
        return self._broken("The body ends before its closing boundary. Send it again, whole.", retryable=True)

    def _broken(self, message: str, **extra: bool) -> RequestError:
        return missing_parameters(f"form_fill_id, field_name, {self._file_part}", message, **extra)


def _part(event: Field | File) -> Part:
    _, parameters = parse_options_header(event.headers.get("content-type", ""))
    return Part(
        name=event.name,
        filename=filename_of(event.headers["content-disposition"]),
        charset=parameters.get("charset"),
        content=BytesIO(),
    )


def _decoded(part: Part, charset: str) -> str:
    """The text of a part. It is never decoded with replacements: two names could become one."""
    if not CHARSETS.fullmatch(charset):
        raise _no_text(part, f"Its charset {charset[:100]!r} is unknown. Send UTF-8.")
    try:
        return part.content.getvalue().decode(charset)
    except (LookupError, UnicodeError):
        raise _no_text(part, f"Not {charset}. Send UTF-8, or name the charset.") from None


def _no_text(part: Part, sentence: str) -> RequestError:
    return InvalidError(extra={"details": {part.name[:100]: [sentence]}})


def _too_much_text() -> TooLargeError:
    message = f"A part besides the photo may have {OTHER_PARTS_BYTES} bytes."
    return TooLargeError(OTHER_PARTS_BYTES, "A part is too large", message)
