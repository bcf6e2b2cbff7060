"""Options that several verbs of the lab take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Studies = Annotated[
    Path, typer.Option("--studies", help="The folder of all studies. Runs that are there are found again.")
]
StudyName = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Name of this study. Default: made from the words."),
]
Ledger = Annotated[Path, typer.Option("--ledger", metavar="FILE", help="The ledger to write the verdict to.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Runs at the same time. Default: one per core.")
]
