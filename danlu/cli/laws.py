"""The verbs of ``danlu laws``: fit a scaling law, show one, compare them, plan by one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import Force, print_json, print_table, rounded, say

laws = typer.Typer(name="laws", rich_markup_mode=None)


@laws.callback(invoke_without_command=True)
def _laws(context: typer.Context) -> None:
    """Fit scaling laws, compare them, and plan by them.

    Points come from a CSV, JSONL or Parquet file, a run's folder or a folder of runs.
    """
    if context.invoked_subcommand is None:
        say(context.get_help())


File = Annotated[
    Path, typer.Argument(help="A CSV, JSONL or Parquet file, a run's folder or a folder of runs.")
]
N = Annotated[str | None, typer.Option("--n", metavar="COLUMN", help="The column of parameters.")]
D = Annotated[str | None, typer.Option("--d", metavar="COLUMN", help="The column of tokens.")]
C = Annotated[str | None, typer.Option("--c", metavar="COLUMN", help="The column of training FLOP.")]
LossColumn = Annotated[str | None, typer.Option("--loss", metavar="COLUMN", help="The column of the loss.")]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="Any other column: x=examples, lr=rate."),
]
HoldOut = Annotated[
    int,
    typer.Option(
        "--hold-out", min=0, max=1000, help="Number of the largest sizes to predict instead of fitting."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@laws.command()
def fit(
    file: File,
    law: Annotated[str, typer.Option("--law", help="The law; danlu laws show lists them.")] = "chinchilla",
    n: N = None,
    d: D = None,
    c: C = None,
    loss: LossColumn = None,
    column: Column = None,
    hold_out: HoldOut = 2,
    resamples: Annotated[
        int,
        typer.Option("--resamples", min=0, max=100_000, help="Resamples of the bootstrap; 0: no intervals."),
    ] = 100,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Draw points in groups, by this column: n, run_name.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write a page with drawings.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fit a law, and test it on held-out sizes.

    Example: danlu laws fit runs --law chinchilla
    """
    import danlu.laws
    from danlu.files.overwrite import check_output, write_output
    from danlu.laws.answer import answer
    from danlu.laws.read import read

    wanted = danlu.laws.law(law)
    if report is not None:
        check_output(report, force)
    got = read(file, _chosen(n, d, c, loss, column), (*wanted.columns, wanted.target))
    groups = None if cluster is None else got.labels(cluster)
    found = answer(wanted, got.points, rungs=hold_out, resamples=resamples, cluster=groups)
    found.warnings[:0] = got.warnings
    if report is not None:
        from danlu.laws.report import html

        write_output(report, html(found, str(file)), force)
    if as_json:
        print_json(found.json() | {"columns": got.notes})
        return
    for note in got.notes:
        say(note)
    _print_fit(found)
    if report is not None:
        say(f"drawn in {report}")


def _print_fit(found: Any) -> None:
    one = found.fit
    say(f"\n{one.law.title}, {one.law.paper}\n{one.law.formula}\n")
    rows = [("", "value", "95 % from", "to", "meaning")]
    for parameter in one.law.parameters:
        ends = found.intervals.get(parameter.name)
        unit = f", {parameter.unit}" if parameter.unit else ""
        rows.append((parameter.name, *_ends(one.theta[parameter.name], ends), f"{parameter.meaning}{unit}"))
    meanings = {
        "G": "N_opt = G·(C/6)^a",
        "a": "how the best size grows with compute",
        "b": "how the best data grow with compute",
    }
    rows += [(name, *_ends(ends.value, ends), meanings[name]) for name, ends in found.allocation.items()]
    print_table(rows)
    say(
        f"\n{one.points.size} points; objective {one.objective:.7g} ({one.loss}); "
        f"{one.agreeing_starts} of {one.starts} starts agree"
    )
    if (held := found.held) is not None:
        say(
            f"held out, the {held.held.size} points of the largest {held.by}: "
            f"mean error {held.mean:.2%}, bias {held.bias:+.2%}"
        )
    for warning in found.warnings:
        say(f"warning: {warning}")


