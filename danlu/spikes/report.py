"""A spike on one page: the losses, what came before it, the table, the checks, the changes."""

from __future__ import annotations

from typing import Any

from danlu.draw import Chart, Table
from danlu.draw import page as whole
from danlu.draw.page import Part
from danlu.draw.scale import short
from danlu.spikes.causes import SURPRISE

CHECKED = ("signature", "cause", "what was found")
SIGNS = {True: "there", False: "not there", None: "–"}  # of a check's signature


def page(found: dict[str, Any]) -> str:
    """HTML of what ``danlu.spikes.study.study`` found."""
    sections: list[tuple[str, list[Part]]] = [("", [_losses(found), _listed(found)])]
    if (why := found["explained"]) is not None:
        said = f"Update {why['step']}; likely cause: {why['cause']}. {why['why']}."
        sections += [
            ("Why", [said, *_before(why)]),
            ("Batch or state", [_table(why)]),
            ("Checks", [Table([CHECKED, *map(_check, why["checks"])])]),
        ]
        if why["changes"]:
            sections.append(("One change at a time", [_changes(why)]))
        sections.append(("What to change next", list(why["next"]) + why["notes"]))
    return whole(f"Spikes of {found['run']}", sections)


def _losses(found: dict[str, Any]) -> Chart:
    chart = Chart("step", "training loss", caption="The loss by row of metrics; dots: spikes.", log_y=True)
    chart.line([step for step, _ in found["losses"]], [loss for _, loss in found["losses"]], "loss")
    spikes = found["spikes"]
    return chart.dots(
        [one["top"] for one in spikes], [one["loss"] for one in spikes], "spikes",
        tips=[f"step {one['top']}: z = {one['z']:.1f}" for one in spikes],
    )  # fmt: skip


def _listed(found: dict[str, Any]) -> Table:
    rows = [
        (one["first"], one["last"], one["top"], *(short(one[name]) for name in ("loss", "usual", "z")))
        for one in found["spikes"]
    ]
    return Table([("first step", "last", "highest at", "loss", "usual", "z"), *rows])


def _before(why: dict[str, Any]) -> list[Part]:
    trace = why["trace"][-64:]
    steps = [one["step"] for one in trace]
    loss = Chart("step", "loss, norm of the gradients", log_y=True, caption="The updates as repeated.")
    loss.line(steps, [one["loss"] for one in trace], "loss")
    loss.line(steps, [one["norm"] for one in trace], "norm").rule(x=why["step"], label="spike")
    if all(one["surprise"] is None for one in trace):
        return [loss]
    lag = Chart(
        "step",
        "√mean(g²/max(v, ε²))",
        caption=f"Of the tensor where it is largest; above {SURPRISE} v lags behind.",
    )
    lag.line(steps, [one["surprise"] for one in trace]).rule(y=SURPRISE).rule(x=why["step"], label="spike")
    return [loss, lag]


def _table(why: dict[str, Any]) -> Table:
    rows = [
        (f"{one['batch']}", f"{one['state']}", short(one["loss"]), f"{one['z']:.1f}",
         "spikes" if one["spikes"] else "no spike")
        for one in why["table"]
    ]  # fmt: skip
    return Table([("batch of update", "state after step", "loss", "z", "outcome"), *rows])


def _check(check: dict[str, Any]) -> tuple[str, str, str]:
    return SIGNS[check["found"]], check["name"], check["says"]


def _changes(why: dict[str, Any]) -> Table:
    rows = [
        (one["name"], " ".join(one["words"]), short(one["loss"]), f"{one['z']:.1f}",
         "no spike" if one["cures"] else "spikes")
        for one in why["changes"]
    ]  # fmt: skip
    return Table([("changed", "as typed", "loss", "z", "outcome"), *rows])
