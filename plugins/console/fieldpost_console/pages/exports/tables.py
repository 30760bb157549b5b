"""Tables: the inspections of a list, or all values below them, as CSV (RFC 4180) or XLSX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import xlsxwriter
from flask import Response, send_file, stream_with_context
from werkzeug.wrappers import Response as BaseResponse

from app.errors import InvalidError, NotFoundError
from app.models import User
from app.pages import gettext
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.exports.noted import note_file
from fieldpost_console.pages.exports.pieces import (
    Line,
    inspection_heading,
    inspection_lines,
    value_heading,
    value_lines,
)
from fieldpost_console.pages.filters import given_filters, read_filters
from fieldpost_console.pages.private import asks_for_private

#: Lines of an XLSX file. It is made as a whole before it is sent; CSV has no limit.
MOST_LINES = 100_000

#: Lines of CSV that are sent at once.
LINES_AT_A_TIME = 200

#: Characters with which a spreadsheet begins a formula, in some countries in their wide forms, too.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

#: Characters of a cell of XLSX, as UTF-16 counts them.
LONGEST_CELL = 32_767


class Table(NamedTuple):
    """A kind of table: its heading, and the lines for a user and filters, with private values or without."""

    heading: Callable[[bool], Line]
    lines: Callable[[User, dict[str, Any], bool], Iterator[Line]]


TABLES = {"inspections": Table(inspection_heading, inspection_lines), "values": Table(value_heading, value_lines)}


@blueprint.get("/exports/<name>.csv")
def export_csv(name: str) -> Response:
    """The table as CSV, in UTF-8 with a mark at the front, by which spreadsheets know it."""
    heading, lines = _wanted(name)
    note_file(f"{name}.csv", given_filters())
    return csv_answer(name, heading, lines)


@blueprint.get("/exports/<name>.xlsx")
def export_xlsx(name: str) -> BaseResponse:
    """The table as a workbook of one sheet."""
    heading, lines = _wanted(name)
    file = TemporaryFile()  # noqa: SIM115 (the answer closes it)
    try:
        _write_workbook(file, heading, lines)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    note_file(f"{name}.xlsx", given_filters())
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return send_file(file, kind, as_attachment=True, download_name=f"{name}.xlsx")


def csv_answer(name: str, heading: Line, lines: Iterator[Line]) -> Response:
    """The lines as a CSV file of this name, which is sent while they are read."""
    response = Response(stream_with_context(_csv_pieces(chain([heading], lines))), mimetype="text/csv")
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}.csv")
    return response


def read_export_filters() -> dict[str, Any]:
    """The filters of the address. Raises `InvalidError`: a wrong filter would export everything."""
    filters, faults = read_filters()
    if faults:
        raise InvalidError(
            gettext("These filters mean nothing: %(names)s", names=", ".join(faults)), extra={"details": faults}
        )
    return filters


def _wanted(name: str) -> tuple[Line, Iterator[Line]]:
    """The heading and the lines of the table in the address. Private values are left out unless it has `private=1`."""
    if name not in TABLES:
        raise NotFoundError("There is no such export")
    filters, with_private = read_export_filters(), asks_for_private()
    return TABLES[name].heading(with_private), TABLES[name].lines(signed_in_user(), filters, with_private)


def _csv_pieces(lines: Iterator[Line]) -> Iterator[bytes]:
    buffer = io.StringIO()
    buffer.write("\ufeff")
    writer = csv.writer(buffer)
    while some := list(islice(lines, LINES_AT_A_TIME)):
        writer.writerows([[_harmless(cell) for cell in line] for line in some])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe (CWE-1236)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _write_workbook(file: Any, heading: Line, lines: Iterator[Line]) -> None:
    """Raises `InvalidError` where there are too many lines."""
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "nan_inf_to_errors": True,
    }
    # Closed in any case: until then the lines are in a file of its own.
    with closing(xlsxwriter.Workbook(file, options)) as workbook:
        sheet = workbook.add_worksheet()
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, heading, workbook.add_format({"bold": True}))
        for number, line in enumerate(lines, 1):
            if number > MOST_LINES:
                raise InvalidError(
                    gettext("There are more than %(most)s lines", most=MOST_LINES),
                    gettext("Choose fewer inspections, or export them as CSV, which has no limit."),
                )
            for column, cell in enumerate(line):
                _write_cell(sheet, number, column, cell)


def _write_cell(sheet: Any, number: int, column: int, cell: object) -> None:
    """A number beyond what a workbook can hold exactly is a text."""
    if isinstance(cell, str):
        sheet.write_string(number, column, _plain(cell))
    elif isinstance(cell, int | float):
        is_exact = isinstance(cell, float) or abs(cell) < 10**15
        (sheet.write_number if is_exact else sheet.write_string)(number, column, cell if is_exact else str(cell))


def _plain(text: str) -> str:
    """A text that fits into a cell. XlsxWriter takes one from `<r>` to `</r>` for XML, and would write it as it is."""
    if len(text) >= LONGEST_CELL // 2:
        # The last character is kept for the blank.
        text = text.encode("utf-16-le")[: 2 * (LONGEST_CELL - 1)].decode("utf-16-le", "ignore")
    return f"{text} " if text.startswith("<r>") and text.endswith("</r>") else text
