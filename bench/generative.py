"""How good flows and autoencoders are, and what reflow does: eight Gaussians and digits.

    python -m bench.generative [--keep FOLDER]

Eight Gaussians: energy distance of 2,000 samples at 16 evaluations of the network, for flow matching, EDM,
PFGM++ and PFGM, against three standard deviations of that between two fresh sets of as many points; and one
step of Euler after reflow, with the straightness of the paths before and after. Digits: Fréchet distance of
halves of 1,797 samples from halves of the data, against 2.5 times that between halves of the data (it falls
with their size) for a flow and 4.5 times for a VQ-VAE with its prior, and whether the samples are memory; a
VAE's too, with its bound in bits of a pixel and that of many draws (IWAE). Each run
is a recipe, trained on one thread; what it took is told in seconds of processor time, since the machine may
be shared. ``--keep``: where the runs lie, which are not trained again if they are there.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import danlu_command, machine, save, show, verdict
from danlu.data import Finite
from danlu.data.points import Points
from danlu.distances import between_halves, energy, memory
from danlu.distances.digits import digit_features
from danlu.distances.frechet import between
from danlu.files.json import read_object
from danlu.objectives import Autoencode, Flow, Generation
from danlu.spec.points import EightGaussians
from danlu.train.load import LoadedRun, load_run

POINTS, EVALUATIONS, ONE_STEP = 2000, 16, 0.01
SETS = 20  # pairs of fresh sets, which say how far data are from data
HALVES = {"digits": 2.5, "VQ-VAE": 4.5}  # times the distance between halves of the data
THREADS = 1
RUNS = {
    "flow matching": ["flow-8gaussians"],
    "reflow": ["flow-8gaussians", "+reflow", "objective.coupling.run=RUNS/flow-matching"],
    "EDM": ["denoise-8gaussians"],
    "PFGM++": ["denoise-8gaussians", "+pfgm-plus"],
    "PFGM": ["denoise-8gaussians", "+pfgm"],
    "digits": ["flow-digits"],
    "VQ-VAE": ["vq-digits"],
    "VAE": ["vae-digits"],
}  # fmt: skip
ON_DIGITS = ("digits", "VQ-VAE", "VAE")


def trained(name: str, words: list[str], folder: Path) -> tuple[LoadedRun, dict[str, Any]]:
    """The run, and what training took."""
    run = folder / name.replace(" ", "-")
    words = [word.replace("RUNS", os.fspath(folder)) for word in words]
    if not (run / "summary.json").exists():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [*danlu_command(), "train", *words, "train.device=cpu", "--run", os.fspath(run)],
            env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        (run / "processor-seconds").write_text(f"{seconds:.1f}\n")
    summary = read_object(run / "summary.json", {"active_seconds": dict, "steps": int, "metrics": dict})
    took = {
        "metrics": {name: one["value"] for name, one in summary["metrics"].items()},
        "words": " ".join(words).replace(os.fspath(folder), "RUNS"),
        "steps": summary["steps"],
        "processor_seconds": float((run / "processor-seconds").read_text()),
        "train_seconds": summary["active_seconds"]["train"] + summary["active_seconds"]["optimizer"],
    }
    return load_run(run), took


def data_against_data(source: Points) -> dict[str, float]:
    """The energy distance of two fresh sets of points: mean and standard deviation."""
    sets = [source.fresh(100 + i, POINTS)[0] for i in range(2 * SETS)]
    values = [energy(a, b).value for a, b in zip(sets[::2], sets[1::2], strict=True)]
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "pairs": SETS}


def on_points(run: LoadedRun) -> dict[str, Any]:
    """Energy distances by evaluations of the network, and the straightness of a flow's paths."""
    objective = run.objective
    assert isinstance(objective, Generation) and isinstance(objective.source, Points)
    fresh = objective.source.fresh(5, POINTS)[0]
    found: dict[str, Any] = {"energy": {}}
    for steps in (4, 8, 32):  # Heun's, two evaluations each
        made = objective.generate(run.model, POINTS, seed=1, steps=steps)
        found["energy"][str(2 * steps)] = energy(made, fresh).value
    if isinstance(objective, Flow):
        found["straightness"] = objective.straightness(run.model, 1000, 50)
    return found


