"""The report on one inspection as a PDF: people, answers by section, photos and signatures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from flask import send_file
from markupsafe import escape
from PIL import Image
from reportlab import rl_config
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont, registerFontFamily
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from app.administration import ShownRow, ShownValue, models_shown, rows_below, title_of
from app.attachments import MissingObjectError, attachment_thumbnail
from app.clock import now
from app.errors import NotFoundError
from app.models import Attachment, Inspection, db
from app.pages import gettext
from fieldpost_console.pages.blueprint import ONE, blueprint
from fieldpost_console.pages.exports.noted import note_file
from fieldpost_console.pages.inspection import people_of, visible_inspection
from fieldpost_console.pages.private import shown_to_reader

# A picture would otherwise be written as text, which takes a quarter more.
rl_config.useA85 = 0

FONT = "Roboto"

#: Pictures of a report. The others are named, and are in the ZIP.
MOST_PICTURES = 100

#: Characters of an answer, and of an inspection's notes, in a report.
LONGEST_ANSWER, LONGEST_NOTES = 5_000, 50_000

#: Characters of all answers of a report together, and those that each of them takes at least.
MOST_CHARACTERS, LEAST_CHARACTERS = 1_000_000, 100

#: Answers in one table: ReportLab looks at all lines of a table again for each page.
MOST_ANSWERS = 100

#: Characters and lines in a row of a table, which must not be higher than a page, and characters of a label.
LONGEST_PIECE, MOST_LINES, LONGEST_LABEL = 1_000, 20, 500

#: Of a line: the page without its margins, and without the padding around everything on it.
WIDTH = A4[0] - 36 * mm - 12

BODY = ParagraphStyle("body", fontName=FONT, fontSize=9.5, leading=13, splitLongWords=1)
MUTED = ParagraphStyle("muted", BODY, textColor=colors.HexColor("#55606a"))
TITLE = ParagraphStyle("title", BODY, fontName=f"{FONT}-Bold", fontSize=18, leading=22, spaceAfter=4)
HEADING = ParagraphStyle(
    "heading", BODY, fontName=f"{FONT}-Bold", fontSize=13, leading=17, spaceBefore=12, spaceAfter=4
)
SECTION = ParagraphStyle("section", BODY, fontName=f"{FONT}-Bold", spaceBefore=8, spaceAfter=2)

LINES = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.HexColor("#d3d9de")),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ]
)


@blueprint.get(f"{ONE}/report.pdf")
def report(inspection_id: int) -> BaseResponse:
    """The report, made now; answers are cut after 5 000 characters, notes after 50 000, all answers together after a
    million, and at most 100 pictures are shown.

    Private values are hidden, as on the page, unless the address has `private=1`.
    """
    root = visible_inspection(inspection_id)
    _load_fonts()
    file = TemporaryFile()  # noqa: SIM115 (the answer closes it)
    title = title_of(root)
    document = SimpleDocTemplate(
        file, pagesize=A4, title=title, author="Fieldpost",
        leftMargin=18 * mm, rightMargin=18 * mm, topMargin=16 * mm, bottomMargin=18 * mm,
    )  # fmt: skip
    made_at = f"{now():%Y-%m-%d %H:%M} UTC"
    footer = gettext("Inspection %(id)s, as of %(time)s", id=root.id, time=made_at)

    def draw_footer(canvas: Any, page: Any) -> None:
        canvas.setFont(FONT, 8)
        canvas.drawString(18 * mm, 10 * mm, footer)
        canvas.drawRightString(A4[0] - 18 * mm, 10 * mm, str(page.page))

    try:
        with TemporaryDirectory() as directory:
            story = list(_story(root, title, Path(directory)))
            document.build(story, onFirstPage=draw_footer, onLaterPages=draw_footer)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    note_file("report.pdf", {"inspection_id": inspection_id})
    return send_file(file, "application/pdf", as_attachment=True, download_name=f"inspection-{inspection_id}.pdf")


def _story(root: Inspection, title: str, directory: Path) -> Iterator[Flowable]:
    """The parts of the report, in order."""
    people = people_of(root)
    yield _text(title, TITLE)
    head = [
        (gettext("Date"), root.date.isoformat()),
        (gettext("Status"), root.status.replace("_", " ")),
        (gettext("Owner"), people["owner"] or "–"),
        (gettext("Assigned to"), people["assignee"] or "–"),
    ]
    yield _table(head)
    pictures, room = _Pictures(root, directory), _Room()
    for shown in takewhile(lambda _: not room.is_full, _rows(root)):
        yield _text(shown.title, HEADING)
        for section, values in takewhile(lambda _: not room.is_full, shown.sections):
            yield from _section(section, [*takewhile(room.has, values)], pictures)
    if room.is_full:
        yield _text(
            gettext(
                "This report has no room for more answers. All of them are in the file of all answers, CSV or XLSX."
            ),
            MUTED,
        )
    if root.notes:
        yield _text(gettext("Notes"), HEADING)
        # One paragraph of many pages takes much time.
        yield from (_text(piece, BODY) for piece in _pieces(root.notes[:LONGEST_NOTES]))
    if pictures.left_out:
        yield Spacer(0, 6 * mm)
        yield _text(gettext("%(count)s further pictures are not shown.", count=pictures.left_out), MUTED)


def _rows(root: Inspection) -> Iterator[ShownRow]:
    """The rows below the inspection, of all entities."""
    for model in models_shown():
        after: Any = None
        while model is not Attachment:
            rows, after = rows_below(db.session(), root, model, after=after)
            yield from map(shown_to_reader, rows)
            if after is None:
                break


def _section(section: str, values: list[ShownValue], pictures: _Pictures) -> Iterator[Flowable]:
    if section:
        yield _text(section, SECTION)
    answers = [(value.label.label, _answer(value)) for value in values if not _has_pictures(value)]
    for start in range(0, len(answers), MOST_ANSWERS):
        yield _table(answers[start : start + MOST_ANSWERS])
    for value in values:
        if _has_pictures(value):
            yield from pictures.of(value)


def _has_pictures(value: ShownValue) -> bool:
    return value.label.kind in ("photo", "signature") and not value.is_missing and not value.is_hidden


def _answer(value: ShownValue) -> str:
    if value.is_hidden:
        return gettext("hidden")
    if value.is_missing:
        return "–"
    return f"{value.text[:LONGEST_ANSWER]} {value.label.unit}".strip()


class _Room:
    """The room for answers in one report."""

    def __init__(self) -> None:
        self._left = MOST_CHARACTERS

    @property
    def is_full(self) -> bool:
        """Whether an answer had no room."""
        return self._left < 0

    def has(self, value: ShownValue) -> bool:
        """Whether there is room for a value, which takes it."""
        self._left -= max(len(_answer(value)), LEAST_CHARACTERS)
        return not self.is_full


class _Pictures:
    """The pictures of one report, as files in a directory until it is written."""

    def __init__(self, root: Inspection, directory: Path) -> None:
        self.left_out = 0
        self._shown, self._directory = 0, directory
        statement = select(Attachment).where(Attachment.inspection_id == root.id, Attachment.deleted_at.is_(None))
        self._attachments = {attachment.id: attachment for attachment in db.session.scalars(statement)}

    def of(self, value: ShownValue) -> Iterator[Flowable]:
        """The pictures of a field, with its label."""
        ids = value.value if isinstance(value.value, list) else [value.value]
        for attachment in filter(None, map(self._attachments.get, map(str, ids))):
            if self._shown == MOST_PICTURES:
                self.left_out += 1
                continue
            self._shown += 1
            width = 45 * mm if value.label.kind == "signature" else 110 * mm
            drawn = _drawn(attachment, width, self._directory)
            yield KeepTogether([_text(value.label.label, MUTED), drawn, Spacer(0, 2 * mm)])


def _drawn(attachment: Attachment, width: float, directory: Path) -> Flowable:
    """A picture in the size that it has on paper, with a file in the directory; a sentence if its bytes are missing or
    damaged.
    """
    try:
        small = attachment_thumbnail(attachment)
    except (MissingObjectError, NotFoundError):
        return _text(gettext("The bytes of this picture are missing or damaged."), BODY)
    with Image.open(io.BytesIO(small)) as image:
        height = width * image.height / image.width
    share = min(1.0, 120 * mm / height)
    file = directory / f"{attachment.id}.jpg"
    file.write_bytes(small)
    return _Picture(file, width * share, height * share)


class _Picture(Flowable):  # type: ignore[misc]
    """A JPEG that goes into the report as it is: ReportLab's own class keeps the pixels of each until the end."""

    def __init__(self, file: Path, width: float, height: float) -> None:
        super().__init__()
        self._file, self.width, self.height = file, width, height

    def draw(self) -> None:
        """Draw it on the page that `canv` writes."""
        self.canv.drawImage(str(self._file), 0, 0, self.width, self.height)


