"""Memory of a worker: freed pieces go back to the system, and the application is spared by the garbage collector."""

from __future__ import annotations

import gc
import subprocess
import sys

from app.serving.tuning import spare_application
from tests.support.servers import ROOT

#: Frees a large piece, which lets glibc raise its limit, then as many smaller ones as come to 64 MiB, and prints how
#: much of them stays with the process, in MiB.
FREEING = """
import os, sys
from app.serving.tuning import return_large_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

if sys.argv[1] == "tuned":
    return_large_memory()
large = bytearray(30 * 2**20)
del large
before = resident()
pieces = [bytearray(2 * 2**20) for _ in range(32)]
last = bytearray(2**10)
keep = [bytearray(2**10) for _ in range(1000)]
del pieces
print(resident() - before)
"""

#: Takes and frees a piece as large as those of bodies a hundred times, in a thread as the worker's, and prints how many
#: pages were made for it.
PIECES = """
import resource, threading
from app.serving.tuning import return_large_memory

def take():
    for _ in range(100):
        bytearray(400 * 1024)

return_large_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=take)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def left(how: str) -> int:
    command = [sys.executable, "-c", FREEING, how]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_large_pieces_of_memory_go_back_to_the_system() -> None:
    assert left("tuned") < 8 < left("as it is")


def test_the_pages_of_a_small_piece_are_used_again() -> None:
    command = [sys.executable, "-c", PIECES]
    made = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    # One piece takes 100 pages.
    assert made < 1000


def test_a_worker_does_not_look_for_garbage_in_the_application_itself() -> None:
    thresholds = gc.get_threshold()
    # As Python begins; tests have others.
    gc.set_threshold(700, 10, 10)
    try:
        spare_application()
        assert gc.get_freeze_count() > 100_000
        assert gc.get_threshold()[0] > 700
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
