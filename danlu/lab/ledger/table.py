"""How the ledger is shown: rows of text under their headings, for a terminal and for a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.lab.ledger.entry import Entry, Gain
from danlu.lab.ledger.judgement import Judgement, Share, control
from danlu.lab.ledger.memory import Match
from danlu.lab.ledger.newest import current

Rows = list[tuple[str, ...]]


def listing(entries: Sequence[Entry], everything: bool = False) -> Rows:
    """The newest entries on each question, or all; columns in which nothing stands are left out."""
    stands, said = control(entries), {entry.id: entry.said for entry in entries}
    rows: Rows = [
        ("id", "date", "verdict", "before", "effect", "95 %", "seeds", "control", "decision", "look again")
    ]
    for entry in entries if everything else current(entries):
        rows.append(
            (
                entry.id,
                entry.date,
                entry.said,
                ", ".join(said[name] for name in entry.supersedes if name in said),
                _effect(entry),
                "" if entry.interval is None else f"{entry.interval[0]:.3g} … {entry.interval[1]:.3g}",
                str(entry.seeds),
                stands.get(entry.id, ""),
                "" if entry.decision == "none" else f"{entry.decision}{' (weak)' if entry.weak else ''}",
                entry.revisit.when if entry.revisit else "",
            )
        )
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def likeness(matches: Sequence[Match]) -> Rows:
    """What was found, and by what; each with its regime."""
    rows: Rows = [("found by", "id", "date", "verdict", "effect", "seeds", "regime")]
    for match in matches:
        entry = match.entry
        regime = str(entry.regime or "not known") if entry.answered else ""
        rows.append((match.how, entry.id, entry.date, entry.said, _effect(entry), str(entry.seeds), regime))
    return rows


def sections(found: Judgement) -> list[tuple[str, Rows]]:
    """What the ledger says of itself: sentences, each with the rows that belong to it, if any."""
    clear = len(found.stand) + len(found.alone)
    told: list[tuple[str, Rows]] = [
        (f"{_number(found.asked, 'question')} asked; {_counts(found.verdicts)}", []),
        (
            f"{len(found.stand)} of {_number(clear, 'verdict')} that claim something stand although so much "
            "was asked (a tenth of those that stand may be false), the others on their own evidence only",
            [],
        ),
        (
            f"the next question stands from an e-value of {found.needed:,.0f} on, which fewer than "
            f"{found.pairs} pairs cannot give",
            [],
        ),
    ]
    if found.accuracy:
        rows: Rows = [(name, _share(share)) for name, share in found.accuracy.items()]
        told.append(("the bottom rung decided as the top rung did:", [("family", "share (95 %)"), *rows]))
    if found.success:
        rows = [(row.family, str(row.asked), _share(row.worked)) for row in found.success]
        what = "ideas that worked (better in regime, worse nowhere), of those answered in regime:"
        told.append((what, [("family", "asked", "worked (95 %)"), *rows]))
    if found.gains:
        rows = [(one.id, one.family, _gain(one.raw), _gain(one.left)) for one in found.gains]
        what = "compute-equivalent gain as found, and what is to be expected of it:"
        told.append((what, [("id", "family", "found", "expected"), *rows]))
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
