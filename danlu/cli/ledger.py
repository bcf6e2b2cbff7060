"""The verb ``ledger``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from danlu.cli.output import print_json, print_table, print_yaml, say, tell

if TYPE_CHECKING:
    from danlu.lab.ledger import Entry, Judgement, Match

GIVING_WAY = ("date", "95 %", "look again")  # columns that a narrow terminal does without
USAGE = {
    "all": "danlu ledger all",
    "show": "danlu ledger show ID",
    "decide": "danlu ledger decide ID adopt --because 'holds at three sizes'",
    "due": "danlu ledger due [RUN]",
    "search": "danlu ledger search WORDS",
    "judge": "danlu ledger judge",
}


def ledger(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[all | show ID | decide ID DECISION | due [RUN] | search WORDS | judge]",
            show_default=False,
        ),
    ] = None,
    because: Annotated[str | None, typer.Option("--because", help="The reason for a decision.")] = None,
    revisit: Annotated[
        str | None,
        typer.Option(
            "--revisit", help="When to look again: words, or a condition such as 'parameters > 10M'."
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="The baseline of an idea that you search for, as in danlu try."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="The file of the ledger. Default: ledger.yaml, here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List verdicts and decisions, and what to look at again.

    Without arguments it lists the newest verdict on each question; all lists the older ones too. show ID
    prints one entry. decide ID adopt|reject|undecided writes a decision with its reason. due [RUN] lists the
    decisions that you should look at again because of a run, a newer version or a later verdict. search
    WORDS lists what was tried before: an idea, its fields with other values, similar words. judge says which
    verdicts stand although so much was asked, how often the bottom rung decided as the top rung, and how
    many ideas worked.

    Examples: danlu ledger; danlu ledger search qk-norm; danlu ledger due
    """
    from danlu.lab.ledger import decide, find, judge, named, read

    file = named(file)
    match words or []:
        case [] | ["list"] | ["all"] as asked:
            _list(read(file), file, asked == ["all"], as_json)
        case ["show", name]:
            _tell(find(read(file), name, file), as_json)
        case ["decide", name, decision]:
            _tell(decide(file, name, cast(Any, decision), because or "", revisit), as_json)
        case ["due", *run] if len(run) < 2:
            from danlu.lab.revisit import due, now, of_run

            facts, what = (of_run(Path(run[0])), run[0]) if run else (now(), "this installation")
            found = due(read(file), facts, what)
            if as_json:
                print_json([{"id": one.entry.id, "reasons": list(one.reasons)} for one in found])
                return
            for one in found:
                decision = "not decided" if one.entry.decision == "none" else one.entry.decision
                say(f"{one.entry.id}: {decision}{' (weak)' if one.entry.weak else ''}")
                for reason in one.reasons:
                    say(f"  {reason}")
            if not found:
                say("nothing is due")
        case ["search", *sought] if sought:
            from danlu.lab.trial.before import before

            _found(before(read(file), " ".join(sought), on), as_json)
        case ["judge"]:
            _judged(judge(read(file)), as_json)
        case [verb, *_]:
            raise typer.BadParameter(_usage(verb))


def _usage(verb: str) -> str:
    from danlu.spec.errors import did_you_mean

    if verb in USAGE:
        return f"it is: {USAGE[verb]}"
    hint = did_you_mean(verb, USAGE) or "."
    return f"there is no danlu ledger {verb}{hint} It is: {', '.join(USAGE.values())}"


def _list(entries: Sequence[Entry], file: Path, everything: bool, as_json: bool) -> None:
    from danlu.lab.ledger.table import listing

    if as_json:
        print_json([entry.written() for entry in entries])
        return
    if not entries:
        say(f"no verdicts in {file} yet; danlu try and danlu prove write them")
        return
    rows = listing(entries, everything)
    drop = [place for place, name in enumerate(rows[0]) if name in GIVING_WAY]
    print_table(rows, shorten=(0,), drop=drop)
    if older := len(entries) - len(rows) + 1:
        say(f"{older} older on the same questions: danlu ledger all")


def _tell(entry: Entry, as_json: bool) -> None:
    from danlu.files.yaml import dump

    said: dict[str, Any] = entry.written()
    if as_json:
        print_json(said)
    else:
        print_yaml(dump(said))


def _found(matches: Sequence[Match], as_json: bool) -> None:
    from danlu.lab.ledger.table import likeness

    if as_json:
        print_json([{"how": match.how, **match.entry.written()} for match in matches])
        return
    if not matches:
        say("nothing like it was tried")
        return
    print_table(likeness(matches), shorten=(1, 6), drop=(2,))
    if any(match.entry.early for match in matches):
        tell("an early verdict says nothing of longer runs: such an idea may be tried again in regime")


def _judged(found: Judgement, as_json: bool) -> None:
    from danlu.lab.ledger.table import sections

    if as_json:
        print_json(found.json())
        return
    if not found.asked:
        say("nothing was asked yet")
        return
    for sentence, rows in sections(found):
        say(f"\n{sentence}" if rows else sentence)
        print_table(rows, indent="  ", shorten=(0,))
