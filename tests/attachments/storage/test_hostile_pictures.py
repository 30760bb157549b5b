"""Hostile pictures: each is refused or read within 3 seconds and 300 MB, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_pictures import HOSTILE

SECONDS, MEGABYTES = 3, 300

#: For each path on a line: reads the picture as an upload does, and makes its thumbnail if it is taken. Prints what
#: became of it, the processor time and the peak of memory. Each picture has a process, which begins as a copy of one
#: that has loaded the code. The peak is that of the copy (VmHWM), all that was loaded included.
MEASURE = """
import json, os, resource, sys, time
from pathlib import Path
from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError
from app.attachments.storage.images import thumbnail, verify

def measure(path):
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    data = Path(path).read_bytes()
    result = {"outcome": "taken", "seconds": []}
    for work in (lambda: verify(data, 50_000_000), lambda: thumbnail(data)):
        began = time.process_time()
        try:
            work()
        except (NotAnImageError, ImageTooLargeError) as error:
            result |= {"outcome": type(error).__name__, "reason": str(error)}
        result["seconds"].append(time.process_time() - began)
        if result["outcome"] != "taken":
            break
    status = Path("/proc/self/status").read_text()
    result["megabytes"] = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps(result), flush=True)

for line in sys.stdin:
    if not (process := os.fork()):
        measure(line.rstrip())
        os._exit(0)
    if os.waitpid(process, 0)[1]:
        sys.exit("The process for the picture has failed.")
"""

#: The hostile pictures that are whole, and so are taken; the others are refused.
TAKEN = {
    "Huffman, 100 scans of 14 megapixels",
    "Huffman, 30 scans of 49 megapixels",
    "RGB, 10 scans of 30 megapixels",
    "CMYK, 14 scans of 24 megapixels",
    "RGB, 60 scans of 16 megapixels",
    "baseline of 49 megapixels",
    "baseline of 49 megapixels without its end",
    "progressive of 18 megapixels without its end",
    "65 535 high",
    "65 535 wide",
    "16 bits, four channels",
    "interlaced",
    "interlaced, 16 bits",
    "grey of 16 bits",
    "text of 128 MiB",
    "international text of 128 MiB",
    "profile of 128 MiB",
    "profile that is none",
    "profile that says 4 GB",
    "pixels of 256 MiB for ten",
    "texts without number",
    "markers without end",
    "a profile of print",
}


@pytest.fixture(scope="module")
def measured() -> Iterator[Callable[[Path], Any]]:
    """Measures the picture at a path."""
    command = [sys.executable, "-c", MEASURE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, answers = process.stdin, process.stdout

        def measure(path: Path) -> Any:
            print(path, file=given, flush=True)
            return json.loads(answers.readline())

        yield measure


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_takes_little_time_and_memory(
    measured: Callable[[Path], Any], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(HOSTILE[name]())
    assert path.stat().st_size <= 10 * 2**20
    result = measured(path)
    assert max(result["seconds"]) < SECONDS
    assert result["megabytes"] < MEGABYTES
    assert (result["outcome"] == "taken") == (name in TAKEN), result
    assert not any(word in result.get("reason", "") for word in ("Pillow", "Png", "Image", "PIL", "0x", "BytesIO"))


def test_every_picture_that_is_taken_is_in_the_corpus() -> None:
    assert set(HOSTILE) >= TAKEN
