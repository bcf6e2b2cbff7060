"""The verb ``publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import inform, print_table, speak, spoken


def publish(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of runs.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="TOOL",
            help="csv, parquet, tensorboard, mlflow, wandb or trackio; or an installed package's.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to. Default: published/TOOL.", show_default=False),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the runs that train have ended.")
    ] = False,
) -> None:
    """Write runs for another tool.

    The same command again adds what is new. Training is not touched, and nothing is sent over a network.

    Examples: danlu publish runs --to csv; danlu publish runs/first --to tensorboard --follow
    """
    from danlu.lab.errors import LabError
    from danlu.lab.publish.carry_out import OUT
    from danlu.lab.publish.carry_out import publish as carry_out
    from danlu.lab.publish.exporter import find

    told = carry_out(runs, to, out, follow=follow, warn=lambda sentence: inform(f"warning: {sentence}"))
    done = [one for one in told if not one.failed]
    if done:
        rows = [("run", "called", "rows", "taken back")]
        rows += [
            (
                str(one.folder),
                one.name,
                f"{one.rows:,}" if one.rows else "nothing new",
                f"{one.rewound} times" if one.rewound else "",
            )
            for one in done
        ]
        print_table(spoken(rows, names=(0, 1)), shorten=(0,))
        place = out or OUT / to
        hint = find(to).hint.format(out=place)
        speak(f"\nwritten to {place}" + f"; {hint}" * bool(hint))
    if failed := len(told) - len(done):
        raise LabError(f"{failed} of {len(told)} runs are not published; the same command tries again")
