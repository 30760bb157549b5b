"""Why a file is refused. The messages are for the client, and name no library."""

from __future__ import annotations


class NotAnImageError(Exception):
    """Not a whole JPEG or PNG. The message gives the client the reason."""


class ImageTooLargeError(Exception):
    """More pixels than allowed, or more work than decoding may take. The message is a sentence for the client."""
