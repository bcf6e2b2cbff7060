"""``danlu laws design``: which run to train next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from danlu.cli.laws.columns import AsJson, C, Column, D, Far, N, Unit, Where, of_points, reading, together
from danlu.cli.output import print_json, print_table, speak, spoken
from danlu.cli.working import Working

if TYPE_CHECKING:
    from danlu.laws.saved import Saved


def design(
    file: Annotated[
        Path, typer.Argument(help="Points, as danlu laws fit reads them, or the JSON file of a fit.")
    ],
    budget: Annotated[float, typer.Option("--budget", metavar="FLOP", help="What one run may cost: 1e20.")],
    target: Annotated[
        str,
        typer.Option("--target", help="What should be known: loss@1e22, n@1e22, loss@n=7e9,d=2e12, a, beta."),
    ],
    runs: Annotated[
        int, typer.Option("--runs", min=1, max=1000, help="How many runs, one after the other.")
    ] = 3,
    rank: Annotated[
        Literal["run", "flop"], typer.Option("--rank", help="The best by what a run gains, or by FLOP.")
    ] = "run",
    law: Annotated[
        str | None, typer.Option("--law", help="A law of n and d; danlu laws show. Default: chinchilla.")
    ] = None,
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Draw points of one value together: a column, or none.")
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option("--resamples", min=10, max=100_000, help="Resamples of the fit. Default: 200."),
    ] = None,
    far: Far = False,
    as_json: AsJson = False,
) -> None:
    """Say which run to train next, to know a quantity better.

    Example: danlu laws design points.csv --budget 1e20 --target loss@1e22 --runs 3
    """
    from danlu.laws import design as advise
    from danlu.laws.saved import is_fit

    with Working() as working:
        working("fitting and resampling")
        if is_fit(file):
            of_points(
                file, law=law, n=n, d=d, c=c, column=column, where=where, unit=unit, cluster=cluster,
                resamples=resamples,
            )  # fmt: skip
            known, said = _saved(file), dict[str, Any]()
            warnings = known.told
        else:
            asked = reading(n, d, c, column, where, unit)
            known, warnings, said = _fitted(file, law or "chinchilla", asked, cluster, resamples or 200)
    assert known.covariance is not None and known.scatter is not None
    found = advise(
        known.law, known.theta, known.covariance, known.scatter.total, known.ranges, budget=budget,
        target=target, runs=runs, rank=rank, calibration=known.calibration, far=far,
    )  # fmt: skip
    warnings += found.warnings
    if as_json:
        print_json("laws design", {
            "target": found.target, **found.interval(found.half).json(), "budget": budget, "rank": rank,
            "runs": [
                {
                    "n": run.n, "d": run.d, "flops": run.flops, "fall": run.fall,
                    "fall_per_flop": run.fall / run.flops, "after": found.interval(run.half).json(),
                }
                for run in found.runs
            ],
            "warnings": [one.json() for one in warnings],
        } | said)  # fmt: skip
        return
    for note in said.get("notes", []):
        speak(note)
    speak(f"\n{target} is {found.value:.5g} ± {_half(found, found.half)} (95 %)\n")
    rows = [("run", "N", "D", "D/N", "FLOP", "interval falls by", "to ±", "per 1e18 FLOP")]
    for number, run in enumerate(found.runs, start=1):
        rows.append((
            str(number), f"{run.n:.3g}", f"{run.d:.3g}", f"{run.d / run.n:.3g}", f"{run.flops:.3g}",
            f"{run.fall:.1%}", _half(found, run.half), f"{run.fall / run.flops * 1e18:.2%}",
        ))  # fmt: skip
    print_table(spoken(rows))
    for warning in warnings:
        speak(f"warning: {warning}")


def _half(found: Any, half: float) -> str:
    return f"{half:.2%}" if found.relative else f"{half:.3g}"


def _saved(path: Path) -> Saved:
    """The fit of a file."""
    from danlu.laws import LawError, load

    one = load(path)
    if one.covariance is None or one.scatter is None:
        raise LawError(f"{path} has no covariance or no scatter; fit again with this danlu, and resamples")
    return one


def _fitted(
    file: Path, name: str, asked: dict[str, Any], cluster: str | None, resamples: int
) -> tuple[Saved, list[Any], dict[str, Any]]:
    """The fit of points, with the warnings of reading and fitting, and what was read."""
    from danlu.laws import LawError, read
    from danlu.laws import law as law_of
    from danlu.laws.answer import answer

    law = law_of(name)
    got = read(file, wanted=(*law.columns, law.target), **asked)
    found = answer(law, got.points, rungs=0, resamples=resamples, **together(got, cluster))
    warnings = [*got.warnings, *found.warnings]
    if found.covariance is None:
        raise LawError(f"the fit of {name} has no intervals, so that no run can narrow them: {warnings[-1]}")
    return found.saved, warnings, got.json()
