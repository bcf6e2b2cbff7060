"""Whether a seed changes anything, and whether it changes everything: two runs of the baseline with one seed
and one with another, before anything is compared."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.files.json import read_object, write_json
from danlu.lab.referee.errors import Failed, Void
from danlu.lab.referee.runs import Record, Run, Runs

LARGEST = 2**31 - 1  # that every program takes
MEMORY = "seeds.json"


class Seeds:
    """The seeds of a study, drawn when they are first needed and kept: nobody chose them, and the same
    command goes on with them. Those that tuning uses are drawn apart."""

    def __init__(self, study: Path) -> None:
        self._path = study / MEMORY
        shape: dict[Any, Any] = {...: [int]}
        self._known: dict[str, list[int]] = read_object(self._path, shape) if self._path.exists() else {}

    def of(self, purpose: str, count: int) -> list[int]:
        """The first ``count`` seeds for a purpose."""
        drawn = self._known.setdefault(purpose, [])
        taken = {seed for seeds in self._known.values() for seed in seeds}
        missing = count - len(drawn)
        while len(drawn) < count:
            if (seed := secrets.randbelow(LARGEST)) not in taken:
                taken.add(seed)
                drawn.append(seed)
        if missing > 0:
            write_json(self._path, self._known)
        return drawn[:count]


def shuffled(names: Sequence[str], block: int, seeds: Seeds) -> list[str]:
    """The order of the arms in a block, by a seed of its own."""
    order = list(names)
    random.Random(seeds.of("order", block + 1)[block]).shuffle(order)
    return order


@dataclass(frozen=True)
class Probe:
    """What the probe found. ``seeded``: the program takes a seed. ``exact``: the same seed gives the same
    value; then the runs of the probe count as those of a block."""

    seeded: bool
    exact: bool
    said: str

    @property
    def first(self) -> int:
        """The number of the first block that the probe has not used up."""
        return 0 if self.exact else 2

    def json(self) -> dict[str, Any]:
        return {"seeded": self.seeded, "exact": self.exact, "said": self.said}


def probe(runs: Runs, seeds: Seeds, purpose: str, words: Sequence[str]) -> Probe:
    """Run the baseline with the ``words`` and tell. Raises ``Void`` where the values say that luck cannot be
    seen, ``Failed`` where the baseline does not run."""
    plan, name = runs.plan, runs.plan.baseline
    if plan.seeded:
        one, other = seeds.of(purpose, 2)
        asked = [
            Run(name, tuple(words), one),
            Run(name, tuple(words), one, 1),
            Run(name, tuple(words), other),
        ]
    else:
        asked = [Run(name, tuple(words), None, number) for number in (0, 1)]
    found: list[Record] = []
    for run in asked:
        found.append(runs.carry_out(run, f"probing the seed, {len(found) + 1} of {len(asked)}"))
        if len(found) == 2 and all(record.failed for record in found):
            why, folder = found[0].why, found[0].folder
            raise Failed(f"the baseline {name} does not run: {why}; see {folder}, and remove it to try again")
    return judge(plan.seeded, plan.metric.name, found)


def judge(seeded: bool, metric: str, found: Sequence[Record]) -> Probe:
    """What two runs of one seed and one of another say; of a program without a seed, two runs."""
    values = [record.value for record in found if record.end == "ended"]
    same = len(values) == len(found) and len(set(values)) == 1
    if not seeded:
        if same:
            raise Void(
                f"run takes no {{seed}}, and two runs give the same {metric}, {values[0]:.6g}: the program "
                "has a fixed seed, so that luck cannot be seen; let it take a seed (patch: a diff for all "
                "arms), and write {seed} into run"
            )
        return Probe(False, False, "the program takes no seed: runs are compared unpaired")
    if same:
        raise Void(
            f"{{seed}} changes nothing: {metric} is {values[0]:.6g} with one seed twice and with another; "
            "the program ignores it, so that luck cannot be seen"
        )
    twins = found[:2]
    if all(record.end == "ended" for record in twins) and twins[0].value == twins[1].value:
        return Probe(True, True, "the same seed gives the same value")
    told = " and ".join(f"{record.value:.6g}" if record.end == "ended" else record.end for record in twins)
    return Probe(True, False, f"the program is not deterministic: one seed gave {metric} {told}")
