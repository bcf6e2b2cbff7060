"""The page of ``danlu profile --html``: the roofline, drawn."""

from __future__ import annotations

from typing import Any

from danlu.draw import Chart, Table
from danlu.draw import page as drawn
from danlu.draw.palette import MUTED


def page(found: dict[str, Any], title: str) -> str:
    """HTML of what ``danlu.train.profile.profile`` found."""
    whole = sum(found["seconds"].values())
    seconds = [("", "ms", "share")]
    seconds += [(part, f"{1e3 * s:.2f}", f"{s / whole:.1%}") for part, s in found["seconds"].items()]
    about = (
        f"On {found['device']} in {found['precision']}: {found['utilisation']:.0%} of "
        f"{found['ceiling'] / 1e9:.0f} GFLOP/s; {found['bandwidth'] / 1e9:.1f} GB/s; both measured here."
    )
    return drawn(title, [("", [about, Table(seconds)]), ("Roofline", [roofline(found), _parts(found)])])


def roofline(found: dict[str, Any]) -> Chart:
    """FLOP/s over FLOPs a byte of every part of an update, below what this machine reaches: the bandwidth of
    a copy times the intensity, and a large matrix product. Parts without products have no place."""
    parts = [part for part in found["parts"] if part["flops"] and part["seconds"]]
    peak, bus = found["ceiling"], found["bandwidth"]
    places = [part["flops"] / part["bytes"] for part in parts] + [found["intensity"], peak / bus]
    low, high = min(places) / 3, max(places) * 3
    none = ", ".join(part["part"] for part in found["parts"] if not part["flops"])
    chart = Chart(
        "FLOPs a byte", "FLOP/s", log_x=True, log_y=True, width=720,
        caption="Each part of an update, forward and backward, run eagerly; the line is what a copy and a "
        f"large {found['precision']} product reach here. What is above the slanted line sits in a cache."
        + (f" Without products: {none}." if none else ""),
    )  # fmt: skip
    chart.line([low, peak / bus, high], [low * bus, peak, peak], colour=MUTED)
    for part in parts:
        place, speed = part["flops"] / part["bytes"], part["flops"] / part["seconds"]
        chart.dots([place], [speed], part["part"], tips=[told(part, found)])
    whole = sum(found["seconds"].values())
    chart.dots([found["intensity"]], [found["flops"] / whole], "the whole update")
    return chart


def told(part: dict[str, Any], found: dict[str, Any]) -> str:
    """Of a part in words: what share of its roof it reaches, and which side of the ridge it is on."""
    if not part["flops"]:
        return f"moves {part['bytes'] / part['seconds'] / found['bandwidth']:.0%} of a copy's bytes a second"
    intensity = part["flops"] / part["bytes"]
    roof = min(found["ceiling"], intensity * found["bandwidth"])
    bound = "compute" if roof == found["ceiling"] else "memory"
    return f"{part['flops'] / part['seconds'] / roof:.0%} of its roof, {bound}-bound"


def _parts(found: dict[str, Any]) -> Table:
    rows: list[tuple[str, ...]] = [("part", "ms", "GFLOP", "MB", "FLOP/byte", "GFLOP/s", "")]
    rows += [(*cells(part), told(part, found)) for part in found["parts"]]
    return Table(rows)


def cells(part: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table of parts."""
    return (
        part["part"],
        f"{1e3 * part['seconds']:.2f}",
        f"{part['flops'] / 1e9:.3g}" if part["flops"] else "",
        f"{part['bytes'] / 1e6:.3g}",
        f"{part['flops'] / part['bytes']:.2g}" if part["flops"] else "",
        f"{part['flops'] / part['seconds'] / 1e9:.3g}" if part["flops"] else "",
    )
