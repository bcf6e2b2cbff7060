"""What verbs say of runs that they would make: with ``--dry-run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from danlu.cli.output import print_json, print_table, say, speak, spoken
from danlu.files.numbers import power

if TYPE_CHECKING:
    from danlu.lab.forecast import Forecast

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what would run, how long it takes and its FLOPs; run nothing."),
]


def show(forecast: Forecast, workers: int | None, as_json: bool, asks: str | None = None) -> None:
    """The forecast as JSON, or as tables; ``asks``: the question in the language of who asks, where danlu has
    it."""
    from functools import cache

    from danlu.lab.forecast import speed
    from danlu.lab.queue.executors import cores

    at_once, known = workers or cores(), cache(speed)
    if as_json:
        print_json("dry-run", forecast.json(at_once, known))
        return
    say(asks) if asks is not None else speak(forecast.asks)
    print_table(spoken(forecast.arms, names=(0,)), indent="  ", shorten=(1,))
    say()
    rows = [("runs", "arm", "what for", "steps", "FLOPs of each")]
    for one in forecast.runs:
        count = f"{one.least}" if one.least == one.most else f"{one.least} to {one.most}"
        steps = "" if one.steps is None else f"{one.steps:,}"
        each = "" if one.flops is None else power(f"{one.flops:.2g}")
        rows.append((count, one.arm, one.what, steps, each))
    told = spoken(rows, names=(1,))
    if not any(one.arm for one in forecast.runs):
        told = [[count, *more] for count, _, *more in told]
    print_table(told)
    say()
    if len(forecast.seeds) > 1:
        speak(f"seeds of what is compared: {forecast.seeds[0]} to {forecast.seeds[-1]}")
    for line in forecast.total(at_once, known):
        speak(line)
    for line in forecast.notes:
        speak(f"  {line}")
    speak("nothing was run; without --dry-run it runs, and runs that are there already are not made again")
