"""The verb ``profile``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.columns import flush
from danlu.cli.drawn import Html, check, end
from danlu.cli.output import Force, print_table, say, speak, spoken
from danlu.cli.show import AsJson, Words

ADVICE = {
    "data": "the batches: a faster disk, or a tokenised cache in memory",
    "forward": "forward passes: a larger train.microbatch, train.compile=true",
    "backward": "backward passes: a larger train.microbatch, train.compile=true, no train.recompute",
    "optimizer": "the update: a larger train.batch makes fewer of them; optimizer=adamw costs less than muon",
}


def profile(
    words: Words = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Number of updates to measure.")] = 20,
    html: Html = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure where the time of a training step goes.

    Example: danlu profile tiny train.batch=64
    """
    from danlu.spec import resolve
    from danlu.train.profile import profile as measure
    from danlu.train.roofline_page import page

    check(html, force)
    found = measure(resolve(words or []), steps=steps)
    if found is None:  # the first of several processes speaks
        return
    title = f"Profile of {' '.join(words or ['tiny'])}"
    end(
        "profile",
        lambda: found,
        lambda: _tell(found),
        lambda: page(found, title),
        path=html,
        force=force,
        as_json=as_json,
    )


def _tell(found: dict[str, Any]) -> None:
    seconds, units = found["seconds"], f"{found['unit']}s"
    whole = sum(seconds.values())
    rows = [(part, f"{1e3 * value:8.2f} ms", f"{value / whole:5.1%}") for part, value in seconds.items()]
    rows.append(("step", f"{1e3 * whole:8.2f} ms", f"{found[units + '_per_second']:,.0f} {units}/s"))
    print_table(spoken(rows))
    part = found["bottleneck"]
    speak(f"\nbottleneck: {part}, {seconds[part] / whole:.0%} of the step. What shortens {ADVICE[part]}")
    if found["precision"] == "float32":
        speak("  train.precision = bfloat16 is faster where the hardware has it")
    speak(
        f"roofline: {found['flops'] / 1e9:.1f} GFLOP and {found['bytes'] / 1e6:.0f} MB a step, "
        f"{found['intensity']:.0f} FLOP/byte; utilisation {found['utilisation']:.0%} of the "
        f"{found['ceiling'] / 1e9:.0f} GFLOP/s that a large {found['precision']} product reaches here"
        + ("" if found["mfu"] is None else f", MFU {found['mfu']:.1%} of the published rate")
    )
    ridge = found["ceiling"] / found["bandwidth"]
    speak(
        f"  {found['bound']}-bound: memory moves {found['bandwidth'] / 1e9:.1f} GB/s, "
        f"so that {ridge:.0f} FLOP/byte would balance the two"
    )
    if found["parts"]:
        _tell_parts(found)
    if found["processes"] > 1:
        _tell_communication(found)
    for kernel in found["kernels"]:
        layers = f"{len(kernel['layers'])} layer" + ("s" if len(kernel["layers"]) > 1 else "")
        speak(f"{kernel['mixer']} in {layers}: {kernel['kernel']}, {kernel['why']}")
    speak("\ndearest operators")
    rows = [(f"{o['share']:5.1%}", o["operator"], f"{o['calls']} calls") for o in found["operators"]]
    print_table(spoken(rows), indent="  ")


def _tell_parts(found: dict[str, Any]) -> None:
    from danlu.train.roofline_page import cells, told

    speak("\nby part, forward and backward, run eagerly")
    heading = ("", "ms", "GFLOP", "MB", "FLOP/byte", "GFLOP/s", "")
    rows = spoken([heading, *((*cells(part), told(part, found)) for part in found["parts"])])
    print_table([(name, *(flush(c, 9) for c in rest[:-1]), rest[-1]) for name, *rest in rows], indent="  ")
    say()


def _tell_communication(found: dict[str, Any]) -> None:
    speak(f"\ncommunication of {found['processes']} processes, an update; it runs beside the backward pass")
    rows = [
        (
            one["kind"],
            f"{one['calls']} calls",
            f"{one['bytes'] / 1e6:.3g} MB",
            f"{1e3 * one['seconds']:.2f} ms",
        )
        for one in found["communication"]
    ]
    print_table(spoken(rows), indent="  ")
    say()
