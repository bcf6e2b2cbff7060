"""The audit as a whole: what was found, what to do next, the fit with and without the rows that are off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from danlu.laws.audit.dependence import Dependence, found
from danlu.laws.audit.groups import EXACT, GAPS, Group, group, searched
from danlu.laws.audit.parts import FEWEST
from danlu.laws.audit.places import places
from danlu.laws.audit.shape import LEVEL, Bend, contradicted, design, lack_of_fit
from danlu.laws.audit.sources import Source, Sources, sources
from danlu.laws.base import Array
from danlu.laws.errors import Warned, weight
from danlu.laws.fit import Fit
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum

CHECKPOINTS = re.compile(r"(?:^|[\W_])(?:step|iteration|iter|update|checkpoint|epoch)s?(?:$|[\W_])", re.I)
BUDGETS = (1.0, 10.0, 100.0)  # times the largest compute
FAR = 6.0  # standard deviations from which on the most remote row is told, though nobody can call it
ENOUGH = 60  # points from which on two sources show from ten standard deviations on
TOLD = 8  # rows or sources that a sentence names


class Decision(NamedTuple):
    """Tokens per parameter at a budget in FLOP, with all rows and without the group."""

    flops: float
    every: float
    without: float


@dataclass(frozen=True)
class Audit:
    """What the points say before the fit is believed.

    ``dependence``: rows of one run or size. ``sources``: None where rows seem to be of one. ``group``: rows
    that are off the law together, None where there are none. ``bends``: what the residuals leave. ``said``:
    all that matters, a sentence with a code each.
    """

    fit: Fit
    dependence: Dependence
    sources: Sources | None
    group: Group | None
    bends: list[Bend]
    said: list[Warned] = field(default_factory=list)

    @property
    def decisions(self) -> list[Decision]:
        """Of Chinchilla's law with a group: what the group changes at the largest budget and beyond."""
        points = self.fit.points.with_compute()
        if self.group is None or self.fit.law.name != CHINCHILLA.name or "c" not in points:
            return []
        made = []
        for times in BUDGETS:
            flops = float(points["c"].max()) * times
            with np.errstate(all="ignore"):
                every, without = (_ratio(theta, flops) for theta in (self.fit.vector, self.group.without))
            made.append(Decision(flops, every, without))
        return made

    @property
    def looked(self) -> str:
        """What was looked for and not found, and how large it would have been: no all-clear."""
        r, law = self.fit.residuals, self.fit.law
        free, asked = int(self.fit.free.sum()), list[str]()
        # The smallest residuals are those that a robust fit makes vanish.
        scale = 1.4826 * float(np.median(np.sort(np.abs(r))[free:])) if r.size > free else 0.0
        if scale < EXACT:
            return "there is no scatter about the law, so that no fault can be told by it"
        if self.group is None and (self.sources is None or not self.sources.scale):
            size, row = np.abs(r) / scale, int(np.argmax(np.abs(r)))
            told = "diverged" in {one.code for one in self.said}
            if not searched(r.size, free):
                asked.append(f"{r.size} points are too few to look for rows that are off")
            else:
                least = max(GAPS[0][1], GAPS[0][2] * float(np.partition(size, -2)[-2]))
                share = f" ({least * scale:.2g} of {'ln ' * (law.space == 'log')}{law.target})"
                asked.append(
                    f"no {'other ' if told else ''}rows stand out: one alone would have from about "
                    f"{least:.0f} standard deviations{share} on, several together from less"
                )
            if size[row] > FAR and not told:
                asked.append(
                    f"data row {row + 1} lies {size[row]:.0f} off, but {r.size} rows are too few to call it"
                )
        if self.sources is None and r.size >= FEWEST:
            far = "ten" if r.size >= ENOUGH else "25"  # found in 20 of 20 sets of 60, and of 30 points
            asked.append(
                f"no sign of two sources, which without a column show from {far} standard deviations on"
            )
        if not any(bend.matters for bend in self.bends) and self.bends:
            asked.append(f"no trend of the residuals over {' or '.join(bend.over for bend in self.bends)}")
        asked.append("what shifts all rows alike leaves no trace")
        return "; ".join(asked)

    def json(self) -> dict[str, Any]:
        """Plain values; rows count from 1."""
        one, keys = self.group, self.fit.law.keys
        return {
            "dependence": {"cluster": self.dependence.cluster, "text": self.dependence.text},
            "sources": None if self.sources is None else asdict(self.sources),
            "group": None if one is None else {
                "rows": [int(row) + 1 for row in one.rows],
                "others": [int(row) + 1 for row in one.others],
                "ends": [f"{'largest' if largest else 'smallest'} {name}" for name, largest in one.ends],
                "p": one.p,
                "moves": one.moves,
                "without": dict(zip(keys, one.without.tolist(), strict=True)),
                "tokens_per_parameter": [decision._asdict() for decision in self.decisions],
            },
            "lack_of_fit": [asdict(bend) for bend in self.bends],
            "looked": self.looked,
            "findings": [one.json() for one in self.said],
        }  # fmt: skip


