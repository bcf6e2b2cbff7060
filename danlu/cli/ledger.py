"""The verb ``ledger``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from danlu.cli.output import inform, print_json, print_table, print_yaml, speak, spoken

if TYPE_CHECKING:
    from danlu.lab.ledger import Entry, Judgement, Match

# Columns that a narrow terminal does without, the first first.
GIVING_WAY = ("id", "95 %", "look again", "before", "updates", "seeds", "effect", "decision")
NAMES = {"no", "idea", "on", "look again", "id", "date"}  # columns of names: they stay as they are
USAGE = {
    "all": "danlu ledger all",
    "show": "danlu ledger show NUMBER",
    "decide": "danlu ledger decide NUMBER adopt --because 'holds at three sizes'",
    "due": "danlu ledger due [RUN]",
    "search": "danlu ledger search WORDS",
    "judge": "danlu ledger judge",
}


def ledger(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[all | show NUMBER | decide NUMBER DECISION | due [RUN] | search WORDS | judge]",
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

    Without arguments it lists the newest verdict on each question; all lists the older ones too. show NUMBER
    prints one entry; an id, or how it begins, is a name for it too. decide NUMBER adopt|reject|undecided
    writes a decision with its reason. due [RUN] lists the
    decisions that you should look at again because of a run, a newer version or a later verdict. search
    WORDS lists what was tried before: an idea, its fields with other values, similar words. judge says which
    verdicts stand although so much was asked, how often the smallest size decided as the largest, and how
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
            _say_if_words(revisit)
        case ["due", *run] if len(run) < 2:
            from danlu.lab.ledger.table import titles
            from danlu.lab.revisit import due, now, of_run

            facts, what = (of_run(Path(run[0])), run[0]) if run else (now(), "this installation")
            entries = read(file)
            found = due(entries, facts, what)
            if as_json:
                print_json("ledger", [{"id": one.entry.id, "reasons": list(one.reasons)} for one in found])
                return
            title = titles([one.entry for one in found], entries)
            for one in found:
                decision = "not decided" if one.entry.decision == "none" else one.entry.decision
                speak(f"{title[one.entry.id]}: {decision}{' (weak)' if one.entry.weak else ''}")
                for reason in one.reasons:
                    speak(f"  {reason}")
            if not found:
                speak("nothing is due")
        case ["search", *sought] if sought:
            from danlu.lab.trial.before import before

            entries = read(file)
            _found(before(entries, " ".join(sought), on), entries, as_json)
        case ["judge"]:
            entries = read(file)
            _judged(judge(entries), entries, as_json)
        case [verb, *_]:
            raise typer.BadParameter(_usage(verb))


def _say_if_words(revisit: str | None) -> None:
    from danlu.lab.conditions import condition

    if revisit is not None and condition(revisit) is None:
        inform("--revisit is in words, which danlu ledger due does not watch, as it does 'parameters > 10M'")


def _usage(verb: str) -> str:
    from danlu.spec.errors import did_you_mean

    if verb in USAGE:
        return f"it is: {USAGE[verb]}"
    hint = did_you_mean(verb, USAGE) or "."
    return f"there is no danlu ledger {verb}{hint} It is: {', '.join(USAGE.values())}"


def _list(entries: Sequence[Entry], file: Path, everything: bool, as_json: bool) -> None:
    from danlu.lab.ledger.table import listing, meanings

    if as_json:
        print_json("ledger", [entry.written() for entry in entries])
        return
    if not entries:
        speak(f"no verdicts in {file} yet; danlu try and danlu prove write them")
        return
    rows = listing(entries, everything)
    drop = [rows[0].index(name) for name in GIVING_WAY if name in rows[0]]
    print_table(_spoken(rows), shorten=(1, 2), drop=drop)
    if said := meanings(rows):
        inform(said)
    if older := len(entries) - len(rows) + 1:
        speak(f"{older} older on the same questions: danlu ledger all")


def _spoken(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """A table in the language of who asks."""
    names = [i for i, head in enumerate(rows[0]) if head in NAMES] if rows else []
    return spoken(rows, names)


def _tell(entry: Entry, as_json: bool) -> None:
    from danlu.files.yaml import dump

    said: dict[str, Any] = entry.written()
    if as_json:
        print_json("ledger", said)
    else:
        from danlu.draw.language import language
        from danlu.draw.phrases import words
        from danlu.lab.ledger.table import in_words

        said["statement"] = in_words(entry, language())
        if entry.regime and entry.regime.early:
            said["regime"]["early"] = [words(language())(why) for why in entry.regime.early]
        print_yaml(dump(said))


def _found(matches: Sequence[Match], entries: Sequence[Entry], as_json: bool) -> None:
    from danlu.lab.ledger.table import likeness

    if as_json:
        print_json("ledger", [{"how": match.how, **match.entry.written()} for match in matches])
        return
    if not matches:
        speak("nothing like it was tried")
        return
    print_table(_spoken(likeness(matches, entries)), shorten=(2, 3, 9), drop=(8, 7, 6))
    if any(match.entry.early for match in matches):
        inform("an early verdict says nothing of longer runs: such an idea may be tried again in regime")


def _judged(found: Judgement, entries: Sequence[Entry], as_json: bool) -> None:
    from danlu.lab.ledger.table import sections

    if as_json:
        print_json("ledger", found.json())
        return
    if not found.asked:
        speak("nothing was asked yet")
        return
    for sentence, rows in sections(found, entries):
        speak(f"\n{sentence}" if rows else sentence)
        print_table(_spoken(rows), indent="  ", shorten=(1, 2) if rows and rows[0][0] == "no" else (0,))
