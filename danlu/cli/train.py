"""The verb ``train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import inform, label, say, signed, speak, spoken
from danlu.cli.show import AsJson, Shrink, Words


def train(
    words: Words = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="The run's folder. The same command again resumes the run.")
    ] = None,
    processes: Annotated[
        str | None,
        typer.Option(
            "--processes",
            help="Numbers of processes that torchrun may go on with, such as 2,4; checked first.",
        ),
    ] = None,
    shrink: Shrink = None,
    as_json: AsJson = False,
) -> int:
    """Train an experiment.

    Example: danlu train tiny lr=1e-3 --run runs/first
    """
    from danlu.spec.errors import SpecError
    from danlu.spec.kept import lacking
    from danlu.spec.shrink import resolve

    words, counts = words or [], _counts(processes)
    try:
        wanted = resolve(words, shrink)
    except SpecError:
        if run is not None and (said := lacking(run)):
            raise SpecError(said) from None
        raise
    from danlu.cli.progress import Progress
    from danlu.train.folder import check_imported, name_of
    from danlu.train.run import SIGNAL_EXIT
    from danlu.train.run import train as carry_out

    if words:
        check_imported(Path(words[0]), run)
    progress = Progress(wanted.objective.metrics[0], wanted.unit)
    try:
        summary = carry_out(wanted, run, progress, name=name_of(words, shrink), counts=counts)
    finally:
        progress.close()
    if summary is None:  # not the first of several processes
        return 0
    stopped = summary.pop("stopped")
    if stopped:
        done = f"saved step {summary['steps']}" if summary["steps"] else "nothing was trained yet"
        run = summary["run"]
        again = "begins anew" if run is None else f"with --run {shlex.quote(str(run))} continues"
        inform(f"{stopped}: {done}; the same command {again}")
        return SIGNAL_EXIT[stopped]
    if as_json:
        from danlu.files.json import to_json

        say(to_json(signed("train", summary)))
    else:
        _tell(summary)
    return 0


def _counts(said: str | None) -> set[int]:
    """The numbers that an option names."""
    from danlu.spec.errors import SpecError

    parts = [] if said is None else [part.strip() for part in said.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit() and 0 < int(part) < 10**6):
            raise SpecError(f"--processes = {said}: {part!r} is no number of processes; allowed: such as 2,4")
    return set(map(int, parts))


def _error(metric: dict[str, Any]) -> str:
    return f" ± {metric['error']:.2g}" if "error" in metric else ""


def _evaluating(seconds: dict[str, float]) -> str:
    """Whether speed counts evaluation, and what share of the time that took."""
    whole = sum(seconds.values())
    if not whole or not seconds.get("evaluation"):
        return ""
    return f"; evaluation, which took {seconds['evaluation'] / whole:.0%} of the time, is not counted"


def _tell(summary: dict[str, Any]) -> None:
    from danlu.spec import Metric
    from danlu.train.folder import RunFolder

    seconds = {part: value for part, value in summary["active_seconds"].items() if value >= 0.05}
    metric, best, units = Metric.read(summary["metric"]), summary["best"], f"{summary['unit']}s"
    last = summary["metrics"].get(metric.name, summary["metric"])["value"]
    of = "" if last == summary["metric"]["value"] else "of the averaged weights "
    say()
    label(
        "held-out",
        f"{summary['metric']['value']:.4f}{_error(summary['metric'])} {metric.words} {of}"
        f"(best {best['value']:.4f} at step {best['step']})",
    )
    loss = f"{summary['loss']:.4f} {summary['loss_unit']}".rstrip()
    label("loss", f"{loss} per {summary['term']} after {summary['steps']:,} steps")
    label(
        "speed",
        f"{summary[f'{units}_per_second']:,.0f} {units}/s, "
        f"{summary['utilisation']:.0%} of this machine's measured ceiling"
        + ("" if summary["mfu"] is None else f", MFU {summary['mfu']:.1%}")
        + _evaluating(summary["active_seconds"]),
    )
    whole, now = sum(seconds.values()), summary["wall_seconds"]
    before = whole > 1.05 * now + 0.1  # a run that went on: the parts are of all its sessions
    label(
        "time",
        (f"{whole:.1f} s, {now:.1f} of them since it went on: " if before else f"{now:.1f} s: ")
        + ", ".join(f"{part} {value:.1f}" for part, value in seconds.items()),
    )
    label("run", str(summary["run"]))
    if pictures := RunFolder(summary["run"]).pictures():
        label("pictures", f"{pictures[-1]}" + (f", and {len(pictures) - 1:,} before" if pictures[1:] else ""))
    if summary["sample"]:
        speak("\n  sample")
        shown = [[line] for line in summary["sample"].splitlines()]
        if summary["unit"] != "token":  # no model wrote it: what it draws has headings
            shown = spoken(shown)
        for (line,) in shown:
            say(f"  │ {line}")
    speak("\nTry next:")
    run = shlex.quote(str(summary["run"]))
    if summary["sample"] is not None:
        prompt = ' --prompt "def "' if summary["unit"] == "token" else ""
        speak(f"  danlu sample {run}{prompt}")
    speak("  danlu ideas                     # small changes to try on an experiment")
    speak(f"  danlu profile {run}  # where the time goes")
