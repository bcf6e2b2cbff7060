"""The verb ``mcp``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GIB = 1 << 30


def mcp(
    folder: Annotated[
        Path, typer.Option("--folder", help="The working folder. Nothing outside of it is read or written.")
    ] = Path("."),
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, help="Seconds that its studies may run, together.")
    ] = 3600.0,
    max_flops: Annotated[
        float | None,
        typer.Option(
            "--max-flops", min=0, help="FLOPs that its studies may plan, together. Default: no limit."
        ),
    ] = None,
    max_disk: Annotated[
        float | None,
        typer.Option("--max-disk", metavar="GIB", min=0, help="GiB that the folder of studies may take."),
    ] = 10.0,
    referee: Annotated[
        Path | None,
        typer.Option(
            "--referee", metavar="FILE", help="Let agents judge the program of this file, which runs it."
        ),
    ] = None,
) -> None:
    """Serve danlu to agents, over the Model Context Protocol.

    An agent's host starts it and speaks with it over stdin and stdout. Studies run in processes of their own,
    within the limits. Needs the extra mcp: pip install 'danlu[mcp]'

    Example: danlu mcp --folder work --max-seconds 7200 --max-flops 1e16
    """
    import os
    from importlib.util import find_spec

    from danlu.files.errors import DanluError

    if find_spec("mcp") is None:
        raise DanluError("the SDK of the Model Context Protocol is not installed: pip install 'danlu[mcp]'")
    if not folder.is_dir():
        raise DanluError(f"--folder {folder} is not a folder; name the one that agents work in")
    if referee is not None and not (folder / referee).is_file():
        raise DanluError(f"--referee {referee} is not a file in {folder}; danlu referee --init writes one")
    os.chdir(folder)
    from danlu.mcp.inside import check_places
    from danlu.mcp.questions import Referee
    from danlu.mcp.server import serve
    from danlu.mcp.studies import Limits, Studies

    if referee is not None:
        check_places(os.fspath(referee))
    Referee.file = referee
    disk = None if max_disk is None else max_disk * GIB
    serve(Studies(Limits(max_seconds, max_flops, disk), referee))
