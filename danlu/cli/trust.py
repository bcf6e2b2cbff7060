"""The verb ``trust``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Studies
from danlu.cli.output import print_json, speak
from danlu.cli.show import AsJson


def trust(
    file: Annotated[str, typer.Argument(help="A file of danlu, such as nn/block.py.", show_default=False)],
    studies: Studies = Path("studies"),
    as_json: AsJson = False,
) -> None:
    """Use runs again after an edit of danlu that changes nothing.

    danlu makes one run that depends on the file again. If it is the same bit for bit, all runs by the old
    version of the file are taken as by the new one.

    Example: danlu trust nn/block.py
    """
    from dataclasses import asdict

    from danlu.lab.queue import Queue
    from danlu.lab.trust import trust as carry_out

    with Queue(studies, workers=1) as queue:
        found = carry_out(file, queue)
    if as_json:
        print_json("trust", [asdict(one) for one in found])
        return
    for one in found:
        speak(f"{one.run} made again ({one.again}) is the same bit for bit")
        speak(f"  {one.runs} runs by {one.file} as it was are taken as by the one that is here")
    if not found:
        speak(f"no run in {studies / 'runs'} differs from the code here in {file} alone")
