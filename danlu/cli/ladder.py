"""The verb ``ladder``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli.options import Studies, StudyName, Workers
from danlu.cli.output import print_json, print_table, say, speak, spoken
from danlu.cli.show import AsJson, Words
from danlu.files.numbers import in_words, rounded

if TYPE_CHECKING:
    from danlu.lab.ladder.plan import Plan


def ladder(
    words: Words = None,
    budget: Annotated[
        str, typer.Option("--budget", help="Budget of all runs together: 1e15flop, or active seconds (600s).")
    ] = "300s",
    rungs: Annotated[
        int, typer.Option("--rungs", help="Levels of compute, each about three times the one below.")
    ] = 4,
    target: Annotated[str | None, typer.Option("--target", help="Budget of the large run: 1e17flop.")] = None,
    target_parameters: Annotated[
        str | None, typer.Option("--target-parameters", help="Or its number of parameters: 10M.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of each rung, with different seeds.")] = 1,
    rates: Annotated[
        str,
        typer.Option(
            "--rates",
            help="Learning rates: mup, law (the Step Law), fixed, or a JSON file of danlu laws fit.",
        ),
    ] = "mup",
    hold_out: Annotated[
        int, typer.Option("--hold-out", help="Largest levels that are not fitted, to test the law.")
    ] = 1,
    design: Annotated[
        str, typer.Option("--design", help="chinchilla (one size per level) or isoflop (five).")
    ] = "chinchilla",
    tokens_per_parameter: Annotated[
        float,
        typer.Option(
            "--tokens-per-parameter",
            help="Tokens per parameter of each rung; for isoflop, of the middle size.",
        ),
    ] = 20.0,
    far: Annotated[
        bool, typer.Option("--far", help="Go on however far beyond the rungs the target is.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
    studies: Studies = Path("studies"),
    study: StudyName = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Plan a large run from small ones.

    danlu trains models of growing size, fits a law, tests it on the largest of them, and plans the target.

    Example: danlu ladder nano --budget 1e13flop --target 1e14flop
    """
    from danlu.lab.ladder import Ladder, climb
    from danlu.lab.queue import Queue

    asked = Ladder(
        tuple(words or ()), budget=budget, rungs=rungs, seeds=seeds, rates=rates, design=design,
        tokens_per_parameter=tokens_per_parameter, hold_out=hold_out, target=target,
        target_parameters=target_parameters, far=far,
    )  # fmt: skip
    result = climb(
        asked, studies, name=study, dry_run=dry_run, queue_of=lambda folder: Queue(folder, workers=workers),
        on_plan=(lambda plan: None) if as_json else partial(_tell_plan, estimate=dry_run),
    )  # fmt: skip
    if as_json:
        print_json("ladder", result)
        return
    if not dry_run:
        _tell(result)
    for warning in result["warnings"]:
        speak(f"note: {warning}")


def _tell_plan(plan: Plan, estimate: bool = False) -> None:
    """``estimate`` how long it takes where that was not measured."""
    counted = f"{plan.shapes.experiment.data.unit}s"
    rows = [("level", "layers", "width", "parameters", counted, "steps", "FLOP", "growth", "rate", "time")]
    before: dict[int, float] = {}  # FLOP of the level below
    for rung in plan.rungs:
        before.setdefault(rung.level + 1, rung.flops)
        growth = f"{rung.flops / before[rung.level]:.1f}×" if rung.level in before else ""
        sized = rung.sized
        seconds = "" if plan.pace is None else f"{rung.steps * plan.pace.of(sized):.0f} s"
        rate = "" if rung.rate is None else f"{rung.rate:g}"
        size = str(rung.level + 1), str(sized.layers), str(sized.width), rounded(sized.parameters)
        cost = rounded(rung.tokens), f"{rung.steps:,}", f"{rung.flops:.3g}", growth
        rows.append((*size, *cost, rate, seconds))
    print_table(spoken(rows if plan.pace else [row[:-1] for row in rows]))
    runs = len(plan.rungs) * plan.seeds
    base = plan.rungs[0].experiment.network.base_width
    under = "" if base is None else f"; rates are those of width {base}, carried by muP"
    seconds = "" if plan.seconds is None else f", about {plan.seconds:.0f} s of training"
    if estimate and plan.seconds is None:
        from danlu.lab.forecast import speed

        seconds = f", about {in_words(plan.flops / speed())} of one core or GPU at this machine's speed now"
    speak(f"{runs} runs, {plan.seeds} of each rung: {plan.flops:.4g} FLOP{seconds}{under}")
    sys.stdout.flush()


def _tell(result: dict[str, Any]) -> None:
    law, target = result["law"], result["target"]
    say()
    metric = f"{result['metric']} ({result['better']} is better)"
    rows = [("parameters", result["counted"], "FLOP", result["loss"]["name"], metric, "run")]
    for run in result["runs"]:
        size = rounded(run["parameters"]), rounded(run["tokens"]), f"{run['flops']:.3g}"
        rows.append((*size, f"{run['loss']:.4f}", f"{run['metric']:.4f}", run["run"]))
    print_table(spoken(rows, names=(5,)), shorten=(5,))
    values = ", ".join(f"{name} = {value:.4g}" for name, value in law["parameters"].items())
    scatter = "" if law["scatter"] is None else f"; runs scatter by {law['scatter']:.2%} about it"
    speak(f"\n{law['formula']}: {values}{scatter}")
    if (best := result["allocation"]) is not None and "a" in best:
        speak(f"best size ∝ C^{_interval(best['a'], 3)}, best data ∝ C^{_interval(best['b'], 3)}")
    if (audit := result["audit"]) is not None:
        speak(f"audit: {audit['dependence']['text']}")
        speak(f"audit: {audit['looked']}")
    for one in result["held_out"]:
        speak(f"held out, {rounded(one['parameters'])} parameters: {one['sentence']}")
    if not result["held_out"]:
        speak("nothing was held out, so nothing tests the law")
    time = "" if target["seconds"] is None else f", about {target['seconds']:,.0f} s here"
    speak(
        f"\ntarget: {target['layers']} layers of {target['width']}, {rounded(target['parameters'])} "
        f"parameters, {rounded(target['tokens'])} {result['counted']} in {target['steps']:,} steps, "
        f"{target['flops']:.3g} FLOP{time}"
    )
    speak(f"expected: {_interval(target['loss'])} {result['loss']['unit']}")
    if target["metric"] is not None and result["metric"] != result["loss"]["name"]:
        say(f"          {_interval(target['metric'])} {result['unit']}")
    say(f"  {target['command']}")
    if target["calibration"]:
        speak(f"measured: {target['calibration']}")
    speak(f"\npoints in {result['points']}, drawn in {result['study']}/report.html")


def _interval(ends: dict[str, Any], digits: int = 4) -> str:
    """1.234 (1.2 … 1.3)"""
    value, low, high = (ends[key] for key in ("value", "low", "high"))
    if high is None:
        return f"{value:.{digits}f} (no interval)"
    return f"{value:.{digits}f} ({low:.{digits}f} … {high:.{digits}f})"
