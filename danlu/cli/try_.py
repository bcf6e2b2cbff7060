"""The verb ``try``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import print_json, print_table, say
from danlu.cli.show import AsJson


def try_(
    ideas: Annotated[
        list[str],
        typer.Argument(
            metavar="IDEA...",
            help="An idea's name, several joined by + (qk-norm+swiglu), 'field=value …', or a YAML file.",
            show_default=False,
        ),
    ],
    on: Annotated[
        str,
        typer.Option(
            metavar="WORDS", help="The baseline, as after danlu train: nano (seconds a run), tiny (a minute)."
        ),
    ] = "nano",
    seeds: Annotated[
        int, typer.Option(help="Number of pairs of runs; the two of a pair have the same seed.")
    ] = 5,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Budget of each run: 60s, 2M (tokens), 1e13flop, '500 steps'. Default: the recipe's."
        ),
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(metavar="lr", help="First find the best rate of each side, on the same grid."),
    ] = None,
    stop_early: Annotated[
        bool,
        typer.Option(
            "--stop-early", help="Stop as soon as a sequential test decides; --seeds is the maximum."
        ),
    ] = False,
    studies: Annotated[
        Path, typer.Option(help="The folder of all studies. Runs that are there are not made again.")
    ] = Path("studies"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time. Default: one per core.")
    ] = None,
    ledger: Annotated[Path, typer.Option(metavar="FILE", help="The ledger to write the verdict to.")] = Path(
        "ledger.yaml"
    ),
    as_json: AsJson = False,
) -> None:
    """Test whether an idea helps.

    danlu trains pairs of runs, one with the idea and one without, with the same seed, initial weights and
    order of the data. The verdict is better, worse or not shown, from the 95 % interval of the difference,
    at equal steps, equal FLOPs and equal time.

    Examples: danlu try qk-norm; danlu try swiglu --on digits; danlu try lion --tune lr
    """
    from danlu.lab.trial import Question, try_ideas

    question = Question(tuple(ideas), on, seeds, budget, tune, stop_early)
    answer = try_ideas(question, studies, workers=workers, book=ledger)
    from danlu.files.write import write_atomically
    from danlu.lab.trial.report import report
    from danlu.lab.trial.terminal import details, table

    write_atomically(answer.study.report, report(answer).encode())
    if as_json:
        print_json([finding.json() for finding in answer.findings])
        return
    say(f"{answer.what}\n")
    print_table(table(answer), shorten=(0,), drop=(5,))
    say()
    for line in details(answer):
        say(line)
