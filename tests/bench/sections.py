"""Sections for the test of what starts them: one that is right, and every way to go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.gpu.place import Place

Row = dict[str, Any]


def right(at: Place) -> Iterator[Row]:
    yield {"what": "a number", "is": 4.0}
    yield {"what": "a detail", "aside": True}


def raises(at: Place) -> Iterator[Row]:
    yield {"what": "before"}
    raise RuntimeError("the device is on fire")


def says_what_is_wrong(at: Place) -> Iterator[Row]:
    yield {"what": "a sum", "wrong": "2 and 2 make 5"}


def hangs(at: Place) -> Iterator[Row]:
    """With a child that would outlive it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    yield {"what": "child", "process": child.pid}
    time.sleep(1000)


def dies(at: Place) -> Iterator[Row]:
    yield {"what": "before"}
    os.abort()
