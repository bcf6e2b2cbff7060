"""The verb ``spikes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.drawn import Html, check, end
from danlu.cli.output import Force, print_table, speak, spoken
from danlu.cli.show import AsJson
from danlu.cli.working import Working

SHOWN = 20

READINGS = {
    "data": "the batch spikes in both states, another in neither: the data",
    "state": "any batch spikes in this state: the state of the training",
    "both": "this batch spikes in both states, and any batch does in this one: data and state",
    "interaction": "this batch in this state alone: an interaction",
    "not repeated": "the update does not spike when it is repeated",
}


def spikes(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="STEP", help="Which one. Default: the highest."),
    ] = None,
    most: Annotated[
        int,
        typer.Option("--most", help="Maximal number of updates to repeat; 0: only list spikes."),
    ] = 1000,
    html: Html = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the spikes of a run's loss and why one came.

    The run's updates are repeated from a checkpoint before the spike; nothing in its folder changes.

    Example: danlu spikes runs/first --at 812
    """
    from danlu.files.json import finite
    from danlu.spikes.listing import listed
    from danlu.train.errors import RunError

    if at is not None and at < 1:
        raise RunError(f"--at = {at}; allowed: 1 or more, the step of an update")
    if most < 0:
        raise RunError(f"--most = {most}; allowed: 1 or more, or 0 to list spikes and repeat nothing")

    check(html, force)
    if most:
        from danlu.spikes.study import study

        with Working() as working:
            found = study(run, at=at, most=most, told=working)
    else:
        found = listed(run).json()

    def tell() -> None:
        _tell(found)
        if found["explained"] is not None:
            _tell_why(found["explained"])

    def draw() -> str:
        from danlu.spikes.report import page

        return page(found)

    end("spikes", lambda: finite(found), tell, draw, path=html, force=force, as_json=as_json)


def _tell(found: dict[str, Any]) -> None:
    from danlu.train.spikes import FEWEST

    every = found["every"]
    rows = f"{found['rows']:,} row{'s' * (found['rows'] != 1)}"
    if not found["spikes"] and found["rows"] <= FEWEST:
        finer = "set train.log_every=1, or " * (every > 1)
        speak(
            f"{rows} of losses: too few to judge, as a loss is measured against at least {FEWEST} before it; "
            f"{finer}train for more updates"
        )
        return
    rows += f", each the mean of up to {every} updates" * (every > 1)
    if not found["spikes"]:
        speak(f"no spike in {rows}: no loss lies six deviations above the 128 before it")
    else:
        speak(f"spikes in {rows}")
        table = [("step", "highest", "loss", "usual", "z")]
        for one in found["spikes"][:SHOWN]:
            steps = f"{one['first']}" if one["first"] == one["last"] else f"{one['first']}–{one['last']}"
            table.append(
                (steps, f"{one['top']}", f"{one['loss']:.4g}", f"{one['usual']:.4g}", f"{one['z']:.1f}")
            )
        print_table(spoken(table), indent="  ")
        if (left := len(found["spikes"]) - SHOWN) > 0:
            speak(f"  … and {left} more; --json has all")
    if every > 1:
        speak("train.log_every=1 shows every update")


def _tell_why(why: dict[str, Any]) -> None:
    from danlu.spikes.report import CHECKED, SIGNS

    speak(f"\nupdate {why['step']}: loss {why['loss']:.4g}, usually {why['usual']:.4g}, z = {why['z']:.1f}")
    speak(f"likely cause: {why['cause']}: {why['why']}")
    speak(f"\nrepeated: {READINGS[why['reading']]}")
    rows = [("", f"state of step {why['before']}", f"state of step {why['earlier']}")]
    half = len(why["table"]) // 2
    for now, before in zip(why["table"][:half], why["table"][half:], strict=True):
        name = f"batch {now['batch']}" + ("" if now["batch"] == why["step"] else " (another)")
        rows.append((name, _cell(now), _cell(before)))
    print_table(spoken(rows), indent="  ")
    speak("\nchecks, in their order")
    checks = [(SIGNS[one["found"]], one["name"], one["says"]) for one in why["checks"]]
    print_table(spoken([CHECKED, *checks], names=(1,)), indent="  ")
    if why["changes"]:
        speak(f"\nfrom step {why['earlier']} on with one change")
        print_table(spoken([_change(one) for one in why["changes"]]), indent="  ")
        speak("\nwhat to change next")
        for one in why["next"]:
            speak(f"  {one}")
    for note in why["notes"]:
        speak(f"note: {note}")


def _cell(cell: dict[str, Any]) -> str:
    return f"{cell['loss']:.4g} (z = {cell['z']:.1f}){' spikes' if cell['spikes'] else ''}"


def _change(change: dict[str, Any]) -> tuple[str, ...]:
    outcome = "no spike" if change["cures"] else "spikes"
    loss, z = f"loss {change['loss']:.4g}", f"z = {change['z']:.1f}"
    return change["name"], " ".join(change["words"]), loss, z, outcome
