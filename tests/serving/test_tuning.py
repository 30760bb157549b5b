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


def left(how: str) -> int:
    command = [sys.executable, "-c", FREEING, how]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_large_pieces_of_memory_go_back_to_the_system() -> None:
    assert left("tuned") < 8 < left("as it is")


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
