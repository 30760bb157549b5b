"""*Out*: what a list shows as CSV, XLSX or photos in a ZIP, and an inspection as a PDF.

Each export asks the list's own query, by key and piece by piece. Nothing is loaded whole, and no connection to the
database is held while a slow line takes the bytes. A row that changes meanwhile is exported once, as it was when its
turn came.
"""

from fieldpost_console.pages.exports import photos, report, set_aside, tables

__all__ = ["photos", "report", "set_aside", "tables"]
