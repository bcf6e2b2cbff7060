"""``danlu laws fit``: a law through points, with its doubt."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from danlu.cli.drawn import Report, check, end
from danlu.cli.laws.columns import (
    AsJson,
    C,
    Column,
    D,
    File,
    HoldOut,
    Minimised,
    N,
    Unit,
    Where,
    minimised,
    reading,
    together,
)
from danlu.cli.laws.groups import of_groups
from danlu.cli.output import Force, print_table, say, speak, spoken
from danlu.cli.working import Working

COUNTED = (
    "data rows count from 1 below the headings, without those that are left out: data row 1 is line 2 of a "
    "CSV file"
)


def fit(
    file: File,
    law: Annotated[str, typer.Option("--law", help="The law; danlu laws show lists them.")] = "chinchilla",
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    fix: Annotated[
        str | None,
        typer.Option("--fix", help="Hold parameters: E=1.7 (a value), alpha=beta (a tie), E<=1.2 (a bound)."),
    ] = None,
    loss: Minimised = "huber:1e-3",
    hull: Annotated[
        bool, typer.Option("--hull", help="Only runs on the lower convex hull of loss against compute.")
    ] = False,
    hold_out: HoldOut = 2,
    resamples: Annotated[
        int,
        typer.Option("--resamples", min=0, max=100_000, help="Resamples of the bootstrap; 0: no intervals."),
    ] = 100,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="Draw points of one value together: a column, or none."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="COLUMN[=BASELINE]",
            help="Fit each group of rows; what it gains over a baseline.",
        ),
    ] = None,
    shared: Annotated[
        str | None, typer.Option("--shared", help="Parameters that all groups have in common: alpha,beta,E.")
    ] = None,
    report: Report = None,
    force: Force = False,
    as_json: AsJson = False,
    draws: Annotated[
        bool,
        typer.Option("--draws/--no-draws", help="The parameters of each resample in the JSON: most of it."),
    ] = True,
) -> None:
    """Fit a law, and test it on held-out sizes.

    Example: danlu laws fit runs --law chinchilla
    """
    import danlu.laws
    from danlu.laws.answer import answer
    from danlu.laws.errors import weight
    from danlu.laws.files.names import not_nats

    if not (draws or as_json):
        raise danlu.laws.LawError("--no-draws is of --json: give both, or none")
    least = minimised(loss)
    wanted, fixed = danlu.laws.restrict(danlu.laws.law(law), fix or "")
    check(report, force)
    needed = (*wanted.columns, wanted.target)
    got = danlu.laws.read(file, wanted=needed, **reading(n, d, c, column, where, unit))
    measured = got.columns[wanted.target].name if wanted.target in got.columns else ""
    if wanted.target == "loss" and not_nats(measured) == "accuracy":
        raise danlu.laws.LawError(
            f"{measured} is an accuracy by its name, but {law} is a law of loss; danlu laws chain "
            f"{shlex.quote(str(file))} "
            "goes from the loss to the accuracy"
        )
    if hull:
        got = got.take(danlu.laws.lower_hull(got.points), "lie on the lower hull of loss against compute")
    options: dict[str, Any] = {
        "loss": least, "fixed": fixed, "rungs": hold_out, "resamples": resamples, **together(got, cluster),
    }  # fmt: skip
    if group is not None:
        of_groups(wanted, got, group, shared, options, file, report, force, as_json, draws)
        return
    if shared is not None:
        raise danlu.laws.LawError(f"--shared {shared}: it needs --group COLUMN, whose groups share it")
    with Working() as working:
        working("fitting and resampling")
        found = answer(wanted, got.points, **options)
    found.warnings.extend(got.warnings)
    found.warnings.sort(key=weight)

    def tell() -> None:
        for note in got.notes:
            speak(note)
        _print_audit(found.audit, found.warnings, counted=file.is_file())
        _print_fit(found)

    def draw() -> str:
        from danlu.laws.report import html

        return html(found, str(file))

    end(
        "laws fit",
        lambda: found.json(draws) | got.json(),
        tell,
        draw,
        path=report,
        force=force,
        as_json=as_json,
    )


def _print_audit(audit: Any, warnings: list[Any], counted: bool) -> None:
    """Before the fit: what puts it in doubt, the gravest first, what was looked for in vain, which rows
    belong together, the fit with and without some; ``counted``: rows are those of a file."""
    from danlu.laws.errors import GRAVE, weight

    say()
    for one in warnings:
        if one in audit.said:
            speak(f"audit, {one.code}: {one}")
        elif weight(one) < len(GRAVE):
            speak(f"warning: {one}")
    if audit.dependence.warned is None:
        speak(f"audit: {audit.dependence.text}")
    speak(f"audit: {audit.looked}")
    if audit.group is not None:
        from danlu.laws.audit.whole import beside

        if counted:
            speak(COUNTED)
        say()
        print_table(spoken(beside(audit)))


def _print_fit(found: Any) -> None:
    from danlu.laws.errors import GRAVE, weight

    one = found.fit
    ((title,),) = spoken([(one.law.title,)])
    say(f"\n{title}, {one.law.paper}\n{one.law.formula}\n")
    rows = [("", "value", "95 % from", "to", "meaning")]
    for parameter in one.law.parameters:
        rows.append((parameter.name, *found.cells(parameter.name), found.meaning(parameter)))
    meanings = {
        "G": "N_opt = G·(C/6)^a",
        "a": "how the best size grows with compute",
        "b": "how the best data grow with compute",
    }
    rows += [(name, *_ends(ends.value, ends), meanings[name]) for name, ends in found.allocation.items()]
    print_table(spoken(rows, names=(0,)))
    speak(
        f"\n{one.points.size} points; objective {one.objective:.7g} ({one.loss}); "
        f"{one.agreeing_starts} of {one.starts} starts agree"
    )
    if (held := found.held) is not None:
        speak(
            f"held out, the {held.held.size} points of the largest {held.by}: "
            f"mean error {held.mean:.2%}, bias {held.bias:+.2%}"
        )
    for warning in found.warnings:
        if warning not in found.audit.said and weight(warning) == len(GRAVE):
            speak(f"warning: {warning}")


def _ends(value: float, ends: Any) -> tuple[str, str, str]:
    if ends is None or ends.low is None:
        return f"{value:.6g}", "", ""
    if ends.low == ends.high:
        return f"{value:.6g}", "fixed", ""
    return f"{value:.6g}", f"{ends.low:.4g}", f"{ends.high:.4g}"
