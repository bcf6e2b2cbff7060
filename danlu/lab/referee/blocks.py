"""Blocks of runs: one of each arm, all with one seed, in an order drawn for the block, so that a drift of the
machine falls on all arms alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from danlu.lab.referee.errors import Failed, Void
from danlu.lab.referee.findings import Sides
from danlu.lab.referee.runs import Record, Run, Runs
from danlu.lab.referee.seeds import Seeds, shuffled
from danlu.lab.referee.words import count as told

BUSY = 0.05  # of the machine: what others may take while a program runs that ends by the clock
SPARE = 0.3  # of the blocks: how many may be lost to that


@dataclass
class Blocks:
    """The runs of each arm, block by block, and the blocks' seeds (none: the program takes none)."""

    records: dict[str, list[Record]]
    seeds: list[int | None] = field(default_factory=list)

    def sides(self, baseline: str, idea: str) -> Sides:
        """The runs of an idea beside the baseline's."""
        base, variant = tuple(self.records[baseline]), tuple(self.records[idea])
        return Sides(idea, base, variant, tuple(self.seeds), any(seed is not None for seed in self.seeds))


def carry_out(
    runs: Runs, seeds: Seeds, rung: str, sets: Mapping[str, Sequence[str]], count: int, first: int
) -> Blocks:
    """``count`` blocks, from number ``first`` on; ``sets``: the words of each arm. A program that ends by the
    clock gets another block for one that other work disturbed. Raises ``Void`` where there are too many such,
    ``Failed`` where the first two runs of an arm fail."""
    plan, blocks = runs.plan, Blocks({arm: [] for arm in sets})
    at = f" at {rung}" if rung else ""
    number, lost = first, 0
    while len(blocks.seeds) < count:
        seed = seeds.of(f"pairs{rung}", number + 1)[number] if plan.seeded else None
        block: dict[str, Record] = {}
        for arm in shuffled(list(sets), number, seeds):
            run = Run(arm, tuple(sets[arm]), seed, 0 if plan.seeded else number)
            block[arm] = runs.carry_out(run, f"{arm}{at}, {len(blocks.seeds) + 1} of {count}")
        number += 1
        if plan.timed and any(record.others > BUSY for record in block.values()):
            lost += 1
            if lost > SPARE * count:
                raise Void(
                    f"{told(lost, 'block')} {'was' if lost == 1 else 'were'} disturbed: other "
                    f"work took more than {BUSY:.0%} of the machine, "
                    "and the program ends by the clock; stop the other work, and ask again"
                )
            continue
        blocks.seeds.append(seed)
        for arm, record in block.items():
            blocks.records[arm].append(record)
            _hopeful(arm, blocks.records[arm])
    return blocks


def _hopeful(arm: str, records: Sequence[Record]) -> None:
    if len(records) >= 2 and all(record.failed for record in records):
        last = records[-1]
        raise Failed(f"every run of {arm} failed: {last.why}; see {last.folder}, and remove it to try again")
