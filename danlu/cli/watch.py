"""The verb ``watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import speak


def watch(
    folder: Annotated[
        Path,
        typer.Argument(metavar="[FOLDER]", help="What holds runs and studies. Default: this folder."),
    ] = Path("."),
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Default: 8765, or the next free one.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at. Others than this machine's need --name.")
    ] = "127.0.0.1",
    name: Annotated[
        str | None, typer.Option("--name", metavar="MACHINE", help="What browsers call this machine.")
    ] = None,
) -> None:
    """Show runs and studies live in a browser.

    It prints an address with a token; who opens it sees everything in the folder, and can pause and stop the
    runs of a queue. It listens to this machine alone. Needs the extra: pip install 'danlu[watch]'.

    Examples: danlu watch; danlu watch experiments --port 9000
    """
    from danlu.watch.serve import serve

    serve(folder, host=host, port=port, name=name, say=speak)
