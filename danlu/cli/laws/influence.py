"""``danlu laws influence``: which rows and which clusters a fit hangs on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.laws.columns import (
    AsJson,
    C,
    Column,
    D,
    Far,
    File,
    Minimised,
    N,
    Unit,
    Where,
    belonging,
    floats,
    minimised,
    reading,
)
from danlu.cli.output import print_json, print_table, say, speak, spoken
from danlu.cli.working import Working


def influence(
    file: File,
    law: Annotated[str, typer.Option("--law", help="The law; danlu laws show lists them.")] = "chinchilla",
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    loss: Minimised = "huber:1e-3",
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Leave out groups by this column. Default: equal sizes.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="FLOP,…", help="Budgets to decide: 1e21,1e23. Default: by the points."
        ),
    ] = None,
    far: Far = False,
    most: Annotated[
        int, typer.Option("--most", min=1, max=100_000, help="Number of rows and of clusters to list.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what a fit says without each row and each cluster.

    Example: danlu laws influence points.csv --cluster run_name --most 5
    """
    import danlu.laws
    from danlu.laws import influence as measured
    from danlu.laws.audit.groups import group
    from danlu.laws.beyond import beyond
    from danlu.laws.influence import EXACT

    least = minimised(loss)
    wanted, asked = danlu.laws.law(law), floats("--budget", budget)
    needed = (*wanted.columns, wanted.target)
    got = danlu.laws.read(file, wanted=needed, **reading(n, d, c, column, where, unit))
    together = belonging(got, cluster, len(wanted.parameters))
    reach = []
    if asked and "c" in (whole := got.points.with_compute()):
        ends = {"c": (float(whole["c"].min()), float(whole["c"].max()))}
        reach = beyond(danlu.laws.Points(c=asked), ends, None, far)[1]
    with Working() as working:
        working("fitting without each row")
        fitted = danlu.laws.fit(wanted, got.points, loss=least)
        off = group(fitted, together.labels)
        found = measured(
            fitted,
            by=None if together.labels is None else together.labels.astype(float),
            by_name=together.cluster or "",
            groups=[] if off is None else [("the group that is off", off.rows)],
            most=max(most, EXACT),
            flops=asked or None,
        )
    warnings = [*got.warnings, *fitted.warnings, *reach]
    parts = {"rows": found.rows[:most], "clusters": found.clusters[:most], "groups": found.groups}
    if as_json:
        print_json("laws influence", {
            "law": wanted.name,
            "points": got.points.size,
            "parameters": dict(zip(wanted.keys, fitted.vector.tolist(), strict=True)),
            "decision": _decided(found, found.decision),
            "by": found.by,
            **{name: [_left(found, one) for one in part] for name, part in parts.items()},
            "warnings": [one.json() for one in warnings],
        } | got.json())  # fmt: skip
        return
    for note in got.notes:
        speak(note)
    say()
    heads = ("", "leverage", "residual, in s", "moves by, in errors", *found.names, *wanted.names)
    rows: list[tuple[str, ...]] = [heads]
    rows.append(("all rows", "", "", "", *_numbers(found.decision), *_numbers(fitted.vector)))
    for part in parts.values():
        for one in part:
            count = f" ({len(one.rows)} rows)" if len(one.rows) > 1 else ""
            rows.append((
                f"without {one.what}{count}",
                f"{one.leverage:.3g}", f"{one.standardised:+.1f}", f"{one.shift:.2f}",
                *_numbers(one.decision), *_numbers(one.theta),
            ))  # fmt: skip
    print_table(spoken(rows))
    for warning in warnings:
        speak(f"warning: {warning}")


def _numbers(values: Any) -> list[str]:
    return [f"{value:.4g}" for value in values]


def _decided(found: Any, values: Any) -> dict[str, Any]:
    from danlu.files.json import finite

    told: dict[str, Any] = finite(dict(zip(found.names, map(float, values), strict=True)))
    return told


def _left(found: Any, one: Any) -> dict[str, Any]:
    from danlu.files.json import finite

    told: dict[str, Any] = finite({
        "what": one.what,
        "rows": [int(row) + 1 for row in one.rows],
        "leverage": one.leverage,
        "standardised": one.standardised,
        "shift": one.shift,
        "decision": _decided(found, one.decision),
        "parameters": dict(zip(found.fit.law.keys, one.theta.tolist(), strict=True)),
    })  # fmt: skip
    return told
