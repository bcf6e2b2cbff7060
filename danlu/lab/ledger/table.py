"""How the ledger is shown: rows of text under their headings, for a terminal and for a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.lab.ledger.entry import Entry, Gain
from danlu.lab.ledger.judgement import Judgement, Share, control
from danlu.lab.ledger.memory import How, Match
from danlu.lab.ledger.newest import current, length
from danlu.lab.ledger.short import at, beds, numbers, subjects
from danlu.spec.translated import statement

Rows = list[tuple[str, ...]]


# What the words of the column ``control`` mean, for whoever meets them.
CONTROL = {
    "stands": "it holds among all that was asked",
    "alone": "not clear enough for the number of questions that were asked; it would stand as the only one",
    "interval only": "its interval says so; its e-value is too small for that, or tests something else",
}

FOUND_BY: dict[How, str] = {
    "the same question": "same question",
    "the same idea, another bed": "same idea",
    "the same fields": "same fields",
    "similar words": "similar words",
}


def listing(entries: Sequence[Entry], everything: bool = False) -> Rows:
    """The newest entries on each question, or all; columns in which nothing stands are left out."""
    stands, said = control(entries), {entry.id: entry.said for entry in entries}
    shown = entries if everything else current(entries)
    number, idea, bed = numbers(entries), subjects(shown), beds(shown)
    rows: Rows = [
        (
            "no", "idea", "on", "equal", "updates", "verdict", "date", "control", "before", "effect", "95 %",
            "seeds", "decision", "look again", "id",
        )
    ]  # fmt: skip
    for entry in shown:
        rows.append(
            (
                number[entry.id],
                idea[entry.id],
                bed[entry.id],
                at(entry),
                f"{updates:,.0f}" if (updates := length(entry)) else "",
                entry.said,
                entry.date,
                stands.get(entry.id, ""),
                ", ".join(said[name] for name in entry.supersedes if name in said),
                _effect(entry),
                "" if entry.interval is None else f"{entry.interval[0]:.3g} … {entry.interval[1]:.3g}",
                str(entry.seeds),
                "" if entry.decision == "none" else f"{entry.decision}{' (weak)' if entry.weak else ''}",
                entry.revisit.when if entry.revisit else "",
                entry.id,
            )
        )
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def in_words(entry: Entry, language: str) -> str:
    """The statement of the idea or claim, in ``language`` where the catalog has it so."""
    shelf, name = ("claims", entry.claim) if entry.claim else ("ideas", (entry.idea or "").removeprefix("+"))
    return statement(shelf, name, entry.statement, language)


def meanings(rows: Rows) -> str | None:
    """What the words mean that stand beside the verdicts, a line each; None where there are none."""
    cells = {cell for row in rows[1:] for cell in row}
    told = [f"control {word}: {meaning}" for word, meaning in CONTROL.items() if word in cells]
    if any(cell.endswith("(early)") for cell in cells):
        told.append("early: the runs are too short, or not tuned, to say anything of longer ones")
    return "\n".join(told) if told else None


def likeness(matches: Sequence[Match], entries: Sequence[Entry]) -> Rows:
    """What was found among the entries, and by what; each with its regime."""
    shown = [match.entry for match in matches]
    number, idea, bed = numbers(entries), subjects(shown), beds(shown)
    rows: Rows = [
        ("found by", "no", "idea", "on", "equal", "verdict", "date", "effect", "seeds", "regime"),
    ]
    for match in matches:
        entry, id = match.entry, match.entry.id
        regime = str(entry.regime or "not known") if entry.answered else ""
        rows.append(
            (
                FOUND_BY[match.how], number[id], idea[id], bed[id], at(entry), entry.said, entry.date,
                _effect(entry), str(entry.seeds), regime,
            )
        )  # fmt: skip
    return rows


def titles(entries: Sequence[Entry], among: Sequence[Entry]) -> dict[str, str]:
    """By id, an entry in one line: its number among all, the idea, the bed, what was equal."""
    number, idea, bed = numbers(among), subjects(entries), beds(entries)
    return {
        entry.id: f"{number[entry.id]}: {idea[entry.id]}"
        + (f" on {bed[entry.id]}" if entry.on else "")
        + (f", equal {at(entry)}" if entry.at else "")
        for entry in entries
    }


def sections(found: Judgement, entries: Sequence[Entry]) -> list[tuple[str, Rows]]:
    """What the ledger says of its entries: sentences, each with the rows that belong to it, if any."""
    kinds = {"alone": found.alone, "interval only": found.interval_only}
    clear = len(found.stand) + sum(map(len, kinds.values()))
    told: list[tuple[str, Rows]] = [
        (f"{_number(found.asked, 'question')} asked; {_counts(found.verdicts)}", []),
        (
            f"{len(found.stand)} of {_number(clear, 'verdict')} that claim something stand although so much "
            "was asked (a tenth of those that stand may be false)",
            [],
        ),
        *((f"  {len(ids)} {word}: {CONTROL[word]}", []) for word, ids in kinds.items() if ids),
        (
            f"the next question stands from an e-value of {found.needed:,.0f} on, which fewer than "
            f"{found.pairs} pairs of runs cannot give",
            [],
        ),
        (
            "  e-value: evidence against no effect; 1 is none, by luck it is 20 or more once in 20 at most",
            [],
        ),
    ]
    if found.accuracy:
        rows: Rows = [(name, _share(share)) for name, share in found.accuracy.items()]
        what = "the smallest size said the same as the largest (which side is better):"
        told.append((what, [("family", "share (95 %)"), *rows]))
    if found.success:
        rows = [(row.family, str(row.asked), _share(row.worked)) for row in found.success]
        what = "ideas that worked (better in regime, worse nowhere), of those answered in regime (not early):"
        told.append((what, [("family", "asked", "worked (95 %)"), *rows]))
    if found.gains:
        of = [entry for entry in entries if entry.id in {one.id for one in found.gains}]
        number, idea, bed = numbers(entries), subjects(of), beds(of)
        rows = [
            (number[one.id], idea[one.id], bed[one.id], one.family, _gain(one.raw), _gain(one.left))
            for one in found.gains
        ]
        what = (
            "gains: how many times the compute the baseline needs to be as good; as found, and as expected, "
            "which is drawn towards none (1×), since the largest of many are the largest partly by luck:"
        )
        told.append((what, [("no", "idea", "on", "family", "found", "expected"), *rows]))
    return told


def _effect(entry: Entry) -> str:
    return "" if entry.effect is None else f"{entry.effect:.3g} {entry.unit or ''}".rstrip()


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _counts(verdicts: dict[str, int]) -> str:
    told = {"not answered" if said == "asked" else said: count for said, count in verdicts.items()}
    return ", ".join(f"{count} {said}" for said, count in told.items())


def _share(share: Share) -> str:
    if not share.of:
        return "none answered"
    return f"{share.count} of {share.of}: {share.count / share.of:.2f} ({share.low:.2f} … {share.high:.2f})"


def _gain(gain: Gain) -> str:
    ends = [f"{end:.3g}" if end is not None else "?" for end in (gain.low, gain.high)]
    return f"{gain.value:.3f}× ({ends[0]} … {ends[1]})"