def audit(
    fit: Fit, table: Mapping[str, Sequence[Any]] | None = None, dependence: Dependence | None = None
) -> Audit:
    """Audit the points of a fit.

    ``table``: the columns of the file that are none of the fit's, a value for each point (text too).
    ``dependence``: which rows belong together, found by their run or size where not given.
    """
    table = table or {}
    free = int(fit.free.sum())
    dependence = dependence or found(fit.points, table, free)
    told = places(fit, table)
    mixed = sources(fit, table, dependence.labels)
    if mixed is not None and mixed.column is None and "diverged" in {one.code for one in told}:
        mixed = None  # what diverged is no source
    off = group(fit, dependence.labels) if mixed is None or not mixed.scale else None
    theta, kept = fit.vector, np.ones(fit.points.size, bool)
    if off is not None:
        theta = off.without
        kept[np.concatenate([off.rows, off.others])] = False
    bends = lack_of_fit(fit, theta, kept, dependence.labels) if mixed is None or not mixed.scale else []
    said = [*told]
    whole = Audit(fit, dependence, mixed, off, bends, said)
    if mixed is not None:
        said.append(mixture(mixed))
    if off is not None:
        said.append(_off(whole, off))
    said += [_bent(bend) for bend in bends if bend.matters]
    said += _held(fit, dependence.labels)
    said += design(fit)
    said += [] if dependence.warned is None else [dependence.warned]
    said.sort(key=weight)
    return whole


def _held(fit: Fit, cluster: NDArray[np.int64] | None) -> list[Warned]:
    """A held value that the points contradict."""
    held = fit.law.own & ~fit.free
    name, p = contradicted(replace(fit, free=fit.law.own), held, cluster)
    if not name or p >= LEVEL:
        return []
    return [Warned("held-contradicts", (
        f"the points contradict {name} = {fit.theta[name]:g}, which is held (p = {p:.1g}); without it they "
        "say another value, and all other parameters make up for it"
    ))]  # fmt: skip


def _ratio(theta: Array, flops: float) -> float:
    n, d = optimum(theta, flops)
    return float(d / n)


def mixture(one: Sources) -> Warned:
    """What is said of mixed sources."""
    parts = [
        f"{source.value or '(blank)'}: {source.rows} rows, {source.residual:+.1%}"
        + ("" if source.counted is None else f", C/6ND {source.counted:.3g}")
        for source in one.sources[:TOLD]
    ]
    told = "; ".join(parts) + (f" and {len(one.sources) - TOLD} more" if len(one.sources) > TOLD else "")
    if one.column is None:
        return Warned("two-parts", (
            f"the residuals fall in two parts ({told}): the rows may be of two sources with another loss "
            "each; fit them apart (--where)"
        ))  # fmt: skip
    # What a shell and a filter take as it stands.
    plain = [source for source in one.sources if source.value and not set(source.value) & set("'\"<>=!~,")]
    value = max(plain or one.sources, key=lambda source: source.rows).value
    apart = f"fit them apart: danlu laws fit --group {one.column}, or --where '{one.column}={value}'"
    if not one.scale:
        return Warned("mixed-counting", (
            f"rows differ in C/6ND by the column {one.column} ({told}): compute or size is counted in "
            f"several ways; {apart}"
        ))  # fmt: skip
    if CHECKPOINTS.search(one.column) and (last := _last(plain)):
        return Warned("mixed-sources", (
            f"the rows are checkpoints at several values of the column {one.column}, which explains "
            f"{one.explained:.0%} of the residuals: keep the last of each run, such as --where "
            f"'{one.column}={last}'"
        ))  # fmt: skip
    return Warned("mixed-sources", (
        f"the rows are of several sources by the column {one.column}, which explains {one.explained:.0%} of "
        f"the residuals ({told}); one law of all of them means nothing; {apart}"
    ))  # fmt: skip


