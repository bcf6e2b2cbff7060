"""How often the audit finds planted groups of rows, and how often it alarms without one; seeded.

    python -m bench.audit [trials] [--out FILE.json]

Points of Chinchilla's law with Besiroglu's parameters at 60 to 1,000 places; noise of ln loss that is normal,
Student's with three degrees of freedom, or wider at small sizes. A planted group is 1–5 % of the rows, of
one end of an order, of one size or scattered, all shifted by the same number of standard deviations. Found:
the group is named and holds at least half of the planted rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from danlu.laws import Points, fit, law
from danlu.laws.audit.groups import group

CHINCHILLA = law("chinchilla")
TRUTH = CHINCHILLA.theta("besiroglu")
SIZES = (60, 120, 240, 500, 1000)
NOISES = ("normal", "heavy", "unequal")
PLANTED = ("low D/N", "largest loss", "one size", "scattered")
SIGMA = 0.005
SHIFT = 10.0


def noisy(draw: np.random.Generator, size: int, noise: str) -> tuple[Points, np.ndarray]:
    """Points, and the standard deviation of each: of t₃ the one of a normal with the same quartiles."""
    n = np.exp(draw.choice(np.linspace(np.log(3e7), np.log(1e10), max(6, size // 6)), size))
    d = n * np.exp(draw.uniform(np.log(2), np.log(200), size))
    sigma = np.full(size, SIGMA)
    if noise == "unequal":
        sigma = SIGMA * (n / 5e8) ** -0.25
    error = draw.standard_t(3, size) / 1.134 if noise == "heavy" else draw.standard_normal(size)
    loss = CHINCHILLA.predict(TRUTH, {"n": n, "d": d}) * np.exp(sigma * error)
    return Points(n=n, d=d, loss=loss), sigma


def plant(
    draw: np.random.Generator, points: Points, sigma: np.ndarray, kind: str, count: int, shift: float
) -> tuple[Points, np.ndarray]:
    """The points with so many rows shifted, and which."""
    size = points.size
    ratio = points["d"] / points["n"]
    if kind == "low D/N":
        rows = np.argsort(ratio)[:count]
    elif kind == "largest loss":
        rows = np.argsort(-points["loss"])[:count]
    elif kind == "one size":
        n = draw.choice(points["n"])
        rows = np.argsort(np.abs(np.log(points["n"] / n)), kind="stable")[:count]
    else:
        rows = draw.choice(size, count, replace=False)
    loss = points["loss"].copy()
    loss[rows] *= np.exp(draw.choice([-1, 1]) * shift * sigma[rows])
    return points.with_columns(loss=loss), rows


def trials(count: int, shift: float = SHIFT) -> Iterator[tuple[str, int, str, bool, float]]:
    """(noise, size, planted, alarm, share of the planted rows that are named) for each trial."""
    for noise in NOISES:
        for size in SIZES:
            for number in range(count):
                for kind in ("none", *PLANTED):
                    draw = np.random.default_rng([number, size, NOISES.index(noise), len(kind)])
                    points, sigma = noisy(draw, size, noise)
                    rows = np.zeros(0, int)
                    if kind != "none":
                        share = draw.uniform(0.01, 0.05)
                        planted = max(1, round(share * size))
                        points, rows = plant(draw, points, sigma, kind, planted, shift)
                    found = group(fit(CHINCHILLA, points, starts=TRUTH[None]))
                    named = np.zeros(0) if found is None else np.concatenate([found.rows, found.others])
                    share = float(np.isin(rows, named).mean()) if len(rows) else 0.0
                    yield noise, size, kind, found is not None, share


def main() -> None:
    words = sys.argv[1:]
    count = int(words[0]) if words and words[0].isdigit() else 20
    shift = float(words[words.index("--shift") + 1]) if "--shift" in words else SHIFT
    rows: dict[tuple[str, int, str], list[tuple[bool, float]]] = {}
    for noise, size, kind, alarm, share in trials(count, shift):
        rows.setdefault((noise, size, kind), []).append((alarm, share))
    told = []
    for (noise, size, kind), found in rows.items():
        rate = np.mean([alarm and (kind == "none" or share >= 0.5) for alarm, share in found])
        told.append({"noise": noise, "points": size, "planted": kind, "trials": len(found), "rate": rate})
        print(f"{noise:8} {size:5} {kind:13} {rate:.3f}", flush=True)
    for noise in NOISES:
        for none in (True, False):
            mean = np.mean(
                [t["rate"] for t in told if t["noise"] == noise and (t["planted"] == "none") == none]
            )
            print(f"{noise:8} {'false alarms' if none else 'found':13} {mean:.3f}")
    if "--out" in words:
        Path(words[words.index("--out") + 1]).write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
