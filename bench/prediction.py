"""How well the largest budgets of published sets are predicted from the smaller ones, and what is held.

    python -m bench.prediction [--data FOLDER of scaling sets]

Each set is fitted up to a third, and up to a tenth, of its largest compute, with audit and calibration, and
the runs above are predicted with their 95 % intervals. Of runs that were repeated for their rate or batch the
best of each size and data counts.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import ROOT, machine, save
from danlu.laws import LawError, Points, law, predict
from danlu.laws.answer import answer

Row = dict[str, str]
SHARES = (1 / 3, 1 / 10)


def points(
    rows: list[Row], columns: dict[str, str], keep: Callable[[Row], bool] = lambda row: True
) -> Points:
    """The rows that are kept, with n, d and loss by the file's names."""
    rows = [row for row in rows if keep(row)]
    return Points({ours: [float(row[theirs]) for row in rows] for ours, theirs in columns.items()})


def best(every: Points) -> Points:
    """The lowest loss of each size and data."""
    order = np.lexsort((every["loss"], every["d"], every["n"]))
    places = np.stack([every["n"][order], every["d"][order]])
    return every.take(order[np.unique(places, axis=1, return_index=True)[1]])


def sets(folder: Path) -> Iterator[tuple[str, str, Points]]:
    """Name, law and points."""

    def read(name: str) -> list[Row]:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    plain = {"n": "params", "d": "tokens", "loss": "loss"}
    epoch = points(
        read("epoch_chinchilla/svg_extracted_data.csv"),
        {"n": "Model Size", "c": "Training FLOP", "loss": "loss"},
    ).with_compute()
    yield "Chinchilla, 245 points (Epoch)", "chinchilla", epoch
    yield "Chinchilla, 240 points", "chinchilla", epoch.take(epoch["loss"] < np.sort(epoch["loss"])[-5])
    rows = read("isoflops/isoflops.csv")
    for name in dict.fromkeys(row["experiment"] for row in rows):
        yield (
            f"IsoFLOP, {name}",
            "chinchilla",
            points(
                rows,
                plain,
                lambda row, name=name: row["experiment"] == name and row["outlier"] == "False",  # type: ignore[misc]
            ),
        )
    rows = read("porian/isoflop_points_refinedweb.csv")
    for name in dict.fromkeys(row["config"] for row in rows):
        chosen = points(rows, plain, lambda row, name=name: row["config"] == name)  # type: ignore[misc]
        yield f"Porian, {name}", "chinchilla", best(chosen)
    rows = read("gadre/models.csv")
    for name in dict.fromkeys(row["train_dataset"] for row in rows):
        yield (
            f"Gadre, {name}",
            "chinchilla",
            points(
                rows,
                plain | {"loss": "loss_c4_val"},
                lambda row, name=name: row["train_dataset"] == name,  # type: ignore[misc]
            ),
        )
    rows = read("misfitting/scaling_results_last_ckpt_only.csv")
    yield (
        "(Mis)Fitting, last checkpoints",
        "chinchilla",
        best(points(rows, {"n": "N", "d": "D", "loss": "loss"})),
    )
    rows = read("steplaw/dense_lr_bs_loss.csv")
    yield "Step Law, dense", "chinchilla", best(points(rows, {"n": "N", "d": "D", "loss": "smooth loss"}))
    rows = read("datablations/parametric_fit_182.csv")
    yield "Datablations, 182 runs", "data-constrained", points(rows, plain | {"u": "unique_tokens"})


def score(name: str, every: Points, share: float) -> dict[str, Any] | None:
    """How runs above a share of the largest compute are predicted; None where too few are below it."""
    one = law(name)
    every = every.with_compute()
    limit = every["c"].max() * share
    below, above = every.take(every["c"] <= limit), every.take(every["c"] > limit)
    sizes = len(np.unique(below["n"]))
    cluster = below["n"] if 5 <= sizes < below.size else None
    try:
        found = answer(one, below, rungs=0, cluster=cluster, cluster_name=None if cluster is None else "n")
        fitted = found.saved
        told = predict(fitted, {column: above[column] for column in (*one.columns, "c")}, far=True)
    except LawError as error:
        print(f"    {error}")
        return None
    measured = above["loss"]
    plain = predict(replace_calibration(fitted), dict(told.places), far=True)
    return {
        "below": below.size,
        "above": above.size,
        "error": float(np.abs(told.value / measured - 1).mean()),
        "bias": float((told.value / measured - 1).mean()),
        "held": int(((told.run_low <= measured) & (measured <= told.run_high)).sum()),
        "held_unwidened": int(((plain.run_low <= measured) & (measured <= plain.run_high)).sum()),
        "half_width": float(np.mean(np.log(told.run_high / told.run_low)) / 2),
        "widened": float(told.widened.max()),
    }


def replace_calibration(fitted: Any) -> Any:
    """The same fit, nothing known of its calibration."""
    from dataclasses import replace

    return replace(fitted, calibration=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    shared = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=shared / "scaling")
    found: dict[str, Any] = {}
    print("| set | above | fitted | predicted | missed by | bias | 95 % held | unwidened | ± | widened |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, by, every in sets(parser.parse_args().data):
        for share in SHARES:
            row = score(by, every, share)
            if row is None:
                continue
            found[f"{name}, above 1/{1 / share:.0f}"] = row
            print(
                f"| {name} | 1/{1 / share:.0f} | {row['below']} | {row['above']} | {row['error']:.2%} | "
                f"{row['bias']:+.2%} | {row['held']} of {row['above']} | {row['held_unwidened']} | "
                f"{row['half_width']:.2%} | {row['widened']:.2g} |",
                flush=True,
            )
    save("prediction", {"sets": found, "machine": machine()})


if __name__ == "__main__":
    main()