def _last(found: Sequence[Source]) -> str:
    """The largest number that as many rows have as the middle one; "" where they are no numbers."""
    try:
        number = {source: float(source.value) for source in found}
    except ValueError:
        return ""
    enough = float(np.median([source.rows for source in found])) if found else 0.0
    return max((s for s in found if s.rows >= enough), key=number.__getitem__).value if found else ""


def _off(whole: Audit, one: Group) -> Warned:
    points = whole.fit.points.with_compute()
    rows = ", ".join(str(row + 1) for row in sorted(one.rows)[:TOLD])
    more = f" and {len(one.rows) - TOLD} more" if len(one.rows) > TOLD else ""
    ends = [f"the {'largest' if largest else 'smallest'} {name}" for name, largest in one.ends]
    if {"n", "d"} <= points.keys() and ("D/N", False) in one.ends:
        ratio = float((points["d"] / points["n"])[one.rows].max())
        ends = [end if end != "the smallest D/N" else f"D/N ≤ {ratio:.2g}" for end in ends]
    where = f" ({', '.join(ends)})" if ends else ""
    far = np.abs(one.deviations[one.rows])
    shift = ", ".join(
        f"{name} {every:.3f} → {without:.3f}" if abs(every) < 100 else f"{name} {every:.4g} → {without:.4g}"
        for name, every, without in parameters(whole)
    )
    other = ""
    if len(one.others):
        s, be, move = ("", "is", "moves") if len(one.others) == 1 else ("s", "are", "move")
        named = ", ".join(str(row + 1) for row in sorted(one.others)[:TOLD])
        other = f"; data row{s} {named} {be} off too, but hardly {move} the fit"
    row, are, them = ("data row", "is", "it") if len(one.rows) == 1 else ("data rows", "are", "them")
    low, high = f"{far.min():.0f}", f"{far.max():.0f}"
    far_off = low if low == high else f"{low} to {high}"
    still = "" if one.moves else ", less than a standard error"
    moved = f"without {them} {shift}{still}"
    return Warned("off-together" if one.moves else "off", (
        f"{row} {rows}{more}{where} {are} {far_off} standard deviations off the law of the others; "
        f"{moved}{other}; look at what is special about these runs, and say which fit you report"
    ))  # fmt: skip


def _bent(bend: Bend) -> Warned:
    low, middle, high = bend.ends
    return Warned("lack-of-fit", (
        f"the residuals depend on {bend.over} (p = {bend.p:.1g}): measured is {low:+.2%}, {middle:+.2%} and "
        f"{high:+.2%} off predicted in its lowest tenth, the middle and the highest tenth; the law may bend "
        "away from the points: try another law (danlu laws compare), or leave the far end out"
    ))  # fmt: skip


def parameters(whole: Audit) -> list[tuple[str, float, float]]:
    """Each parameter with all rows and without the group; none without a group."""
    if whole.group is None:
        return []
    pairs = zip(whole.fit.law.names, whole.fit.vector.tolist(), whole.group.without.tolist(), strict=True)
    return list(pairs)


def beside(whole: Audit) -> list[tuple[str, str, str]]:
    """The fit with all rows and without the group, as a table: parameters, then tokens per parameter."""
    count = 0 if whole.group is None else len(whole.group.rows)
    rows = [("", "all rows", f"without {count}")]
    rows += [(name, f"{every:.5g}", f"{without:.5g}") for name, every, without in parameters(whole)]
    for one in whole.decisions:
        rows.append(
            (f"tokens per parameter at {one.flops:.2g} FLOP", f"{one.every:.3g}", f"{one.without:.3g}")
        )
    return rows
