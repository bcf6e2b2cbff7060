"""``danlu laws compare``: which law predicts the largest sizes from the smaller ones."""

from __future__ import annotations

from typing import Annotated

import typer

from danlu.cli.laws.columns import AsJson, C, Column, D, File, N, Unit, Where, reading
from danlu.cli.output import print_json, print_table, say, speak, spoken


def compare(
    file: File,
    n: N = None,
    d: D = None,
    c: C = None,
    column: Column = None,
    where: Where = None,
    unit: Unit = None,
    hold_out: Annotated[
        int,
        typer.Option(
            "--hold-out", min=1, max=1000, help="Number of the largest budgets, or sizes, to predict."
        ),
    ] = 2,
    as_json: AsJson = False,
) -> None:
    """Compare how well laws of the smaller sizes predict the largest.

    Example: danlu laws compare runs
    """
    from danlu.laws import read
    from danlu.laws.answer import compare as scores_of

    got = read(file, wanted=(), **reading(n, d, c, column, where, unit))
    scores = scores_of(got.points, rungs=hold_out)
    held, by = next(((s.held, s.by) for s in scores if s.held), (0, None))
    if as_json:
        laws_ = [
            {"law": s.law.name, "target": s.law.target, "parameters": s.parameters, "mean_error": s.mean,
             "bias": s.bias, "worse": s.worse, "why": s.why}
            for s in scores
        ]  # fmt: skip
        print_json(
            "laws compare",
            {
                "hold_out": hold_out,
                "points": held,
                "by": by,
                "laws": laws_,
                "warnings": [one.json() for one in got.warnings],
            }
            | got.json(),
        )
        return
    for note in got.notes:
        speak(note)
    say()
    rows = [("law", "predicts", "parameters", "mean error", "bias", "")]
    for s in scores:
        told = ("–", "–") if s.mean is None or s.bias is None else (f"{s.mean:.2%}", f"{s.bias:+.2%}")
        against = {None: s.why, True: "clearly worse than the first", False: "may be as good as the first"}[
            s.worse
        ]
        rows.append((s.law.name, s.law.target, str(s.parameters), *told, against))
    print_table(spoken(rows, names=(0, 1)))
    if held:
        speak(
            f"held out, the {held} points of the largest {by}; "
            "clearly: by paired errors at these points, 95 %"
        )
    for warning in got.warnings:
        speak(f"warning: {warning}")
