"""``danlu laws isoflop`` and ``envelope``: the best size and data for a budget, from the points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from danlu.cli.drawn import Report, check, end
from danlu.cli.laws.columns import AsJson, C, Column, D, Far, File, N, Unit, Where, belonging, floats, reading
from danlu.cli.output import Force, print_table, say, speak, spoken
from danlu.cli.working import Working

Budgets = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="FLOP,…",
        help="Budgets to divide: 1e21,1e23. Default: the largest, and up to 10 times it.",
    ),
]
Run = Annotated[
    str | None,
    typer.Option("--run", metavar="COLUMN,…", help="The column, or columns together, that tell runs apart."),
]
Resamples = Annotated[
    int, typer.Option("--resamples", min=10, max=100_000, help="Resamples of the intervals.")
]


def isoflop(
    file: File,
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    method: Annotated[
        Literal["parabola", "akima"], typer.Option("--method", help="The curve through a profile.")
    ] = "parabola",
    weighted: Annotated[
        bool, typer.Option("--weighted", help="A budget counts by the precision of its optimum.")
    ] = False,
    noise: Annotated[
        float | None,
        typer.Option("--noise", min=0, help="Scatter of the loss of runs, in nats. Default: by repeats."),
    ] = None,
    lowest: Annotated[
        bool, typer.Option("--lowest", help="Of runs of one point take the lowest loss, not the mean.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", min=0, help="Gap in compute that parts budgets: 0.1 is 10 %. Default: found."
        ),
    ] = None,
    budget: Budgets = None,
    run: Run = None,
    resamples: Resamples = 1000,
    far: Far = False,
    report: Report = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the best size at each budget, by profiles of equal compute.

    Example: danlu laws isoflop points.csv --budget 1e22 --report profiles.html
    """
    options = {
        "method": method, "weighted": weighted, "noise": noise, "lowest": lowest, "tolerance": tolerance,
        "resamples": resamples,
    }  # fmt: skip
    asked = reading(n, d, c, column, where, unit)
    _answer("isoflop", file, asked, run, options, budget, far, report, force, as_json)


def envelope(
    file: File,
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    run: Run = None,
    smooth: Annotated[
        float, typer.Option("--smooth", min=0, help="Points of a Gaussian over each curve; the paper: 10.")
    ] = 0.0,
    budget: Budgets = None,
    resamples: Resamples = 1000,
    far: Far = False,
    report: Report = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Find the best size at each budget, by the envelope of curves.

    Example: danlu laws envelope curves.csv --run run_name --smooth 10
    """
    options = {"smooth": smooth, "resamples": resamples}
    asked = reading(n, d, c, column, where, unit)
    _answer("envelope", file, asked, run, options, budget, far, report, force, as_json)


def _answer(
    main: str,
    file: Path,
    asked: dict[str, Any],
    run: str | None,
    options: dict[str, Any],
    budget: str | None,
    far: bool,
    report: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    from danlu.laws import Points, law, read
    from danlu.laws.approaches import sides
    from danlu.laws.beyond import beyond, limit
    from danlu.laws.calibration import beside
    from danlu.laws.errors import LawError

    budgets = floats("--budget", budget)
    check(report, force)
    got = read(file, wanted=("n", "d", "loss"), **asked)
    ranges = {"c": (float(got.points["c"].min()), float(got.points["c"].max()))}
    largest = ranges["c"][1]
    flops = budgets or [float(f"{times * largest:.2g}") for times in (1, min(10.0, limit(ranges["c"])[0]))]
    reach = beyond(Points(c=flops), ranges, None, far)[1] if budgets else []
    runs, told = _runs(got, run, needed=main == "envelope")
    labels = belonging(got, None, len(law("chinchilla").parameters)).labels
    together = labels if runs is None else runs
    with Working() as working:
        working("comparing approaches")
        found = sides(got.points, run=runs, by=together, **options)
    if main not in found.frontiers:
        raise LawError(found.absent[main])
    one = found.frontiers[main]
    # By default the first of two is the largest itself, but for rounding.
    measured = [] if found.fit is None else beside(found.fit, budgets or flops[-1:], together)
    warnings = [*got.warnings, *_mixed(got, found, labels), *one.warnings, *found.warnings, *reach]
    notes = [*got.notes, *told, *(f"measured: {one}" for one in measured)]

    def json() -> dict[str, Any]:
        said = {"approach": main, **found.json(flops), "warnings": [one.json() for one in warnings]}
        return said | got.json() | {"notes": notes}

    def draw() -> str:
        from danlu.laws.approaches.report import html

        return html(found, main, str(file), flops, warnings, measured)

    def tell() -> None:
        _tell(main, found, flops, notes, warnings)

    end(f"laws {main}", json, tell, draw, path=report, force=force, as_json=as_json)


def _tell(main: str, found: Any, flops: list[float], notes: list[str], warnings: list[Any]) -> None:
    from danlu.laws.approaches.report import table

    one = found.frontiers[main]
    for note in [*notes, *one.notes]:
        speak(note)
    for warning in warnings:
        speak(f"warning: {warning}")
    say()
    if main == "isoflop":
        rows = [("FLOP", "N_opt", "95 % by noise", "D_opt", "D/N", "loss")]
        columns = (one.optima[name] for name in ("c", "n", "n_low", "n_high", "d", "loss"))
        rows += [
            (f"{c:.3g}", f"{n:.3g}", f"{low:.3g} to {high:.3g}", f"{d:.3g}", f"{d / n:.3g}", f"{loss:.4g}")
            for c, n, low, high, d, loss in zip(*columns, strict=True)
        ]
        print_table(spoken(rows))
        for why in one.refused:
            speak(f"left out: {why}")
        say()
    print_table(spoken(_upright(table(found, flops))))
    for name, why in found.absent.items():
        speak(f"{name} is not possible: {why}")


def _upright(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Columns as rows: approaches are few, and what is said of each is wide."""
    return list(zip(*rows, strict=True))


def _mixed(got: Any, found: Any, labels: Any) -> list[Any]:
    """A warning where the file mixes sources, and one of a sweep, of which profiles take the best alone."""
    from danlu.laws.audit.places import swept
    from danlu.laws.audit.sources import sources
    from danlu.laws.audit.whole import mixture

    if found.fit is None:
        return []
    mixed = sources(found.fit, got.others, labels)
    return [*swept(found.fit, got.others), *([] if mixed is None else [mixture(mixed)])]


def _runs(got: Any, run: str | None, needed: bool) -> tuple[Any, list[str]]:
    """A label of each point's training curve, or None, and by what curves are told apart."""
    import numpy as np

    from danlu.laws.approaches import runs_of
    from danlu.laws.errors import LawError

    if run is not None:
        labels = np.stack([got.labels(name) for name in run.split(",")])
        return np.unique(labels, axis=1, return_inverse=True)[1].reshape(-1).astype(np.float64), []
    try:
        label, said = runs_of(got.points, got.table)
    except LawError:
        if needed:
            raise
        return None, []
    return label, [said]
