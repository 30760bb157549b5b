"""The memory that slow clients hold in a worker: bodies that have arrived in part, and answers that nobody reads.

Loads no library: gunicorn's master imports this module.
"""

from __future__ import annotations

import threading

#: Smaller ones are not counted: 512 connections hold 32 MiB of them at most, and small requests always go through.
SMALL = 64 * 1024


class Held:
    """The bytes that each slow client holds. Beyond `most` in all, those go that have been slow for longest.

    A client that has come later could otherwise be kept out by those that never end. The last one stays, however much
    it holds.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        #: Client -> bytes, those that have been slow for longest first.
        self._sizes: dict[object, int] = {}
        self._outcasts: set[object] = set()

    def note(self, client: object, size: int) -> None:
        """Count a client's bytes from now on, in place of those that were counted before."""
        with self._lock:
            if client not in self._outcasts:
                self._sizes[client] = size
                self._make_room()

    def _make_room(self) -> None:
        excess = sum(self._sizes.values()) - self._most
        while excess > 0 and len(self._sizes) > 1:
            client = next(iter(self._sizes))
            excess -= self._sizes.pop(client)
            self._outcasts.add(client)

    def has_to_go(self, client: object) -> bool:
        """Whether the client's bytes are needed for others."""
        return client in self._outcasts

    def forget(self, client: object) -> None:
        """The client holds nothing any more."""
        with self._lock:
            self._sizes.pop(client, None)
            self._outcasts.discard(client)
