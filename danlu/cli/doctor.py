"""The verb ``doctor``."""

from __future__ import annotations

import sys
from typing import Any

from danlu.cli.costs import human
from danlu.cli.output import print_json, print_table, show_progress, speak, spoken
from danlu.cli.show import AsJson
from danlu.files.numbers import in_words

LONG = 30 * 86400  # seconds: who waits longer knows it


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can do and how long recipes take on it.

    Times are estimates, from counted FLOPs and measured speed, of one run alone on a core or a GPU.

    Example: danlu doctor
    """
    from danlu.lab import doctor as of_machine

    watched = sys.stderr.isatty()
    found = of_machine.examine(show_progress if watched else lambda line: None)
    if watched:
        show_progress("")
    if as_json:
        print_json("doctor", found)
        return
    _tell(found, of_machine.unsupported())


def _tell(found: dict[str, Any], unsupported: str | None) -> None:
    speed, disk = human(found["flops_per_second"], "FLOP/s"), human(found["disk"], "B")
    memory = "" if found["memory"] is None else f", {human(found['memory'], 'B')} of memory free"
    gpus = [f"{gpu['name']} ({human(gpu['memory'], 'B')})" for gpu in found["gpus"]]
    missing = [extra for extra in found["extras"] if extra["missing"]]
    there = [extra["name"] for extra in found["extras"] if not extra["missing"]]
    rows = [
        ("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())),
        ("system", found["system"]),
        ("machine", f"{found['cores']} cores{memory}, {disk} of disk free"),
        ("GPUs", ", ".join(gpus) or "none"),
        ("runs take", f"the {found['device']}, {found['precision']}, matrix products of {speed}"),
        ("compiling", found["not_compiled"] or "works"),
        ("extras", ", ".join(there) or "none"),
    ]
    print_table(spoken(rows))
    if unsupported:
        speak(unsupported)
    for extra in missing:
        speak(f"  not installed: {', '.join(extra['missing'])}; pip install 'danlu[{extra['name']}]'")
    speak(
        "\nA run of each recipe, about (danlu recipes lists the published ones, danlu plan NAME their cost):"
    )
    print_table(spoken([(one["name"], *_said(one)) for one in found["recipes"]], names=(0, 1)), indent="  ")


def _said(one: dict[str, Any]) -> tuple[str, str]:
    if one["why"] is not None:
        return "", one["why"]
    seconds = one["seconds"]
    time = in_words(max(1.0, seconds)) if seconds < LONG else f"{seconds / 86400:,.0f} days"
    return ("" if one["flops"] is None else human(one["flops"], "FLOP")), time
