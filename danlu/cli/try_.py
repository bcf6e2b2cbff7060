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
            help="An idea's name, several joined (qk-norm+swiglu), 'field=value …', or a YAML file.",
            show_default=False,
        ),
    ],
    on: Annotated[
        str, typer.Option(metavar="WORDS", help="The baseline, as after `danlu train`; tiny is the larger.")
    ] = "nano",
    seeds: Annotated[int, typer.Option(help="Pairs of runs; each pair shares its seed.")] = 5,
    budget: Annotated[
        str | None,
        typer.Option(help="Of each run: 60s, 2M (tokens), 1e13flop, '500 steps' (left out: the recipe's)."),
    ] = None,
    tune: Annotated[
        str | None, typer.Option(metavar="lr", help="Give both sides their best rate of one grid first.")
    ] = None,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop when a sequential test is clear; --seeds at most.")
    ] = False,
    studies: Annotated[
        Path, typer.Option(help="The lab's folder: runs that are there are not run again.")
    ] = Path("studies"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs side by side (left out: one a core).")
    ] = None,
    ledger: Annotated[
        Path, typer.Option(metavar="FILE", help="The ledger that remembers the verdict.")
    ] = Path("ledger.yaml"),
    as_json: AsJson = False,
) -> None:
    """Does an idea help? danlu try qk-norm

    Trains the baseline and the idea in pairs of equal seed, initial weights and data order, and says
    better, worse or not shown by the 95 % interval of the difference, at equal steps, FLOPs and time.
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