@laws.command()
def show(
    name: Annotated[str | None, typer.Argument(help="A law. Default: list all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the laws, or one with its formula, paper and constants.

    Examples: danlu laws show; danlu laws show chinchilla
    """
    from danlu.laws import LAWS, law

    if name is None:
        if as_json:
            print_json([_about(one) for one in LAWS.values()])
            return
        rows = [("name", "predicts", "from", "paper")]
        for one in LAWS.values():
            rows.append((one.name, one.target, ", ".join(one.columns), one.paper))
        print_table(rows)
        return
    one = law(name)
    if as_json:
        print_json(_about(one))
        return
    say(f"{one.title}\n{one.formula}\n{one.text}\n{one.paper}\n")
    print_table([(p.name, f"{p.meaning}{', ' + p.unit if p.unit else ''}") for p in one.parameters])
    for label, given in one.published.items():
        values = ", ".join(f"{p} {v:.7g}" for p, v in zip(one.names, given.values, strict=True))
        say(f"\n{label}: {values}\n  {given.source}")


@laws.command()
def compare(
    file: File,
    n: N = None,
    d: D = None,
    c: C = None,
    loss: LossColumn = None,
    column: Column = None,
    hold_out: Annotated[
        int, typer.Option("--hold-out", min=1, max=1000, help="Number of the largest sizes to predict.")
    ] = 2,
    as_json: AsJson = False,
) -> None:
    """Compare how well laws of the smaller sizes predict the largest.

    Example: danlu laws compare runs
    """
    from danlu.laws.answer import compare as scores_of
    from danlu.laws.read import read

    chosen = _chosen(n, d, c, loss, column)
    got = read(file, chosen, tuple(dict.fromkeys(("n", "d", "loss", *chosen))))
    scores = scores_of(got.points, rungs=hold_out)
    if as_json:
        laws_ = [
            {"law": s.law.name, "target": s.law.target, "parameters": s.parameters, "mean_error": s.mean,
             "bias": s.bias, "why": s.why}
            for s in scores
        ]  # fmt: skip
        print_json({"hold_out": hold_out, "laws": laws_, "columns": got.notes, "warnings": got.warnings})
        return
    for note in got.notes:
        say(note)
    say()
    rows = [("law", "predicts", "parameters", "mean error", "bias", "")]
    for s in scores:
        told = ("–", "–") if s.mean is None or s.bias is None else (f"{s.mean:.2%}", f"{s.bias:+.2%}")
        rows.append((s.law.name, s.law.target, str(s.parameters), *told, s.why))
    print_table(rows)
    for warning in got.warnings:
        say(f"warning: {warning}")


@laws.command()
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
    from danlu.laws.answer import from_json
    from danlu.laws.chinchilla import CHINCHILLA
    from danlu.laws.errors import LawError
    from danlu.laws.plan import plan as lines_of

    draws, source = None, by
    if by.endswith(".json"):
        law, theta, draws = from_json(Path(by))
        if law is not CHINCHILLA:
            raise LawError(f"{by} is a fit of {law.name}, but a plan needs chinchilla")
    else:
        theta, source = CHINCHILLA.theta(by), CHINCHILLA.published[by].source
    lines = lines_of(
        theta, flops=flops, tokens=tokens, parameters=parameters, draws=draws, source=by,
        unique_tokens=unique_tokens, utilisation=utilisation, flops_per_second=flops_per_second, price=price,
    )  # fmt: skip
    warnings = [] if draws is not None else [f"no intervals: {by} has no resamples"]
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


def _chosen(
    n: str | None, d: str | None, c: str | None, loss: str | None, column: list[str] | None
) -> dict[str, str]:
    from danlu.laws import COLUMNS, LawError

    chosen = {name: value for name, value in (("n", n), ("d", d), ("c", c), ("loss", loss)) if value}
    for said in column or []:
        ours, equals, theirs = said.partition("=")
        if not equals or ours not in COLUMNS:
            raise LawError(f"--column {said}: it is OURS=THEIRS, OURS one of {', '.join(COLUMNS)}")
        chosen[ours] = theirs
    return chosen


def _about(one: Any) -> dict[str, Any]:
    return {
        "law": one.name,
        "title": one.title,
        "formula": one.formula,
        "text": one.text,
        "paper": one.paper,
        "columns": list(one.columns),
        "target": one.target,
        "parameters": [{"name": p.name, "meaning": p.meaning, "unit": p.unit} for p in one.parameters],
        "published": {
            label: {"values": dict(zip(one.names, given.values, strict=True)), "source": given.source}
            for label, given in one.published.items()
        },
    }


def _ends(value: float, ends: Any) -> tuple[str, str, str]:
    if ends is None or ends.low is None:
        return f"{value:.6g}", "", ""
    return f"{value:.6g}", f"{ends.low:.4g}", f"{ends.high:.4g}"


def _number(value: float, suffix: bool) -> str:
    return rounded(value) if suffix and 1e3 <= value < 1e15 else f"{value:.4g}"
