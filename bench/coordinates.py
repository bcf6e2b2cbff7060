"""Decibels of a photograph, 64 × 64, on the quarter of its pixels that training sees and on the others.

    python -m bench.coordinates

Networks of width 128 (a SIREN of four layers, an MLP of three), 500 updates on all seen pixels, Adam at a
constant rate of 1e-3 unless said otherwise, without clipping. Beside them stand bilinear interpolation and
the mean, which need no network, and the figures of an earlier program, of one seed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import RESULTS, machine, save, show, verdict
from danlu.data.coordinates import Signal, prepare_signal
from danlu.door.run import train
from danlu.draw import Chart
from danlu.lab.measures import of_run
from danlu.spec.signals import Photograph

PIXELS = 64
MLP = "model='{{kind: coordinate-mlp, layers: 3, width: 128, encoding: {}}}'"
SIREN = "model.first_omega={} model.omega={}"
COMMON = "siren-photograph optimizer.lr=1e-3 schedule=constant train.clip=0 train.device=cpu"
Row = dict[str, Any]

# What is laid over COMMON, and the earlier decibels: seen, unseen.
NETWORKS: dict[str, tuple[str, tuple[float, float]]] = {
    "ReLU": (MLP.format("raw"), (19.7, 19.5)),
    "Fourier, scale 1": (MLP.format("{kind: fourier, features: 64, scale: 1}"), (27.3, 21.5)),
    "Fourier, scale 3": (MLP.format("{kind: fourier, features: 64, scale: 3}"), (40.0, 21.4)),
    "Fourier, scale 10": (MLP.format("{kind: fourier, features: 64, scale: 10}"), (45.3, 15.4)),
    "octaves 6": (MLP.format("{kind: octaves, octaves: 6}"), (36.4, 10.7)),
    "SIREN 30, rate 1e-4": (SIREN.format(30, 30) + " optimizer.lr=1e-4", (42.6, 21.9)),
    "SIREN 30": (SIREN.format(30, 30), (44.2, 20.4)),
    "SIREN 10": (SIREN.format(10, 30), (56.5, 21.5)),
    "SIREN 1, every ω": (SIREN.format(1, 1), (18.0, 18.1)),
}
BEST = 40.0  # decibels that the recipe must have on the pixels that it sees


def without_networks(signal: Signal) -> Iterator[Row]:
    """Bilinear interpolation of the seen pixels, constant beyond the last; their mean."""
    from scipy.interpolate import RegularGridInterpolator

    even = np.arange(0, PIXELS, 2)
    between = RegularGridInterpolator((even, even), signal.whole.values.reshape(PIXELS, PIXELS, 3)[::2, ::2])
    places = np.minimum(np.indices((PIXELS, PIXELS)).reshape(2, -1).T, PIXELS - 2)
    guesses = {"interpolation": between(places)[~signal.even], "mean": signal.seen.values.mean(0)}
    for name, guess in guesses.items():
        error = float(((guess - signal.held_out.values) ** 2).mean())
        yield {"name": name, "unseen": -10 * math.log10(error)}


def trained(name: str, words: str) -> Row:
    """What a run came to."""
    with tempfile.TemporaryDirectory() as folder:
        run = train(words, Path(folder) / "run", progress=False)
        summary = run.summary or {}
        bounds = of_run(run.folder, ["lipschitz-below", "lipschitz-above"])
    metrics = summary["metrics"]
    seconds = summary["active_seconds"]
    return {
        "name": name,
        "words": words,
        "seen": metrics["seen_psnr"]["value"],
        "unseen": metrics["psnr"]["value"],
        "parameters": summary["parameters"],
        "lipschitz": [bounds["lipschitz-below"], bounds["lipschitz-above"]],
        "training_seconds": seconds["train"] + seconds["optimizer"] + seconds["data"],
    }


def main() -> None:
    torch.set_num_threads(1)
    about = machine(1)
    rows = list(without_networks(prepare_signal(Photograph(pixels=PIXELS))))
    for name, (words, earlier) in NETWORKS.items():
        rows.append(trained(name, f"{COMMON} {words}") | {"earlier": earlier})
    recipe = trained("siren-photograph", "siren-photograph train.device=cpu")
    rows.append(recipe)
    (RESULTS / "coordinates.svg").write_text(picture(rows).svg(), encoding="utf-8")
    save("coordinates", {"machine": about, "pixels": PIXELS, "bar": {"seen": BEST}, "rows": rows})
    show(
        "Decibels on the pixels that training sees, and on the others",
        ("", "seen", "unseen", "earlier", "Lipschitz", "seconds"),
        [line(row) for row in rows],
        about,
    )
    print(f"siren-photograph: {recipe['seen']:.1f} dB on what it sees, {verdict(recipe['seen'], BEST)}")


def picture(rows: list[Row]) -> Chart:
    """What is seen against what is not, a dot for each network."""
    chart = Chart(
        "dB of the pixels that training sees", "dB of the others", log_x=True,
        title="A photograph, a quarter of its pixels seen",
        caption="The line: bilinear interpolation of the seen pixels.",
    )  # fmt: skip
    chart.rule(y=next(row["unseen"] for row in rows if row["name"] == "interpolation"))
    networks = [row for row in rows if "earlier" in row]
    for family, found in groupby(networks, lambda row: row["name"].split()[0]):
        names, seen, unseen = zip(*((row["name"], row["seen"], row["unseen"]) for row in found), strict=True)
        chart.dots(seen, unseen, family, tips=names)
    return chart


def line(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    if "seen" not in row:
        return row["name"], "", f"{row['unseen']:.1f}", "", "", ""
    earlier = "/".join(f"{value:g}" for value in row.get("earlier", ()))
    between = "–".join(f"{value:.3g}" for value in row["lipschitz"])
    seconds = f"{row['training_seconds']:.0f}"
    return row["name"], f"{row['seen']:.1f}", f"{row['unseen']:.1f}", earlier, between, seconds


if __name__ == "__main__":
    main()