def one_step(run: LoadedRun) -> float:
    """The energy distance after one step of Euler."""
    from danlu.flows import Euler

    assert isinstance(run.objective, Flow) and isinstance(run.objective.source, Points)
    run.objective.solver = Euler()
    made = run.objective.generate(run.model, POINTS, seed=1, steps=1)
    return energy(made, run.objective.source.fresh(5, POINTS)[0]).value


def on_digits(run: LoadedRun) -> dict[str, Any]:
    """The Fréchet distance, that between halves of the data, and the test of memory."""
    objective = run.objective
    assert isinstance(objective, (Generation, Autoencode)) and isinstance(objective.source, Finite)
    if isinstance(objective, Generation):
        made = objective.generate(run.model, 1797, seed=1)
    else:
        made = objective.generate(run.model, 1797)
    made = made.clip(0, 1).reshape(1797, -1)
    source = objective.source
    train, held_out = (part.reshape(len(part), -1) for part, _ in (source.train, source.held_out))
    data = np.concatenate([train, held_out])
    ours, theirs = digit_features(made), digit_features(data)
    halves = between_halves("Fréchet distance", between, theirs)
    half, generator = len(data) // 2, np.random.default_rng(0)
    orders = [(generator.permutation(len(ours)), generator.permutation(len(data))) for _ in range(SETS)]
    alike = [between(ours[a[:half]], theirs[b[:half]]) for a, b in orders]
    told = memory(made, train, held_out)
    return {
        "frechet": float(np.mean(alike)),
        "frechet_of_all": between(ours, theirs),
        "halves": {"mean": halves.value, "sd": halves.error},
        "memory": {
            "to_train": told.to_train.value, "to_held_out": told.to_held_out.value,
            "nearer": told.nearer.value, "nearer_error": told.nearer.error,
            "share": told.share.value, "share_error": told.share.error, "copies": told.copies,
        },
    }  # fmt: skip


def main() -> None:
    """Train what is not there, measure, save and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as scratch:
        folder = (chosen or Path(scratch)).resolve()
        runs = {name: trained(name, words, folder) for name, words in RUNS.items()}
        found: dict[str, Any] = {name: {**took} for name, (_, took) in runs.items()}
        for name, (run, _) in runs.items():
            found[name] |= on_digits(run) if name in ON_DIGITS else on_points(run)
        for name in ("flow matching", "reflow"):
            found[name]["one_step"] = one_step(runs[name][0])
        apart = data_against_data(Points(EightGaussians()))
    about = machine(THREADS)
    save("generative", {"about": about, "data_against_data": apart, "runs": found})
    report(found, apart, about)


def report(found: dict[str, Any], apart: dict[str, float], about: dict[str, Any]) -> None:
    """As tables."""
    nearest = 3 * apart["sd"]
    rows = []
    for name, one in found.items():
        if "energy" not in one:
            continue
        values = [f"{one['energy'][n]:.4f}" for n in ("8", "16", "64")]
        values += [f"{one[what]:.4f}" if what in one else "" for what in ("one_step", "straightness")]
        reached = verdict(abs(one["energy"]["16"]), nearest, at_most=True)
        rows.append([name, *values, f"{one['processor_seconds']:.0f} s", reached])
    evaluations = ["8 evaluations", "16", "64", "one Euler step"]
    columns = ["eight Gaussians", *evaluations, "straightness", "processor", f"16: ≤ {nearest:.4f}"]
    show("energy distance", columns, rows, about)
    after = found["reflow"]["one_step"]
    told = [
        [
            "after reflow, one Euler step",
            f"{after:.4f}",
            f"{ONE_STEP:.4f}",
            verdict(after, ONE_STEP, at_most=True),
        ]
    ]
    for name in ON_DIGITS:
        one, of_memory = found[name], found[name]["memory"]
        bar, reached = "", ""
        if name in HALVES:
            most = HALVES[name] * one["halves"]["mean"]
            bar, reached = f"{most:.4f}", verdict(one["frechet"], most, at_most=True)
        told.append([f"{name}, Fréchet distance", f"{one['frechet']:.4f}", bar, reached])
        nearer = f"{of_memory['share']:.3f} ± {of_memory['share_error']:.3f}"
        told.append([f"{name}, share nearer to training images", nearer, "", ""])
    for bound in ("bits_per_dimension", "iwae_bits_per_dimension"):
        told.append([f"VAE, {bound}", f"{found['VAE']['metrics'][bound]:.4f}", "", ""])
    show("figures", ["", "found", "at most", ""], told, about)


if __name__ == "__main__":
    main()
