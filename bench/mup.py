"""The best learning rate over widths, in muP and in the standard parametrisation.

Small decoders read bytes of Python's own library; for each width the rate is searched on a grid of factor 2
around the best of the width before, until two rates on either side of the best are worse. In muP the best
rate should stay within one grid step; in the standard parametrisation it drifts.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import mean
from typing import Any

import torch

from bench.common import RESULTS, cores, machine, save, show
from danlu import data, objectives, optim, spec
from danlu.models import build
from danlu.spec import resolve
from danlu.train.coordinates import at_width
from danlu.train.machine import PRECISIONS, pick_precision
from danlu.train.precision import total_norm
from danlu.train.update import to_device

WIDTHS = (64, 128, 256, 512)
BASE = 64
STEPS, WARM = 64, 6
SIDE = 2  # rates that are worse on either side of the best
FIRST = -6  # the power of two that is looked at first
LIMITS = (-16, 2)  # powers of two between which the best is looked for
WORDS = ["tiny", "model.layers=2", "data.context=64", "train.batch=8", "optimizer={kind: adamw, lr: 1.0}"]
BAR = 1  # grid steps that the best rate may move in muP

Curve = dict[int, float]  # power of two of the rate → loss


class Runs:
    """Trains the models, each in one thread."""

    def __init__(self, steps: int) -> None:
        torch.set_num_threads(1)
        self.steps = steps
        self.experiment = resolve(WORDS)
        self.dataset = data.prepare(self.experiment.data)
        self.precision = PRECISIONS[pick_precision("auto", torch.device("cpu"))]

    def loss(self, width: int, mup: bool, power: int, seed: int) -> float:
        """Nats a byte in the last quarter of a run; infinite where it broke."""
        experiment = at_width(self.experiment, width)
        settings = experiment.model.settings() | {"base_width": BASE if mup else None}
        rule = type(experiment.optimizer)(**experiment.optimizer.settings() | {"lr": 2.0**power})
        objective: objectives.Objective = objectives.build(experiment.objective, self.dataset)
        torch.manual_seed(seed)
        model = build(spec.Decoder(**settings), *objective.inputs)
        model.compute = self.precision
        optimizers = optim.build(rule, model)
        rows = experiment.train.batch
        losses = []
        for step in range(self.steps):
            draw = objectives.Draw(seed, step, step * rows, 0, rows)
            example = to_device(objective.example(draw), torch.device("cpu"))
            loss = objective.loss(model, example).total / (rows * objective.count)
            loss.backward()
            losses.append(float(loss.detach()))
            self._update(model, optimizers, step)
            if not math.isfinite(losses[-1]):
                return math.inf
        return mean(losses[-max(1, self.steps // 4) :])

    def _update(self, model: Any, optimizers: Sequence[Any], step: int) -> None:
        factor = min(1.0, (step + 1) / WARM) * (1 - step / self.steps)
        gradients = [p.grad for p in model.parameters()]
        torch._foreach_mul_(gradients, min(1.0, 1.0 / (float(total_norm(gradients)) + 1e-6)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            optimizer.step()
            optimizer.zero_grad()


_runs: Runs  # of a worker


def _begin(steps: int) -> None:
    global _runs
    _runs = Runs(steps)


def _loss(*run: Any) -> float:
    return _runs.loss(*run)


def search(pool: ProcessPoolExecutor, width: int, mup: bool, around: int, seeds: int) -> Curve:
    """The mean loss over ``seeds`` by rate, around the power ``around`` and on until the best is inside."""
    found: Curve = {}
    best = around
    while True:
        wanted = [p for p in range(best - SIDE, best + SIDE + 1) if LIMITS[0] <= p <= LIMITS[1]]
        missing = [p for p in wanted if p not in found]
        if not missing:
            return dict(sorted(found.items()))
        runs = [(width, mup, power, seed) for power in missing for seed in range(seeds)]
        losses = list(pool.map(_loss, *zip(*runs, strict=True)))
        for i, power in enumerate(missing):
            found[power] = mean(losses[i * seeds : (i + 1) * seeds])
        best = min(found, key=lambda power: found[power])


def vertex(curve: Curve) -> float:
    """The power at the bottom of the parabola through the best rate and its neighbours."""
    best = min(curve, key=lambda power: curve[power])
    left, middle, right = (curve.get(best + i, math.inf) for i in (-1, 0, 1))
    bend = left - 2 * middle + right
    return best + (left - right) / (2 * bend) if math.isfinite(bend) and bend > 0 else float(best)


# --- the picture -------------------------------------------------------------------------------------------

COLOURS = ("#440154", "#31688e", "#35b779", "#d8a800")


def picture(curves: Mapping[str, Mapping[int, Curve]]) -> str:
    """Two panels of loss against rate, a line a width, a ring at each width's best rate."""
    powers = [p for by in curves.values() for curve in by.values() for p in curve]
    best = min(min(curve.values()) for by in curves.values() for curve in by.values())
    top = 1.5 * best  # what is worse is cut off
    low, high = min(powers), max(powers)
    wide, tall = 360, 260

    def place(power: float, loss: float, left: int) -> tuple[float, float]:
        x = left + (power - low) / max(1, high - low) * wide
        return round(x, 1), round(50 + (top - loss) / (top - best * 0.98) * tall, 1)

    said = []
    for panel, (name, by) in enumerate(curves.items()):
        left = 60 + panel * (wide + 70)
        said.append(f'<rect x="{left}" y="50" width="{wide}" height="{tall}" fill="none" stroke="#999"/>')
        said.append(f'<text x="{left}" y="38" font-size="14">{name}</text>')
        for power in range(low, high + 1, 2):
            x = place(power, best, left)[0]
            said.append(f'<text x="{x}" y="{tall + 68}" text-anchor="middle">2^{power}</text>')
        for i in range(5):
            loss = best + (top - best) * i / 4
            y = place(low, loss, left)[1]
            said.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{loss:.2f}</text>')
        for (width, curve), colour in zip(by.items(), COLOURS, strict=False):
            points = [place(p, loss, left) for p, loss in curve.items() if loss <= top]
            line = " ".join(f"{x},{y}" for x, y in points)
            said.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            x, y = place(*min(curve.items(), key=lambda item: item[1]), left)
            said.append(f'<circle cx="{x}" cy="{y}" r="5" fill="none" stroke="{colour}" stroke-width="2"/>')
            if not panel:
                row = 66 + 16 * list(by).index(width)
                said.append(f'<text x="{left + 10}" y="{row}" fill="{colour}">width {width}</text>')
    said.append(
        f'<text x="60" y="{tall + 92}">learning rate; nats a byte in the last quarter of each run</text>'
    )
    size = f'width="{2 * wide + 170}" height="{tall + 105}"'
    style = 'font-family="sans-serif" font-size="11"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    return "\n".join([opening, '<rect width="100%" height="100%" fill="white"/>', *said, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=cores(), help="runs side by side, a thread each")
    parser.add_argument("--quick", action="store_true", help="minute runs that show that it works; not saved")
    arguments = parser.parse_args()
    about = machine(arguments.threads)
    seeds, widths = (1, WIDTHS[:2]) if arguments.quick else (arguments.seeds, WIDTHS)
    steps = 8 if arguments.quick else STEPS
    began = time.perf_counter()
    curves: dict[str, dict[int, Curve]] = {}
    # A process a core, since such small models gain little from a second thread.
    workers: dict[str, Any] = {"max_workers": arguments.threads, "mp_context": get_context("spawn")}
    with ProcessPoolExecutor(**workers, initializer=_begin, initargs=(steps,)) as pool:
        for name, mup in (("muP", True), ("standard", False)):
            around = FIRST
            for width in widths:
                curve = search(pool, width, mup, around, seeds)
                curves.setdefault(name, {})[width] = curve
                around = min(curve, key=lambda power: curve[power])
                said = f"2^{around}, {curve[around]:.4f} ({time.perf_counter() - began:.0f} s)"
                print(f"{name}, width {width}: {said}", file=sys.stderr)
    best = {name: {w: min(c, key=lambda p: c[p]) for w, c in by.items()} for name, by in curves.items()}
    moved = {name: max(by.values()) - min(by.values()) for name, by in best.items()}
    rows = [
        (name, str(w), f"2^{best[name][w]}", f"2^{vertex(c):.1f}", f"{c[best[name][w]]:.4f}")
        for name, by in curves.items()
        for w, c in by.items()
    ]
    show("The best rate over widths", ("", "width", "best rate", "parabola", "nats/byte"), rows, about)
    met = moved["muP"] <= BAR < moved["standard"]
    print(
        f"the best rate moves by {moved['muP']} steps of factor 2 in muP, by {moved['standard']} in the "
        f"standard parametrisation: {'met' if met else 'missed'} (at most {BAR}, and more)"
    )
    if arguments.quick:
        return
    (RESULTS / "mup.svg").write_text(picture(curves), encoding="utf-8")
    save(
        "mup",
        {
            "machine": about,
            "experiment": WORDS,
            "base_width": BASE,
            "steps": STEPS,
            "seeds": seeds,
            "seconds": round(time.perf_counter() - began, 1),
            "curves": {
                name: {
                    str(w): {str(p): v if math.isfinite(v) else None for p, v in c.items()}
                    for w, c in by.items()
                }
                for name, by in curves.items()
            },
            "best": {name: {str(w): 2.0**p for w, p in by.items()} for name, by in best.items()},
            "moved": moved | {"bar": BAR},
        },
    )


if __name__ == "__main__":
    main()
