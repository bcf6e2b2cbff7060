"""The verb ``ledger``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from danlu.cli.output import print_json, print_table, print_yaml, say

if TYPE_CHECKING:
    from danlu.lab.ledger import Entry

USAGE = {
    "show": "danlu ledger show ID",
    "decide": "danlu ledger decide ID adopt --because 'holds at three sizes'",
    "due": "danlu ledger due [RUN]",
}


def ledger(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[show ID | decide ID DECISION | due [RUN]]", show_default=False),
    ] = None,
    because: Annotated[str | None, typer.Option("--because", help="The reason for a decision.")] = None,
    revisit: Annotated[
        str | None,
        typer.Option(
            "--revisit", help="When to look again: words, or a condition such as 'parameters > 10M'."
        ),
    ] = None,
    file: Annotated[Path, typer.Option("--file", help="The file of the ledger.")] = Path("ledger.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List verdicts and decisions, and what to look at again.

    Without arguments it lists all. show ID prints one entry. decide ID adopt|reject|undecided writes a
    decision with its reason. due [RUN] lists the decisions that you should look at again because of a run,
    a newer version or a later verdict.

    Examples: danlu ledger; danlu ledger due
    """
    from danlu.lab.ledger import decide, find, read
    from danlu.lab.revisit import due, now, of_run

    match words or []:
        case [] | ["list"]:
            entries = read(file)
            if as_json:
                print_json([entry.written() for entry in entries])
            else:
                _list(entries, file)
        case ["show", name]:
            _tell(find(read(file), name, file), as_json)
        case ["decide", name, decision]:
            _tell(decide(file, name, cast(Any, decision), because or "", revisit), as_json)
        case ["due", *run] if len(run) < 2:
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
        case [verb, *_]:
            raise typer.BadParameter(_usage(verb))


def _usage(verb: str) -> str:
    from danlu.spec.errors import did_you_mean

    if verb in USAGE:
        return f"it is: {USAGE[verb]}"
    hint = did_you_mean(verb, USAGE) or "."
    return f"there is no danlu ledger {verb}{hint} It is: {', '.join(USAGE.values())}"


def _list(entries: Sequence[Entry], file: Path) -> None:
    if not entries:
        say(f"no verdicts in {file} yet; danlu try and danlu prove write them")
        return
    rows = [("id", "date", "verdict", "effect", "95 %", "seeds", "decision", "look again")]
    for entry in entries:
        ends = "" if entry.interval is None else f"{entry.interval[0]:.3g} … {entry.interval[1]:.3g}"
        effect = "" if entry.effect is None else f"{entry.effect:.3g} {entry.unit or ''}".rstrip()
        decision = "" if entry.decision == "none" else f"{entry.decision}{' (weak)' if entry.weak else ''}"
        again = entry.revisit.when if entry.revisit else ""
        rows.append((entry.id, entry.date, entry.verdict, effect, ends, str(entry.seeds), decision, again))
    print_table(rows)


def _tell(entry: Entry, as_json: bool) -> None:
    from danlu.files.yaml import dump

    said: dict[str, Any] = entry.written()
    if as_json:
        print_json(said)
    else:
        print_yaml(dump(said))
