"""The verb ``sweep``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.dry_run import DryRun
from danlu.cli.dry_run import show as show_forecast
from danlu.cli.options import Studies, StudyName, Workers
from danlu.cli.output import label, print_json, print_table, say, short, speak, spoken
from danlu.cli.show import AsJson
from danlu.files.numbers import rounded

SHOWN = 20  # trials
LABEL = 12  # cells


def sweep(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help="A recipe, then +ideas and field=values, some of them grids: lr=1e-4..1e-1/3 "
            "(points a decade), layers=2,3,4, 'optimizer=adamw|lion', '+glu|+swiglu|'.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Runs at each point, with different seeds.")
    ] = 1,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Number of points to draw, from grids and ranges (1e-4..1e-1)."),
    ] = None,
    sampler: Annotated[
        str, typer.Option("--sampler", help="How points are drawn: random, tpe, qmc or gp.")
    ] = "random",
    halving: Annotated[
        bool,
        typer.Option("--halving", help="Short runs first; then the best third again, three times as long."),
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="The measure to compare by. Default: the objective's metric."),
    ] = None,
    studies: Studies = Path("studies"),
    study: StudyName = None,
    workers: Workers = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed runs again.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run an experiment at many points of a space.

    The same command continues a study. Other trials over the same fields join it.

    Example: danlu sweep nano lr=1e-3..1e-1/2 layers=2,3
    """
    if dry_run:
        from danlu.lab.sweep.asked import ask, forecast

        asked = ask(words or [], seeds=seeds, trials=trials, sampler=sampler, halving=halving, metric=metric)
        show_forecast(forecast(asked), workers, as_json)
        return
    from danlu.lab.queue import Queue
    from danlu.lab.queue.executors import cores
    from danlu.lab.sweep import sweep as carry_out

    with Queue(studies, workers=workers) as queue:
        result = carry_out(
            words or [],
            queue,
            studies=studies,
            name=study,
            seeds=seeds,
            trials=trials,
            sampler=sampler,
            halving=halving,
            metric=metric,
            at_once=workers or cores(),
            retry=retry,
        )
    if as_json:
        print_json("sweep", result)
    else:
        _tell(result)


def _tell(result: dict[str, Any]) -> None:
    counts = ", ".join(f"{number} {state}" for state, number in result["counts"].items() if number)
    seeds = f" · {result['seeds']} seeds each" if result["seeds"] > 1 else ""
    speak(
        f"{result['metric']} over {', '.join(result['fields'])}: {counts}{seeds}; "
        f"{result['better']} is better"
    )
    for warning in result["warnings"]:
        _line("warning", warning)
    say()
    _tell_trials(result)
    if result["best"] is None:
        speak("\nno trial finished; nothing can be said of the space")
    else:
        _tell_best(result)
    if result["halving"]:
        _tell_halving(result["halving"])
    spent = result["spent"]
    say()
    _line(
        "spent",
        f"{spent['runs']} runs, {spent['updates']:,} updates, {rounded(spent['flops'])}FLOP, "
        f"{spent['seconds']:.0f} active seconds",
    )
    _line("drawn", result["report"])
    if result["counts"]["failed"]:
        speak("\nSome runs failed; the same command with --retry runs them again.")
    if result["best"]:
        speak(f"\nTry next:\n  danlu train {shlex.join(result['best']['words'])}")


def _line(name: str, said: str) -> None:
    label(name, said, LABEL, indent="")


def _tell_trials(result: dict[str, Any]) -> None:
    rows = [("", *result["fields"], result["metric"], "by", "")]
    for trial in result["trials"][:SHOWN]:
        values = (trial["point"][field] for field in result["fields"])
        point = (short(value) if value != "" else "without" for value in values)
        rows.append((f"#{trial['number']}", *point, _value(trial), trial["by"], _remark(trial)))
    print_table(spoken(rows, names=range(1, 1 + len(result["fields"]))))
    if (more := len(result["trials"]) - SHOWN) > 0:
        speak(f"and {more} more (--json has all)")


def _value(trial: dict[str, Any]) -> str:
    if trial["value"] is None:
        return str(trial["state"])
    ends = f" [{trial['low']:.4f}, {trial['high']:.4f}]" if trial["low"] is not None else ""
    return f"{trial['value']:.4f}{ends}"


def _remark(trial: dict[str, Any]) -> str:
    rung = f"after {trial['steps']} updates" if trial["steps"] else ""
    return " · ".join(filter(None, [rung, trial["error"] if trial["state"] == "failed" else ""]))


def _tell_best(result: dict[str, Any]) -> None:
    best = result["best"]
    say()
    _line("best", f"#{best['number']}: {_value(best)} {result['unit']}".rstrip())
    for border in result["border"]:
        _line("warning", border["sentence"])
    at = f", after {result['compared_at']} updates" if result["compared_at"] else ""
    say()
    _line("importance", f"{result['importance']['by']}{at}")
    found = result["importance"]
    shares = {
        **found["shares"],
        **found["pairs"],
        "three and more": found["rest"],
        "(seed noise)": found["noise"],
    }
    rows = [(name, f"{share:.1%}") for name, share in shares.items() if share is not None]
    print_table(spoken(rows), indent="  ")
    for field, rows in result["isolation"].items():
        speak(f"\n{field} at its best over the others{at}")
        print_table(spoken([_isolated(row) for row in rows]), indent="  ")
    if variance := result["study_variance"]:
        say()
        _line("chance", f"{variance['sentence']}{at}")


def _isolated(row: dict[str, Any]) -> tuple[str, ...]:
    best = "–" if row["best"] is None else f"{row['best']:.4f}"
    number = "" if row["number"] is None else f"#{row['number']}"
    diverged = f"{row['diverged']} of {row['trials']} diverged" if row["diverged"] else ""
    return short(row["value"]), best, number, diverged


def _tell_halving(said: dict[str, Any]) -> None:
    rungs = ", ".join(f"{rung['points']} of {rung['steps']} updates" for rung in said["rungs"])
    say()
    _line("halving", rungs)
    _line("", f"{said['updates']:,} updates in all; every point at full length: {said['whole']:,}")