def _table(lines: list[tuple[str, str]]) -> Table:
    """The labels and texts beside each other. ReportLab has no room for a row that is higher than a page."""
    cells = [
        [_text("" if number else label[:LONGEST_LABEL], MUTED), _text(piece, BODY)]
        for label, text in lines
        for number, piece in enumerate(_pieces(text))
    ]
    return Table(cells, colWidths=[WIDTH * 0.36, WIDTH * 0.64], style=LINES, hAlign="LEFT")


def _pieces(text: str) -> Iterator[str]:
    """A text in parts, at least one, each of which fits on a page."""
    start = 0
    while start == 0 or start < len(text):
        piece = "".join(text[start : start + LONGEST_PIECE].splitlines(keepends=True)[:MOST_LINES])
        yield piece
        start += len(piece) or 1


def _text(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(str(escape(text)).replace("\n", "<br/>"), style)


@cache
def _load_fonts() -> None:
    """Roboto from its package: the fonts of every PDF reader have no letters beyond Western Europe."""
    directory = files("font_roboto") / "files"
    for name, file in ((FONT, "Roboto-Regular.ttf"), (f"{FONT}-Bold", "Roboto-Bold.ttf")):
        registerFont(TTFont(name, str(directory / file)))
    registerFontFamily(FONT, normal=FONT, bold=f"{FONT}-Bold", italic=FONT, boldItalic=f"{FONT}-Bold")
