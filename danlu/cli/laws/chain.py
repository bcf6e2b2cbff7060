"""``danlu laws chain``: a task's accuracy from size, data, compute or loss, over the losses between them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from danlu.cli.drawn import Report, check, end
from danlu.cli.laws.columns import (
    AsJson,
    C,
    Column,
    D,
    Far,
    File,
    HoldOut,
    N,
    Unit,
    Where,
    belonging,
    reading,
)
from danlu.cli.laws.places import At, joined, read_places
from danlu.cli.output import Force, print_table, say, speak, spoken
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
        typer.Option("--through", help="The losses between: loss, task_loss, or both. Default: all."),
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
    hold_out: HoldOut = 2,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Draw points in groups, by this column: n, run_name.")
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=10, max=100_000, help="Resamples of the intervals.")
    ] = 400,
    far: Far = False,
    report: Report = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Predict a task's accuracy from size and data, over its loss.

    Example: danlu laws chain tasks.csv --column accuracy=hellaswag --guess 0.25 --ideal --at n=7e9,d=2e12
    """
    from danlu.laws import LawError, Points, Warned, law, read
    from danlu.laws import chain as fitted
    from danlu.laws.calibration import beside
    from danlu.laws.chain import hold_out as scored
    from danlu.laws.errors import NoColumnError

    asked_at = read_places(at or [])
    check(report, force)
    losses = _losses(through)
    asked = reading(n, d, c, column, where, unit)
    wanted = dict.fromkeys([*asked["chosen"], *(losses or ()), "accuracy"])
    try:  # a loss on some data, too, where there is no better one
        got = read(file, wanted=(*wanted, *({"loss"} - {*wanted})), **asked)
    except NoColumnError:
        got = read(file, wanted=tuple(wanted), **asked)
    options: dict[str, Any] = {
        "through": losses, "form": form, "guess": _share(guess), "ideal": ideal,
    }  # fmt: skip
    with Working() as working:
        working("fitting every link")
        together = belonging(got, cluster, len(law("chinchilla").parameters))
        groups = None if together.labels is None else together.labels.astype(float)
        found = fitted(got.points, **options, resamples=resamples, by=groups)
        warnings = [*got.warnings, *found.warnings, *_audited(found.links[0], got.others, together)]
        held = None
        if hold_out:
            try:
                held = scored(got.points, hold_out, **options)
            except LawError as error:
                warnings.append(Warned("not-scored", f"the extrapolation is not scored: {error}"))
        places = _places(found, asked_at)
        predicted = [(place, found.predict(place, far=far)) for place in places]
    first = found.links[0]
    spots = [Points({name: [value] for name, value in place.items()}).with_compute() for place in places]
    budgets = [float(spot["c"][0]) for spot in spots if "c" in spot]
    measured = beside(first.fit, budgets, groups) if first.sources == ("n", "d") else []
    warnings += dict.fromkeys(outside for place in places for outside in found.outside(place, far))

    def json() -> dict[str, Any]:
        return {
            "links": [_link(link) for link in found.links],
            "points": found.points.size,
            "hold_out": None if held is None else held._asdict(),
            "predictions": [
                {"at": place, **{name: one.json() for name, one in values.items()}}
                for place, values in predicted
            ],
            "calibration": measured,
            "warnings": [one.json() for one in warnings],
        } | got.json()

    def tell() -> None:
        from danlu.laws.chain_report import held_out, parameter_rows, place_rows

        for note in got.notes:
            speak(note)
        for warning in warnings:
            speak(f"warning: {warning}")
        for link in found.links:
            speak(f"\n{link.said}: {link.fit.law.formula}, {link.fit.law.paper}")
            print_table(spoken(parameter_rows(link), names=(0,)))
        if held is not None:
            speak(f"\n{held_out(held)}")
        if predicted:
            say()
            print_table(spoken(place_rows(predicted), names=(0, 1)))
        for one in measured:
            speak(f"measured: {first.said}, {one}")

    def draw() -> str:
        from danlu.laws.chain_report import html

        return html(found, held, predicted, str(file), warnings, measured)

    end("laws chain", json, tell, draw, path=report, force=force, as_json=as_json)


def _losses(through: str | None) -> list[str] | None:
    """The losses to go through, by ``--through``; all that are there where nothing was said."""
    from danlu.laws import LawError
    from danlu.laws.chain import LOSSES

    if through is None:
        return None
    named = [*LOSSES] if through == "both" else through.split(",")
    if wrong := [name for name in named if name not in LOSSES]:
        raise LawError(f"--through = {wrong[0]!r}; allowed: {', '.join(LOSSES)}, both")
    return named


def _audited(link: Any, table: Any, together: Any) -> list[Any]:
    """What the audit says of the first link, where that is a loss of size and data; else what is wrong with
    rows that belong together."""
    from danlu.laws import Warned, audit

    if link.sources != ("n", "d"):
        return [] if together.warned is None else [together.warned]
    return [Warned(one.code, f"{link.said}: {one}") for one in audit(link.fit, table, together).said]


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
