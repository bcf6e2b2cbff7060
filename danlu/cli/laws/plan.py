"""``danlu laws plan``: what a budget buys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.laws.columns import AsJson
from danlu.cli.output import print_json, print_table, rounded, say


def plan(
    flops: Annotated[float | None, typer.Option("--flops", help="Training budget in FLOP: 1e22.")] = None,
    tokens: Annotated[float | None, typer.Option("--tokens", help="Tokens to train on: 3e11.")] = None,
    parameters: Annotated[
        float | None, typer.Option("--parameters", help="Parameters of the model: 7e9.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="A published fit of Chinchilla's law, or the JSON file of a fit.")
    ] = "besiroglu",
    unique_tokens: Annotated[
        float | None,
        typer.Option("--unique-tokens", help="Tokens that there are; more are read by repeating them."),
    ] = None,
    utilisation: Annotated[
        float, typer.Option("--utilisation", help="Share of the GPU's FLOP/s that is reached.")
    ] = 0.4,
    flops_per_second: Annotated[float, typer.Option("--flops-per-second", help="FLOP/s of one GPU.")] = 1e15,
    price: Annotated[float | None, typer.Option("--price", help="Price of a GPU hour.")] = None,
    as_json: AsJson = False,
) -> None:
    """Plan a budget: size, data, batch, rate, GPU hours and money.

    Example: danlu laws plan --flops 1e22 --price 2
    """
    from danlu.laws.errors import LawError
    from danlu.laws.formulas.chinchilla import CHINCHILLA
    from danlu.laws.plan import plan as lines_of
    from danlu.laws.saved import load

    draws, source = None, by
    if by.endswith(".json"):
        fitted = load(Path(by))
        if fitted.law is not CHINCHILLA:
            raise LawError(f"{by} is a fit of {fitted.law.name}, but a plan needs chinchilla")
        theta, draws = fitted.theta, fitted.sample()
    else:
        theta, source = CHINCHILLA.theta(by), CHINCHILLA.published[by].source
    lines = lines_of(
        theta, flops=flops, tokens=tokens, parameters=parameters, draws=draws, source=by,
        unique_tokens=unique_tokens, utilisation=utilisation, flops_per_second=flops_per_second, price=price,
    )  # fmt: skip
    warnings = [] if draws is not None else [f"no intervals: {by} has neither a covariance nor draws"]
    if as_json:
        named = CHINCHILLA.named(theta)
        told = [line._asdict() for line in lines]
        print_json(
            {"law": "chinchilla", "by": source, "parameters": named, "plan": told, "warnings": warnings}
        )
        return
    say(f"{CHINCHILLA.formula}, {source}\n")
    rows: list[tuple[str, ...]] = [("", "value", "95 % from", "to", "by")]
    for line in lines:
        whole = line.unit == "" or line.unit == "tokens"
        cells = ["" if v is None else _number(v, whole) for v in (line.value, line.low, line.high)]
        rows.append((f"{line.name}{', ' + line.unit if line.unit else ''}", *cells, line.source))
    print_table(rows)
    for warning in warnings:
        say(f"warning: {warning}")


def _number(value: float, suffix: bool) -> str:
    return rounded(value) if suffix and 1e3 <= value < 1e15 else f"{value:.4g}"
