"""How a worker process uses its memory. Loads no library: gunicorn's master imports this module."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

#: The parameters of glibc's mallopt(3), and the size from which a piece of memory is large, in bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE = -1, -3, 1024 * 1024

#: After how many new objects Python looks for garbage among them.
COLLECT_AFTER = 10_000


def return_large_memory() -> None:
    """Let large pieces of memory, such as photos and decoded pictures, go back to the system when they are freed.

    By itself glibc raises that limit to the largest piece that was ever freed, up to 32 MiB. From then on each thread
    keeps the memory that it has freed, and a worker keeps the sum of its threads' largest needs.

    Smaller ones that are free are kept, up to that size in all for each thread. Otherwise each piece of a body would go
    back to the system, and its pages be made anew for the next one.
    """
    # Another C library may have no such call, and does not need it.
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGE)
        library.mallopt(M_TRIM_THRESHOLD, LARGE)


def spare_application() -> None:
    """Never look for garbage in the application that has been loaded, and less often among new objects.

    Otherwise every full collection would go through the whole application, and stop all threads of the worker for as
    long. A batch makes many objects, nearly none of them in cycles, so looking at each 700 new ones is wasted work.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
