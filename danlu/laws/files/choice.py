"""Which columns of a table are ours: by their names, and where these leave a choice, by their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from danlu.laws.errors import LawError, Warned
from danlu.laws.files.names import TRAIN, UNKNOWN, WIDE, Guess, guesses, met, near, not_nats, rank, words_of
from danlu.laws.files.tables import Table
from danlu.laws.files.units import OURS, Unit, blank, decimal_mark, fits, number, unit
from danlu.laws.table import COLUMNS, FLOPS_PER_PARAMETER_AND_TOKEN
from danlu.spec.errors import either, nearest

_SIZE = re.compile(r"(?<![A-Za-z0-9.])\d+(?:\.\d+)?[kKmMbB](?![A-Za-z0-9])")
# 1p4b; and 1-4B, or "Group: 1-4B", where no name stands before it: in llama-2-7b the 2 is a version
_POINT = re.compile(
    r"(?:(?<![A-Za-z0-9.])(\d+)p(\d+)|(?:^|:)\W*(\d)[-_](\d{1,2}))(?=[kKmMbB](?![A-Za-z0-9]))"
)
LISTED = 12  # columns, or sizes, in a sentence
_LOOK = 1000  # cells that say what a column holds
RANK = attrgetter("rank")
AGREE = 0.05  # C is so near to 6 N D, in ln, where the columns belong together …
APART = 0.1  # … and so much farther, where they do not


class Choice(NamedTuple):
    """A column of the file for one of ours. ``why``: chosen, or by its name; ``others``: weaker ones."""

    name: str
    unit: Unit
    why: str
    others: tuple[str, ...] = ()


def choose(
    table: Table, chosen: Mapping[str, str], wanted: Sequence[str], units: Mapping[str, Unit], mark: str
) -> tuple[dict[str, Choice], list[str], list[Warned]]:
    """The file's column for each of ours that is there, and notes and warnings about them. ``mark``: before
    fractions. Raises LawError where one that is wanted may be several, or a chosen one is not there."""
    names, notes, warnings = {}, [], []
    for ours, theirs in chosen.items():
        said = called(theirs, table.columns)
        if said is None:
            close = nearest(theirs, table.columns)
            hint = f"; did you mean {close}?" if close else f"; there are {listed(table)}"
            raise LawError(f"there is no column {theirs} to take as {ours}{hint}")
        found = next((guess.unit for guess in guesses(ours, [said])), OURS)
        if found is OURS and (own := _unit_of(said)) is not None and fits(ours, own):
            found = own
        names[ours] = Choice(said, units.get(ours, found), "chosen")
        warnings += _measures(ours, said, units)
        guess = rank("loss", said) if ours == "loss" else None
        if guess is not None and guess.rank >= TRAIN:
            warnings.append(Warned("train-loss", f"{said} is a loss on training data, by its name"))
    taken = {choice.name for choice in names.values()}
    groups = {
        ours: group
        for ours in COLUMNS
        if ours not in names and (ours != "x" or "x" in wanted)
        and (group := _best(ours, [name for name in table.columns if name not in taken], table, wanted))
    }  # fmt: skip
    if "n" in wanted and "n" not in {*names, *groups} and not {"d", "c"} <= {*names, *groups}:
        for name, cells in _sizes(table):
            made = f"size in {name}"
            table.columns[made] = cells
            names["n"] = Choice(made, units.get("n", OURS), "text")
            read = list(dict.fromkeys(cells))
            told = ", ".join(read[:LISTED]) + (", …" if len(read) > LISTED else "")
            said = f"n is the size that each text in column {name} names, as called: {told}"
            warnings.append(Warned("nominal-sizes", f"{said}; --n NAME names a column of counts"))
            break
    groups = _settled(groups, table, units, mark)
    for ours, group in groups.items():
        first = group[0].name
        if len(group) > 1 and ours in wanted:
            said = ", ".join(guess.name for guess in group)
            raise LawError(f"{ours} may be any of the columns {said}; say which, {option(ours, first)}")
        if len(group) > 1:
            said = ", ".join(guess.name for guess in group)
            notes.append(f"{ours} is left out, for it may be any of the columns {said}")
            continue
        others = [guess.name for guess in guesses(ours, table.columns) if guess.name != first]
        names[ours] = Choice(first, units.get(ours, group[0].unit), "name", tuple(others[:3]))
        if ours in wanted:
            warnings += _guessed(ours, group[0])
        if ours == "n" and {"e", "g"} & {*wanted} and "total" in words_of(first)[0]:
            warnings.append(Warned("active-parameters", (
                f"{first} counts all parameters, by its name; this law counts those that a token meets: "
                "--n NAME"
            )))  # fmt: skip
    return names, notes, warnings


def _sizes(table: Table) -> Iterator[tuple[str, list[str]]]:
    """Columns of text in which every row names one size, such as pythia-70m or 1-4B, and these."""
    for name, cells in table.columns.items():
        found = [_SIZE.findall(_pointed(cell)) if isinstance(cell, str) else [] for cell in cells]
        if all(len(sizes) == 1 for sizes in found):
            yield name, [sizes[0].upper() for sizes in found]


def _pointed(cell: str) -> str:
    """The same with a point in a size that is written without, as names of files and runs often are."""
    return _POINT.sub(lambda at: f" {at[1] or at[3]}.{at[2] or at[4]}", cell)


def _best(ours: str, free: Sequence[str], table: Table, wanted: Sequence[str]) -> list[Guess]:
    """The columns of numbers whose names are nearest to ours, those of equal cells once."""
    found = [guess for guess in guesses(ours, free) if _numbers(table.columns[guess.name], ours)]
    if ours == "n" and {"e", "g"} & {*wanted}:  # laws of experts count what a token meets
        found = sorted((one._replace(rank=0 if met(one.name) else one.rank + 1) for one in found), key=RANK)
    found = [guess for guess in found if guess.rank < UNKNOWN or ours in wanted]
    best = [guess for guess in found if guess.rank == found[0].rank]
    out: list[Guess] = []
    for guess in best:
        if all(table.columns[guess.name] != table.columns[other.name] for other in out):
            out.append(guess)
    return out


def _settled(
    groups: dict[str, list[Guess]], table: Table, units: Mapping[str, Unit], mark: str
) -> dict[str, list[Guess]]:
    """Those of n, d and c that are several, as one where only one choice obeys C = 6 N D."""
    three = [groups.get(ours, []) for ours in "ndc"]
    if not all(three) or max(map(len, three)) < 2 or len(choices := list(product(*three))) > 64:
        return groups
    columns = {
        guess.name: _values(table.columns[guess.name], ours, units.get(ours, guess.unit), mark)
        for ours, group in zip("ndc", three, strict=True)
        for guess in group
    }
    with np.errstate(all="ignore"):
        away = [_contradiction(*(columns[guess.name] for guess in choice)) for choice in choices]
    order = np.argsort(away, kind="stable")
    if away[order[0]] > AGREE or away[order[1]] < away[order[0]] + APART:
        return groups
    return groups | {ours: [guess] for ours, guess in zip("ndc", choices[int(order[0])], strict=True)}


def _contradiction(n: np.ndarray, d: np.ndarray, c: np.ndarray) -> float:
    away = np.abs(np.log(c / (FLOPS_PER_PARAMETER_AND_TOKEN * n * d)))
    away = away[np.isfinite(away)]
    return float(away.mean()) if len(away) else float("inf")


def _values(cells: Sequence[Any], ours: str, of: Unit, mark: str) -> np.ndarray:
    found = [None if blank(cell) else number(cell, mark, ours, of) for cell in cells]
    return np.array([np.nan if value is None else value for value in found])


def _numbers(cells: Sequence[Any], ours: str = "") -> bool:
    """Whether there are numbers in a column."""
    some = (cell for cell in cells[:_LOOK] if not blank(cell))
    return any(number(cell, mark, ours) is not None for cell in some for mark in ".,")


def _guessed(ours: str, guess: Guess) -> list[Warned]:
    if ours == "loss":
        if guess.rank >= TRAIN:
            return [
                Warned("train-loss", f"{guess.name} is a loss on training data; there is no held-out one")
            ]
        return []
    if guess.rank < UNKNOWN:
        return []
    return [
        Warned("guessed", f"{guess.name} is taken for {ours} by a part of its name; {option(ours, 'NAME')}")
    ]


def _measures(ours: str, name: str, units: Mapping[str, Unit]) -> list[Warned]:
    """A warning where the chosen loss is, by its name, none in nats."""
    what = not_nats(name) if ours == "loss" else ""
    if not what or ("loss" in units and "byte" not in what):
        return []
    if "loss" in units:
        return [Warned("not-nats", f"{name} is {what}, by its name: no unit makes that a loss per token")]
    mend = (
        "--unit loss=perplexity takes its logarithm"
        if what == "perplexity"
        else "parameters will be in its unit"
    )
    return [Warned("not-nats", f"{name} is {what} by its name, not a loss in nats per token: {mend}")]


def _unit_of(name: str) -> Unit | None:
    """What stands in brackets at the end of a heading."""
    name = name.translate(WIDE)
    inside = name.rstrip(")]").rpartition("[" if name.endswith("]") else "(")
    return unit(inside[2]) if inside[1] else None


def called(name: str, names: Iterable[str]) -> str | None:
    """The column of this name, or else the only one that differs in case, spaces and signs alone."""
    names = list(names)
    if name in names:
        return name
    alike = [one for one in names if _bare(one) == _bare(name)]
    return alike[0] if len(alike) == 1 else None


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def option(ours: str, name: str) -> str:
    """The option that names a column."""
    name = f'"{name}"' if " " in name else name
    return f"--{ours} {name}" if ours in ("n", "d", "c") else f"--column {ours}={name}"


def absent(path: object, missing: Sequence[str], table: Table) -> str:
    """The sentence for columns that nothing in a file can be taken for."""
    told = " and ".join(f"{ours} ({COLUMNS.get(ours, ('', ours))[1]})" for ours in missing)
    close = {ours: _near(ours, table) for ours in missing}
    hints = [f"{either(names[:3])} for {ours}" for ours, names in close.items() if names]
    nearest_ = f"; the nearest by name is {', '.join(hints)}" if hints else ""
    mend = " ".join(option(ours, next(iter(close[ours]), "NAME")) for ours in missing)
    if what := not_nats(next(iter(close.get("loss", ())), "")):
        mend += " --unit loss=perplexity" if what == "perplexity" else f", which is {what} and not nats"
    ways = f"; {table.mend}" if table.mend else ""
    if "d" in missing and (epochs := [name for name in near("d", table.columns) if "epoch" in name.lower()]):
        ways += f"; {epochs[0]} is of one epoch: write a column of it times the epochs"
    if "d" in missing and (steps := [one.name for one in guesses("s", table.columns)]):
        ways += f"; updates are tokens by {option('d', steps[0])} --unit d=TOKENS_OF_AN_UPDATE"
    if list(missing) == ["loss"] and close["loss"] and {*map(not_nats, close["loss"])} == {"accuracy"}:
        mend = "danlu laws chain goes from a loss to an accuracy, and --law task-compute from compute"
        return f"{path} has no column for {told}, but accuracies: {mend}; there are {listed(table)}"
    return f"{path} has no column for {told}: name it with {mend}{ways}{nearest_}; there are {listed(table)}"


def _near(ours: str, table: Table) -> list[str]:
    numeric = [name for name, cells in table.columns.items() if _numbers(cells)]
    if ours == "loss":
        other = [name for name in numeric if not_nats(name)]
        return [*other, *(name for name in near(ours, numeric) if name not in other)]
    return [name for name in near(ours, numeric) if ours != "d" or "epoch" not in name.lower()]


def listed(table: Table) -> str:
    """The columns of a file, what they hold, and an example of it."""
    said = [
        f"{name} ({_holds(cells, table.separator)})" for name, cells in list(table.columns.items())[:LISTED]
    ]
    more = len(table.columns) - len(said)
    return ", ".join(said) + (f" and {more:,} more" if more > 0 else "")


def _holds(cells: Sequence[Any], separator: str) -> str:
    some = [cell for cell in cells[:_LOOK] if not blank(cell)]
    if not some:
        return "empty"
    try:
        likely = decimal_mark(some, separator)
    except LawError:
        likely = "."
    for mark in dict.fromkeys((likely, ".", ",")):
        values = [number(cell, mark) for cell in some]
        if None not in values:
            return f"numbers, {values[0]:g} first"
    shown = " ".join(str(some[0]).split())
    return f"text, {shown if len(shown) <= 20 else shown[:19] + '…'} first"
