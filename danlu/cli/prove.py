"""The verb ``prove``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danlu.cli.output import Force, print_json, print_table, say, tell
from danlu.cli.show import AsJson

if TYPE_CHECKING:
    from danlu.lab.claims.book import Claim
    from danlu.lab.claims.proof import Result


def prove(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CLAIM]...", help="Names of claims, or YAML files.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Test all claims of the book.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the claims; run nothing.")] = False,
    studies: Annotated[
        Path, typer.Option(help="The folder of all studies. Runs that are there are not made again.")
    ] = Path("studies"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time. Default: one per core.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of seeds. A result of fewer than the claim asks for is shown, but not kept."
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all kept results to a Markdown page.")
    ] = None,
    force: Force = False,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verdicts to this ledger.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Test a claim of the field by experiments.

    Examples: danlu prove --list; danlu prove qk-norm-widens-the-range
    """
    from danlu.lab.claims import book
    from danlu.lab.errors import LabError

    if names and everything:
        raise LabError("name claims or say --all, not both")
    if not (names or everything or listing or write):
        raise LabError("name a claim, or say --all; `danlu prove --list` shows the book")
    chosen = book.claims(names or None)
    if listing:
        _list(chosen, as_json)
        return 0
    if write is not None:
        from danlu.files.overwrite import check_output

        check_output(write, force)
    results = _prove(chosen, studies, workers, seeds, ledger, as_json) if names or everything else []
    if write is not None:
        _write(write, studies, force)
    return int(any(result.failed for result in results))


def _prove(
    chosen: dict[str, Claim],
    studies: Path,
    workers: int | None,
    seeds: int | None,
    ledger: Path | None,
    as_json: bool,
) -> list[Result]:
    from dataclasses import asdict

    from danlu.files.json import to_json
    from danlu.lab.claims.proof import prove, save
    from danlu.lab.queue import Queue

    width = max(map(len, chosen))
    if not as_json:
        say(f"{'claim':{width}}  {'verdict':13}  {'effect [95 %]':28}  unit")
    results = []
    with Queue(studies, workers=workers) as queue:
        for result in prove(chosen, queue, seeds):
            claim = chosen[result.name]
            if result.seeds >= claim.seeds:
                save(studies, result)
            if ledger is not None:
                _record(ledger, claim, result, studies)
            results.append(result)
            if not as_json:
                _tell(result, width)
    if as_json:
        say(to_json([asdict(result) for result in results], indent=2))
    else:
        seconds = sum(result.seconds for result in results)
        tell(f"{seconds:.0f} s of active time, each run on one core")
    return results


def _tell(result: Result, width: int) -> None:
    from danlu.lab.claims.page import effect

    say(f"{result.name:{width}}  {result.verdict:13}  {effect(result):28}  {result.claim['unit']}")
    for sentence in result.failed:
        tell(f"danlu: {result.name}: {sentence}")


def _record(ledger: Path, claim: Claim, result: Result, studies: Path) -> None:
    from danlu.lab.claims.proof import FOLDER, NOT_RUN
    from danlu.lab.ledger import record

    if result.verdict != NOT_RUN:
        record(
            verdict=result.verdict,
            statement=claim.statement,
            seeds=result.seeds,
            claim=result.name,
            on=claim.on,
            effect=result.effect[0],
            interval=result.effect[1:],
            unit=claim.unit,
            evidence=[studies / FOLDER / f"{result.name}.json"],
            code=result.code,
            file=ledger,
        )


def _list(chosen: dict[str, Claim], as_json: bool) -> None:
    if as_json:
        print_json([{"name": name, **claim.model_dump(mode="json")} for name, claim in chosen.items()])
    else:
        print_table([(name, " ".join(claim.rows), claim.statement) for name, claim in chosen.items()])


def _write(file: Path, studies: Path, force: bool) -> None:
    from danlu.files.overwrite import write_output
    from danlu.lab.claims import book
    from danlu.lab.claims.page import page
    from danlu.lab.claims.proof import saved

    write_output(file, page(book.claims(), saved(studies)), force)
    tell(f"wrote {file}")
