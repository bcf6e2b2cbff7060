"""The verb ``ledger``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from danlu.cli.output import print_json, print_table, print_yaml, say, tell

if TYPE_CHECKING:
    from danlu.lab.ledger import Entry, Judgement, Match
    from danlu.lab.ledger.entry import Gain
    from danlu.lab.ledger.judgement import Share

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
        str, typer.Option(metavar="WORDS", help="The baseline of an idea that you search for.")
    ] = "nano",
    file: Annotated[Path, typer.Option("--file", help="The file of the ledger.")] = Path("ledger.yaml"),
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
    from danlu.lab.ledger import decide, find, judge, read

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
            _found(_search(read(file), " ".join(sought), on), as_json)
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
    from danlu.lab.ledger.book import current
    from danlu.lab.ledger.judgement import control

    if as_json:
        print_json([entry.written() for entry in entries])
        return
    if not entries:
        say(f"no verdicts in {file} yet; danlu try and danlu prove write them")
        return
    shown = entries if everything else current(entries)
    stands, said = control(entries), {entry.id: entry.said for entry in entries}
    rows = [
        ("id", "date", "verdict", "before", "effect", "95 %", "seeds", "control", "decision", "look again")
    ]
    for entry in shown:
        before = ", ".join(said[name] for name in entry.supersedes if name in said)
        ends = "" if entry.interval is None else f"{entry.interval[0]:.3g} … {entry.interval[1]:.3g}"
        decision = "" if entry.decision == "none" else f"{entry.decision}{' (weak)' if entry.weak else ''}"
        again = entry.revisit.when if entry.revisit else ""
        rows.append(
            (
                entry.id, entry.date, entry.said, before, _effect(entry), ends, str(entry.seeds),
                stands.get(entry.id, ""), decision, again,
            )
        )  # fmt: skip
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    drop = [place for place, (name, *_) in enumerate(columns) if name in GIVING_WAY]
    print_table(list(zip(*columns, strict=True)), shorten=(0,), drop=drop)
    if older := len(entries) - len(shown):
        say(f"{older} older on the same questions: danlu ledger all")


def _effect(entry: Entry) -> str:
    return "" if entry.effect is None else f"{entry.effect:.3g} {entry.unit or ''}".rstrip()


def _tell(entry: Entry, as_json: bool) -> None:
    from danlu.files.yaml import dump

    said: dict[str, Any] = entry.written()
    if as_json:
        print_json(said)
    else:
        print_yaml(dump(said))


def _search(entries: Sequence[Entry], words: str, on: str) -> list[Match]:
    """Words that are an idea are sought as the fields that it sets, too."""
    from danlu.files.errors import DanluError
    from danlu.lab.ledger import about, search
    from danlu.lab.trial.arms import read_sides

    try:
        baseline, variants = read_sides(on, [words])
    except DanluError:
        return search(entries, words, on=on)
    ((idea, variant),) = variants.items()
    return search(entries, words, on=on, sets=about(idea.words, baseline, variant)["sets"])


def _found(matches: Sequence[Match], as_json: bool) -> None:
    if as_json:
        print_json([{"how": match.how, **match.entry.written()} for match in matches])
        return
    if not matches:
        say("nothing like it was tried")
        return
    rows = [("found by", "id", "date", "verdict", "effect", "seeds", "regime")]
    for match in matches:
        entry = match.entry
        regime = str(entry.regime or "not known") if entry.answered else ""
        rows.append((match.how, entry.id, entry.date, entry.said, _effect(entry), str(entry.seeds), regime))
    print_table(rows, shorten=(1, 6), drop=(2,))
    if any(match.entry.early for match in matches):
        tell("an early verdict says nothing of longer runs: such an idea may be tried again in regime")


def _judged(found: Judgement, as_json: bool) -> None:
    if as_json:
        print_json(found.json())
        return
    if not found.asked:
        say("nothing was asked yet")
        return
    say(f"{_number(found.asked, 'question')} asked; {_listing(found.verdicts)}")
    clear = len(found.stand) + len(found.alone)
    say(
        f"{len(found.stand)} of {_number(clear, 'verdict')} that claim something stand although so much was "
        "asked (a tenth of those that stand may be false), the others on their own evidence only"
    )
    say(
        f"the next question stands from an e-value of {found.needed:,.0f} on, which fewer than "
        f"{found.pairs} pairs cannot give"
    )
    if "all" in found.accuracy:
        say("\nthe bottom rung decided as the top rung did:")
        print_table([(name, _share(share)) for name, share in found.accuracy.items()], indent="  ")
    if found.success:
        say("\nideas that worked (better in regime, worse nowhere), of those answered in regime:")
        rows = [(row.family, f"{row.asked} asked", _share(row.worked)) for row in found.success]
        print_table(rows, indent="  ")
    if found.gains:
        say("\ncompute-equivalent gain as found, and what is to be expected of it:")
        print_table(
            [(one.id, one.family, _gain(one.raw), _gain(one.left)) for one in found.gains],
            indent="  ",
            shorten=(0,),
        )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _listing(verdicts: dict[str, int]) -> str:
    return ", ".join(
        f"{count} {'not answered' if said == 'asked' else said}" for said, count in verdicts.items()
    )


def _share(share: Share) -> str:
    if not share.of:
        return "none answered"
    return f"{share.count} of {share.of}: {share.count / share.of:.2f} ({share.low:.2f} … {share.high:.2f})"


def _gain(gain: Gain) -> str:
    ends = [f"{end:.3g}" if end is not None else "?" for end in (gain.low, gain.high)]
    return f"{gain.value:.3f}× ({ends[0]} … {ends[1]})"
