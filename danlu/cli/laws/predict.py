"""``danlu laws predict``: the loss of a run that has not been trained, with its intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.laws.columns import (
    AsJson,
    Column,
    Far,
    Unit,
    Where,
    amount,
    of_points,
    reading,
    together,
)
from danlu.cli.laws.places import At, Columns, joined, read_places
from danlu.cli.output import print_json, print_table, speak, spoken
from danlu.files.numbers import rounded


def predict(
    source: Annotated[
        Path,
        typer.Argument(metavar="FIT.json|FILE", help="A fit's JSON, a ladder's folder, or points to fit."),
    ],
    n: Annotated[
        str | None, typer.Option("--n", "--parameters", metavar="VALUES", help="Parameters: 7e9 or 1e9,7B.")
    ] = None,
    d: Annotated[str | None, typer.Option("--d", "--tokens", metavar="VALUES", help="Tokens.")] = None,
    c: Annotated[
        str | None,
        typer.Option(
            "--c", "--flops", metavar="VALUES", help="Training FLOP; alone: of the law's best size."
        ),
    ] = None,
    at: At = None,
    law: Annotated[
        str | None,
        typer.Option("--law", help="The law to fit, where FILE holds points. Default: chinchilla."),
    ] = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="The column by which points belong together.")
    ] = None,
    far: Far = False,
    as_json: AsJson = False,
) -> None:
    """Predict the loss of runs, with intervals.

    Give two of --n, --d and --c, several values with commas between, or --at.

    Examples: danlu laws predict fit.json --n 1B,7B --d 1.4e11; danlu laws predict fit.json --at n=7B,d=2T
    """
    from danlu.laws import LawError
    from danlu.laws import predict as prediction_of

    given = {"n": n, "d": d, "c": c}
    sizes = {
        name: [amount(name, f"--{name}")(one) for one in said.split(",")]
        for name, said in given.items()
        if said
    }
    places = read_places(at or [])
    if not sizes and not places:
        raise LawError("nothing to predict: give two of --n, --d and --c, --c alone, or --at NAME=VALUES")
    if twice := [name for one in places for name in one if name in sizes]:
        raise LawError(f"{twice[0]} is given twice, by --{twice[0]} and by --at")
    saved, notes = _fit(source, law, column, where, unit, cluster)
    found = prediction_of(saved, _all_places(saved, sizes, places), far=far)
    if as_json:
        print_json("laws predict", found.json())
        return
    for note in notes:
        speak(note)
    _print(found)


def _all_places(saved: Any, sizes: Columns, places: list[dict[str, list[float]]]) -> Any:
    """All places as columns: of each ``--at``, with ``sizes``, those that the law has a use for."""
    import numpy as np

    from danlu.laws.prediction import enough, where

    each = joined(places, lambda names: enough(saved.law, {*names, *sizes})) or [{}]
    if len(each) == 1:
        return {**sizes, **each[0]}
    found = [where(saved.law, saved.theta, {**sizes, **one}) for one in each]
    return {
        name: np.concatenate([one[name] for one in found])
        for name in found[0]
        if all(name in one for one in found)
    }


def _fit(
    source: Path,
    law: str | None,
    column: list[str] | None,
    where: list[str] | None,
    unit: list[str] | None,
    cluster: str | None,
) -> tuple[Any, list[str]]:
    """The fit of the file, or to the file's points, and what is to be said of its columns."""
    from danlu.laws import law as named
    from danlu.laws import load, read
    from danlu.laws.answer import answer
    from danlu.laws.saved import is_fit

    options = {"law": law, "column": column, "where": where, "unit": unit, "cluster": cluster}
    of_folder = source.is_dir() and any(options.values())  # whose points are asked for, then
    if is_fit(source) and not of_folder:
        of_points(source, **options)
        return load(source), []
    wanted, asked = named(law or "chinchilla"), reading(None, None, None, column, where, unit)
    got = read(source, wanted=(*wanted.columns, wanted.target), **asked)
    found = answer(wanted, got.points, rungs=0, calibrated=True, **together(got, cluster))
    return found.saved, [*got.notes, *(f"warning: {one}" for one in got.warnings), ""]


def _print(found: Any) -> None:
    law, places = found.law, found.places
    names = list(dict.fromkeys((*law.columns, *(name for name in ("n", "d", "c") if name in places))))
    speak(f"{law.title}\n{law.formula}\n")
    rows = [(*names, law.target, "the law, 95 %", "a new run, 95 %")]
    for i in range(places.size):
        mean, run = (
            "" if low != low else f"{low:.4f} to {high:.4f}"
            for low, high in ((found.mean_low[i], found.mean_high[i]), (found.run_low[i], found.run_high[i]))
        )
        told = [_number(float(places[name][i])) for name in names]
        rows.append((*told, f"{found.value[i]:.4f}", mean, run))
    for warning in found.warnings:
        speak(f"warning: {warning}")
    print_table(spoken(rows))
    for said in dict.fromkeys(filter(None, found.said)):
        speak(f"measured: {said}")


def _number(value: float) -> str:
    return rounded(value) if 1e3 <= value < 1e15 else f"{value:.4g}"
