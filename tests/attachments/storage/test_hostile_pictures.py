"""Hostile pictures: each is refused or read within 3 seconds and 300 MB, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_pictures import HOSTILE

SECONDS, MEGABYTES = 3, 300

#: Reads a picture as an upload does, and makes its thumbnail if it is one. Prints what became of it, the processor
#: time and the peak of memory. The peak is that of the program (VmHWM): the maximum that getrusage reports counts from
#: before the program began, and so includes the tests that started it.
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError
from app.attachments.storage.images import thumbnail, verify
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
data = Path(sys.argv[1]).read_bytes()
result = {"outcome": "taken", "seconds": []}
for work in (lambda: verify(data, 50_000_000), lambda: thumbnail(data)):
    began = time.process_time()
    try:
        work()
    except (NotAnImageError, ImageTooLargeError) as error:
        result |= {"outcome": type(error).__name__, "reason": str(error)}
    result["seconds"].append(time.process_time() - began)
status = Path("/proc/self/status").read_text()
result["megabytes"] = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps(result))
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


def measured(path: Path) -> Any:
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], cwd=Path.cwd(), check=True, capture_output=True, text=True
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_takes_little_time_and_memory(tmp_path: Path, name: str) -> None:
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
