"""The page of ``danlu curvature --html``: the density of eigenvalues drawn, and the numbers in tables."""

from __future__ import annotations

from typing import Any

import torch

from danlu.curvature import Spectrum
from danlu.draw import Chart, Table
from danlu.draw import page as drawn
from danlu.draw.page import Part

POINTS = 400
NARROW = 1 / 100  # width of a node's Gaussian, as a share of the range of eigenvalues
LEAST = 1e-7  # of the density: what is lower is not drawn


def page(found: dict[str, Any]) -> str:
    """HTML of what ``danlu.train.curvature.measure`` found."""
    title = f"Curvature of {found['run']} at step {found['step']}"
    about = (
        f"{found['examples']:,} training examples ({found['units']:,} {found['unit']}s), "
        f"{found['parameters']:,} parameters, in {found['precision']}."
    )
    sections: list[tuple[str, list[Part]]] = [
        ("", [about, _numbers(found)]),
        ("Eigenvalues", [density(found)]),
        ("Trace by part", [_parts(found)]),
    ]
    if "sparsity" in found:
        sections.append(("Second derivatives that are exactly zero", _zeros(found["sparsity"])))
    return drawn(title, sections)


def density(found: dict[str, Any]) -> Chart:
    """The density of the Hessian's eigenvalues, the largest ones marked, and under SGD, whose rates are alike
    for all parameters, the edge of stability."""
    spectrum = Spectrum(*(tuple(map(torch.tensor, found["density"][key])) for key in ("nodes", "weights")))
    nodes = [x for probe in found["density"]["nodes"] for x in probe]
    low, high = min(nodes), max(*nodes, *found["top"]["values"])
    width = (high - low or 1.0) * NARROW
    low, high = low - 4 * width, high + 4 * width
    points = [low + (high - low) * i / (POINTS - 1) for i in range(POINTS)]
    heights = [y if y > LEAST else None for y in spectrum.smoothed(points, width)]
    chart = Chart(
        "eigenvalue", "density", log_y=True, width=720,
        caption=f"Density of the eigenvalues of ∇²L by stochastic Lanczos quadrature, every Ritz value a "
        f"Gaussian of standard deviation {width:.2g}; dashed: the largest eigenvalues.",
    )  # fmt: skip
    chart.line(points, heights)
    for value in found["top"]["values"]:
        chart.rule(x=value)
    edge = found["edge"]
    if (
        edge is not None
        and edge["rule"] == "SGD"
        and edge["lr"]
        and edge["threshold"] / edge["lr"] <= 2 * high
    ):
        label = f"edge of stability, {edge['formula']} over the rate"
        chart.rule(x=edge["threshold"] / edge["lr"], label=label, colour=1)
    return chart


def _numbers(found: dict[str, Any]) -> Table:
    top, edge, noise = found["top"], found["edge"], found["noise"]
    rows: list[tuple[str, str, str]] = [
        ("", "value", "what"),
        ("loss", f"{found['loss']:.4f}", ""),
        ("gradient", f"{found['gradient']:.4g}", "Euclidean norm"),
        ("trace", with_error(found["trace"]), f"{found['trace']['samples']} random vectors (Hutchinson)"),
    ]
    if found["gauss_newton"] is not None:
        rows.append(("Gauss-Newton trace", with_error(found["gauss_newton"]), ""))
    rows += [
        (f"eigenvalue {i + 1}", f"{value:.4g}", f"within {bound:.1g}")
        for i, (value, bound) in enumerate(zip(top["values"], top["bounds"], strict=True))
    ]
    rows += [
        ("lowest eigenvalue", f"{top['lowest']:.4g}", "at most"),
        ("sharpness", f"{found['sharpness']['rise']:.4g}", f"rise {found['sharpness']['radius']:g} uphill"),
    ]
    if edge is not None:
        what = f"largest eigenvalue of √D H √D under {edge['rule']}; unstable beyond {edge['formula']}"
        rows.append(("edge of stability", f"{edge['value']:.4g}, edge at {edge['threshold']:.4g}", what))
    if noise is not None and noise["scale"] is not None:
        rows.append(("gradient noise scale", f"{noise['scale']:.3g}", "examples, tr Σ/|G|²"))
    return Table(rows)


def _parts(found: dict[str, Any]) -> Table:
    return Table([
        ("part", "parameters", "trace", "a parameter"),
        *((p["name"], f"{p['parameters']:,}", f"{p['trace']:.4g}", f"{p['trace'] / p['parameters']:.2g}")
          for p in found["parts"]),
    ])  # fmt: skip


def _zeros(sparsity: dict[str, Any]) -> list[Part]:
    names = sparsity["parts"]
    parts: list[Part] = []
    for title, key in (("of the loss", "loss"), ("of one output for one example", "logit")):
        chart = Chart(
            x_names=names, y_names=names, height=160 + 22 * len(names), width=720,
            caption=f"Share of exact zeros {title}, by pairs of parts: {sparsity[key]['whole']:.1%} in all.",
        )  # fmt: skip
        places = range(len(names))
        parts.append(chart.cells(places, places, sparsity[key]["pairs"], "zeros"))
    return parts


def with_error(one: dict[str, Any]) -> str:
    """A value and its standard error."""
    return f"{one['value']:.4g} ± {one['error']:.2g}"
