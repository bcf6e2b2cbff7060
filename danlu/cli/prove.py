"""The verb ``prove``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danlu.cli import completion
from danlu.cli.columns import padded
from danlu.cli.dry_run import DryRun
from danlu.cli.dry_run import show as show_forecast
from danlu.cli.options import Studies, Workers
from danlu.cli.output import Force, inform, print_json, print_table, say, signed, spoken
from danlu.cli.show import AsJson

if TYPE_CHECKING:
    from danlu.lab.claims.claim import Claim
    from danlu.lab.claims.results import Result

BESIDE = {  # what may stand beside a verdict
    "early": "the runs are too short, or not tuned, to say anything of longer ones",
    "weak": "the effect lies where the claim says, but it is not sure that it is as large as would matter "
    "(severity below .8)",
}


def prove(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLAIM]...",
            help="Names of claims, or YAML files.",
            show_default=False,
            autocompletion=completion.claims,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="All claims of the book: tell the kept verdicts, test what has none and fits here."
        ),
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the claims; run nothing.")] = False,
    studies: Studies = Path("studies"),
    workers: Workers = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of seeds. A result of fewer than the claim asks for is shown, but not kept, nor "
            "written to a ledger.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Keep results here, too, one file a claim, and read those there."
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all kept results to a Markdown page.")
    ] = None,
    force: Force = False,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verdicts to this ledger.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Test a claim of the field by experiments.

    Examples: danlu prove --list; danlu prove windows-cost-little
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
    if dry_run:
        _would_prove(chosen, everything, studies, results, workers, seeds, as_json)
        return 0
    if write is not None:
        from danlu.files.overwrite import check_output

        check_output(write, force)
    found: list[Result] = []
    if names or everything:
        found = _prove(chosen, everything, studies, results, workers, seeds, ledger, as_json)
    if write is not None:
        _write(write, studies, results, force)
    return int(any(result.failed for result in found))


def _prove(
    chosen: dict[str, Claim],
    everything: bool,
    studies: Path,
    folder: Path | None,
    workers: int | None,
    seeds: int | None,
    ledger: Path | None,
    as_json: bool,
) -> list[Result]:
    from dataclasses import asdict

    from danlu.files.json import to_json
    from danlu.lab.claims import book, needs, proof
    from danlu.lab.claims.results import NOT_RUN, save
    from danlu.lab.errors import LabError
    from danlu.lab.queue import Queue

    if ledger is not None:
        from danlu.lab.ledger import check

        check(ledger)
    folders = _folders(studies, folder)
    known = _kept(book.with_bases(chosen), folders, ledger)
    wanted = needs.due(chosen, known) if everything else chosen
    for name, claim in wanted.items():
        if said := needs.lacking(name, claim):
            raise LabError(said)
        was = known.get(name)
        if said := needs.edited(claim, was):
            inform(f"danlu: {said}")
        elif was is not None and was.verdict != NOT_RUN:
            inform(f"danlu: {name}: {was.said} by {was.runs} runs of {was.date}; now it is tested again")
    width = max(map(len, chosen))
    found = [known[name] for name in chosen if name not in wanted and name in known]
    with Queue(studies, workers=workers) as queue:
        results = proof.prove(wanted, queue, seeds, known)  # what cannot be run is refused here
        if not as_json:
            _row(("claim", "verdict", "effect [95 %]", "unit"), width)
        for result in found:
            _tell(result, chosen, width, as_json)
        for result in results:
            claim = chosen[result.name]
            if result.seeds >= claim.seeds:
                for place in folders:
                    save(place, result)
                if ledger is not None:
                    _record(ledger, claim, result, folders[0])
            found.append(result)
            _tell(result, chosen, width, as_json)
    if as_json:
        say(to_json(signed("prove", [asdict(result) for result in found]), indent=2))
    else:
        for word, meaning in BESIDE.items():
            if any(word in result.said.partition("(")[2] for result in found):
                inform(f"{word}: {meaning}")
        seconds = sum(result.seconds for result in found if result.name in wanted)
        inform(f"{seconds:.0f} s of active time, each run on one core")
    return found


def _would_prove(
    chosen: dict[str, Claim],
    everything: bool,
    studies: Path,
    folder: Path | None,
    workers: int | None,
    seeds: int | None,
    as_json: bool,
) -> None:
    from danlu.draw.language import language
    from danlu.lab.claims import book, needs
    from danlu.lab.claims.forecast import forecast
    from danlu.lab.claims.results import kept
    from danlu.lab.errors import LabError
    from danlu.spec.translated import statement

    if everything:
        chosen = needs.due(chosen, kept(book.with_bases(chosen), *_folders(studies, folder)))
        if not chosen:
            raise LabError("every claim of the book that fits here has its verdict; nothing would run")
    for name, claim in chosen.items():
        if said := needs.lacking(name, claim):
            inform(f"danlu: {said}")
    asks = None
    if len(chosen) == 1:
        ((name, claim),) = chosen.items()
        asks = statement("claims", name, claim.statement, language())
    show_forecast(forecast(chosen, seeds), workers, as_json, asks)


def _folders(studies: Path, folder: Path | None) -> list[Path]:
    """Where results are kept: with the studies, and in ``folder``."""
    from danlu.lab.claims.results import FOLDER

    return [studies / FOLDER, *([folder] if folder else [])]


def _kept(claims: dict[str, Claim], folders: list[Path], ledger: Path | None = None) -> dict[str, Result]:
    """The kept results, judged by the code that is here; one that comes out otherwise is kept anew."""
    from danlu.lab.claims.again import again
    from danlu.lab.claims.results import kept, save

    known = kept(claims, *folders)
    for name, was in known.items():
        known[name] = now = again(claims[name], was)
        if now is was:
            continue
        inform(f"danlu: {name}: judged again by the code that is here: {now.said}; it was {was.said}")
        for place in folders:
            save(place, now)
        if ledger is not None:
            _record(ledger, claims[name], now, folders[0])
    return known


def _tell(result: Result, chosen: dict[str, Claim], width: int, as_json: bool) -> None:
    from danlu.lab.claims.page import effect

    if not as_json:
        _row((result.name, result.said, effect(result), chosen[result.name].unit), width)
        for sentence in result.why:
            inform(f"danlu: {result.name}: {sentence}")


def _row(row: Sequence[str], width: int) -> None:
    """A line of the table, which grows while claims are proved; ``width``: of the names."""
    ((name, *cells),) = spoken([row])
    say("  ".join(map(padded, (name, *cells), (width, 21, 28, 0))))


def _record(ledger: Path, claim: Claim, result: Result, folder: Path) -> None:
    from danlu.lab.claims.verdict import against_the_bound
    from danlu.lab.ledger import record

    if result.verdict == "not run":
        return
    record(
        verdict=result.verdict,
        statement=claim.statement,
        seeds=result.seeds,
        claim=result.name,
        on=claim.on,
        effect=result.effect[0],
        interval=result.effect[1:],
        unit=claim.unit,
        e=against_the_bound(claim.holds, result.effects, result.margin or 0.0),
        regime=result.regime or None,
        why="; ".join(result.why) or None,
        evidence=[folder / f"{result.name}.json"],
        code=result.code,
        file=ledger,
    )


def _list(chosen: dict[str, Claim], as_json: bool) -> None:
    from danlu.draw.language import language
    from danlu.spec.translated import chinese, statement

    if as_json:
        print_json(
            "prove",
            [
                {
                    "name": name,
                    "statement_zh": chinese("claims", name, claim.statement),
                    **claim.model_dump(mode="json"),
                }
                for name, claim in chosen.items()
            ],
        )
    else:
        lang = language()
        print_table(
            [
                (name, " ".join(claim.rows), statement("claims", name, claim.statement, lang))
                for name, claim in chosen.items()
            ]
        )
        inform("A, O, S: rows of architecture, optimisation, scale; what came out: docs/claims.md")


def _write(file: Path, studies: Path, folder: Path | None, force: bool) -> None:
    from danlu.draw.language import language
    from danlu.files.overwrite import write_output
    from danlu.lab.claims import book
    from danlu.lab.claims.page import page

    claims = book.claims()
    known = _kept(claims, _folders(studies, folder))
    write_output(file, page(claims, known, language()), force)
    inform(f"wrote {file}")
