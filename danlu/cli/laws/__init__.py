"""The verbs of ``danlu laws``, a file each."""

from __future__ import annotations

import typer

from danlu.cli.laws.approaches import envelope, isoflop
from danlu.cli.laws.chain import chain
from danlu.cli.laws.compare import compare
from danlu.cli.laws.design import design
from danlu.cli.laws.fit import fit
from danlu.cli.laws.influence import influence
from danlu.cli.laws.plan import plan
from danlu.cli.laws.predict import predict
from danlu.cli.laws.show import show
from danlu.cli.output import say

laws = typer.Typer(name="laws", rich_markup_mode=None)


@laws.callback(invoke_without_command=True)
def _laws(context: typer.Context) -> None:
    """Fit scaling laws, compare them, and plan by them.

    Points come from a table (CSV, JSON, JSONL, Parquet), a run, or a folder of runs.
    """
    if context.invoked_subcommand is None:
        say(context.get_help())


for verb in (fit, predict, show, compare, isoflop, envelope, chain, influence, design, plan):
    laws.command()(verb)
