"""``danlu laws chain``: a task's accuracy from size, data, compute or loss, over the losses between them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from danlu.cli.laws.columns import AsJson, C, Column, D, File, N, Unit, Where, reading
from danlu.cli.laws.places import At, joined, read_places
from danlu.cli.output import print_json, print_table, say
from danlu.cli.working import Working


def chain(
    file: File,
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    at: At = None,
    through: Annotated[
        str | None,
        typer.Option("--through", help="The losses between: loss, task_loss or both. Default: all."),
    ] = None,
    form: Annotated[
        Literal["sigmoid", "exponential"], typer.Option("--form", help="The law of accuracy.")
    ] = "sigmoid",
    guess: Annotated[
        str, typer.Option("--guess", help="Accuracy of chance: 0.25 holds it; free fits it.")
    ] = "free",
    ideal: Annotated[
        bool, typer.Option("--ideal", help="Add a point: without loss every answer is right.")
    ] = False,
    hold_out: Annotated[
        int, typer.Option("--hold-out", min=0, max=1000, help="Number of the largest sizes to predict.")
    ] = 2,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Draw points in groups, by this column: n, run_name.")
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=10, max=100_000, help="Resamples of the intervals.")
    ] = 400,
    as_json: AsJson = False,
) -> None:
    """Predict a task's accuracy from size and data, over its loss.

    Example: danlu laws chain tasks.csv --column accuracy=hellaswag --guess 0.25 --ideal --at n=7e9,d=2e12
    """
    from danlu.laws import LawError, Warned, read
    from danlu.laws import chain as fitted
    from danlu.laws.chain import hold_out as scored

    asked_at = read_places(at or [])
    losses = through.split(",") if through else None
    asked = reading(n, d, c, column, where, unit)
    got = read(file, wanted=tuple(dict.fromkeys([*asked["chosen"], *(losses or ()), "accuracy"])), **asked)
    options: dict[str, Any] = {
        "through": losses, "form": form, "guess": _share(guess), "ideal": ideal,
    }  # fmt: skip
    with Working() as working:
        working("fitting every link")
        groups = None if cluster is None else got.labels(cluster)
        found = fitted(got.points, **options, resamples=resamples, by=groups)
        warnings = [*got.warnings, *found.warnings]
        held = None
        if hold_out:
            try:
                held = scored(got.points, hold_out, **options)
            except LawError as error:
                warnings.append(Warned("not-scored", f"the extrapolation is not scored: {error}"))
        places = _places(found, asked_at)
        predicted = [(place, found.predict(place)) for place in places]
    warnings += [outside for place in places for outside in found.outside(place)]
    if as_json:
        print_json({
            "links": [_link(link) for link in found.links],
            "points": found.points.size,
            "hold_out": None if held is None else held._asdict(),
            "predictions": [
                {"at": place, **{name: one.json() for name, one in values.items()}}
                for place, values in predicted
            ],
            "warnings": [one.json() for one in warnings],
        } | got.json())  # fmt: skip
        return
    for note in got.notes:
        say(note)
    for link in found.links:
        say(f"\n{link.said}: {link.fit.law.formula}, {link.fit.law.paper}")
        rows: list[tuple[str, ...]] = [("", "value", "95 % from", "to", "meaning")]
        for parameter in link.fit.law.parameters:
            ends = link.ends(parameter.name)
            rows.append((parameter.name, *(f"{x:.5g}" for x in ends[:3]), parameter.meaning))
        print_table(rows)
    if held is not None:
        errors = ", ".join(f"{name} {error:.2%}" for name, error in held.errors.items())
        say(f"\nheld out, the {held.points} points of the largest {held.by}: mean relative error of {errors}")
    if predicted:
        say()
        table: list[tuple[str, ...]] = [("at", "", "value", "95 % from", "to", "one run from", "to")]
        for place, values in predicted:
            spot = ", ".join(f"{name}={value:.4g}" for name, value in place.items())
            for name, one in values.items():
                table.append((spot, name, *(f"{float(x[0]):.4g}" for x in (*one.law[:3], one.low, one.high))))
                spot = ""
        print_table(table)
    for warning in warnings:
        say(f"warning: {warning}")


def _places(found: Any, asked: list[dict[str, list[float]]]) -> list[dict[str, float]]:
    """One place after the other."""
    from danlu.laws import LawError

    begins = [{"c"}, *(set(link.sources) for link in found.links)]
    places = []
    for one in joined(asked, lambda names: {*names} in begins):
        lengths = {len(values) for values in one.values()}
        if len(lengths - {1}) > 1:
            told = ", ".join(f"{name} {len(values)}" for name, values in one.items())
            raise LawError(f"there must be as many values of each column, or one: {told}")
        places += [
            {name: values[i if len(values) > 1 else 0] for name, values in one.items()}
            for i in range(max(lengths))
        ]
    return places


def _share(said: str) -> float | None:
    from danlu.laws import LawError

    if said == "free":
        return None
    try:
        return float(said)
    except ValueError:
        raise LawError(f"--guess {said}: a share such as 0.25, or free") from None


def _link(link: Any) -> dict[str, Any]:
    law = link.fit.law
    ends = {key: link.ends(name) for key, name in zip(law.keys, law.names, strict=True)}
    return {
        "sources": list(link.sources),
        "target": link.target,
        "law": law.name,
        "parameters": {name: one.value for name, one in ends.items()},
        "intervals": {name: one.json() for name, one in ends.items()},
    }
