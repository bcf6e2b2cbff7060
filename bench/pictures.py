"""The pictures of the pages on generation, bottlenecks, maximum entropy and distances.

    python -m bench.pictures                   # all of them; a minute of one core
    python -m bench.pictures maximum-entropy   # one

Each is drawn of committed results, of exact formulas, or of a run of seconds, into ``bench/results``. They
illustrate; what is claimed is in the benchmarks, in the book of claims and in the tests.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.common import RESULTS
from danlu.draw import Chart
from danlu.draw.figure import Figure
from danlu.draw.scatter import Scatter, around, arrows
from danlu.files.overwrite import MARK

STEPS, POINTS, GRID = 20, 200, 11  # of the flow: steps of its sampler, points shown, arrows beside each other
SHOWN = {0.0: 0, 0.35: 7, 0.7: 14, 0.95: 19}  # at a time, and so many steps
EIGENVALUES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.1)
LEVELS = (0.15, 0.6, 1.5)  # θ = β s²
ROWS = (16, 32, 64, 128, 256, 512, 1024, 2048)
SHIFT = 0.5


def generation() -> Figure:
    """Points of a flow of the eight Gaussians on their way, with the field that they follow there."""
    from danlu.door.run import train
    from danlu.train.load import load_run
    from danlu.train.samples import generate

    with tempfile.TemporaryDirectory() as folder:
        run = train("flow-8gaussians train.steps=1000 train.device=cpu", Path(folder) / "run", progress=False)
        loaded = load_run(run.folder)
        found = generate(loaded, run.folder, count=POINTS, steps=STEPS, solver="heun", way=True)
    objective: Any = loaded.objective
    assert found.way is not None
    drawn = Scatter(
        title="A flow on its way", caption="Arrows: the velocity, in each panel on its own scale."
    )
    drawn.panel("held-out data", [(0, pairs(found.beside))])
    left, right, low, _ = around(pairs(found.beside))
    cell = (right - left) / GRID
    steps = (np.arange(GRID) + 0.5) * cell
    places = np.stack(np.meshgrid(left + steps, low + steps), -1).reshape(-1, 2)
    for name, vectors in objective.directions(loaded.model, places).items():
        time = float(name.split()[-1])
        field = arrows(pairs(places), pairs(vectors), 0.95 * cell)
        drawn.panel(f"t = {time:g}", [(0, pairs(found.way[SHOWN[time]]))], field)
    return drawn.panel("t = 1: samples", [(0, pairs(found.way[-1]))])


def pairs(points: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def bottlenecks() -> Figure:
    """Nats that a linear VAE keeps of each direction: trained, beside reverse water-filling."""
    import torch

    from danlu.nn.bottlenecks import linear_vae

    eigenvalues = torch.tensor(EIGENVALUES, dtype=torch.float64)
    chart = Chart(
        "variance of the data along a direction, λ", "nats that the code keeps of it", log_x=True,
        title="What a linear VAE forgets",
        caption="Lines: ½ ln(λ/θ), nothing below the level θ = β s². Dots: trained, the largest first.",
    )  # fmt: skip
    fine = torch.logspace(-1.3, 0.9, 200, dtype=torch.float64)
    for level in LEVELS:
        label = f"θ = {level:g}"
        chart.line(fine, 0.5 * torch.log(fine / level).clamp(min=0), label)
        kept = trained(eigenvalues, level)
        exact = linear_vae(eigenvalues, len(EIGENVALUES), level).kl
        print(f"{label}: trained {kept.tolist()}, exact {exact.tolist()}")
        chart.dots(eigenvalues, kept, label)
    return chart


def trained(eigenvalues: Any, level: float, updates: int = 6000) -> Any:
    """Nats of each latent number, the largest first, after Adam on the exact expectation of the loss of a
    linear VAE, (1/2θ) E‖x − W z‖² + KL, with z = V x + σ ε."""
    import torch

    size = len(eigenvalues)
    draw = torch.Generator().manual_seed(0)
    encoder, decoder = (0.3 * torch.randn(size, size, generator=draw, dtype=torch.float64) for _ in range(2))
    log_variance = torch.zeros(size, dtype=torch.float64)
    weights = [one.requires_grad_() for one in (encoder, decoder, log_variance)]
    rule = torch.optim.Adam(weights, lr=0.02)
    for update in range(updates):
        for group in rule.param_groups:
            group["lr"] = 0.02 * (1 - update / updates)
        means, variances = (encoder.square() * eigenvalues).sum(1), log_variance.exp()
        nats = 0.5 * (means + variances - 1 - log_variance)
        rest = torch.eye(size, dtype=torch.float64) - decoder @ encoder
        error = (rest.square() * eigenvalues).sum() + (decoder.square() * variances).sum()
        rule.zero_grad()
        (error / (2 * level) + nats.sum()).backward()
        rule.step()
    return nats.detach().sort(descending=True).values


def maximum_entropy() -> Figure:
    """Passes to a gap, of the tables of ``bench.maxent``: each, and their median."""
    kept = json.loads((RESULTS / "maxent.json").read_text(encoding="utf-8"))
    gaps = kept["gaps"]
    tables = [found for name, found in kept["found"].items() if name.startswith("table")]
    chart = Chart(
        "gap to the optimum, nats", "passes over the data", log_x=True, log_y=True,
        title="Three ways to one optimum",
        caption=f"Dots: {len(tables)} tables of 400 rows; lines: their median. A table that took more than "
        f"{kept['most']:,} passes has no dot.",
    )  # fmt: skip
    for solver, name in {"gis": "GIS", "iis": "IIS", "lbfgs": "L-BFGS"}.items():
        counts = [[table[solver][k] for table in tables] for k in range(len(gaps))]
        middle = [median(float("inf") if count is None else count for count in of) for of in counts]
        chart.line(gaps, middle, name)
        seen = [
            (gap, count) for gap, of in zip(gaps, counts, strict=True) for count in of if count is not None
        ]
        chart.dots([gap for gap, _ in seen], [count for _, count in seen], name)
    return chart


def distances() -> Figure:
    """The energy distance of two normal laws, estimated from more and more rows, with its error."""
    from scipy.special import hyp1f1

    from danlu.distances import energy

    chart = Chart(
        "rows of each sample", "energy distance", log_x=True,
        title="An energy distance and its standard error",
        caption="Dots: one estimate, ± 1.96 standard errors. Dashed: the truth. No bias: it may be below 0.",
    )  # fmt: skip
    generator = np.random.default_rng(0)
    # Of x − y, normal with variance 2 in each of two dimensions: the mean length (Rice).
    apart, within = (np.sqrt(np.pi) * float(hyp1f1(-0.5, 1, -(s**2) / 4)) for s in (SHIFT, 0.0))
    for place, (label, shift, truth) in enumerate(
        [("one law", 0.0, 0.0), (f"means {SHIFT:g} apart", SHIFT, 2 * (apart - within))]
    ):
        found = []
        for rows in ROWS:
            one, other = generator.normal(size=(2, rows, 2))
            other[:, 0] += shift
            found.append(energy(one, other))
        ends = [(d.value - 1.96 * d.error, d.value + 1.96 * d.error) for d in found]
        chart.rule(y=truth, colour=place)
        chart.dots([rows * (1 + 0.06 * place) for rows in ROWS], [d.value for d in found], label, y_ends=ends)
    return chart


PICTURES: dict[str, Callable[[], Figure]] = {
    "generation": generation,
    "bottlenecks": bottlenecks,
    "maximum-entropy": maximum_entropy,
    "distances": distances,
}


def file_of(name: str) -> Path:
    """Where a picture lies."""
    return RESULTS / f"{name}.svg"


def text_of(figure: Figure) -> str:
    """A picture as its file holds it."""
    return figure.svg().replace(">", f">{MARK}", 1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], help="Default: all.")
    for name in parser.parse_args().names or PICTURES:
        file_of(name).write_text(text_of(PICTURES[name]()), encoding="utf-8")
        print(f"{file_of(name)}: {file_of(name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
