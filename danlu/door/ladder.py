"""From small runs to a large one, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.door.experiment import Word, split_words, to_words
from danlu.door.record import Record
from danlu.draw import Chart, Displayed, Table
from danlu.draw.page import Part
from danlu.lab.ladder import Ladder as Asked
from danlu.lab.ladder import climb
from danlu.lab.queue import Queue
from danlu.lab.study import STUDIES

PLANNED = ("level", "layers", "width", "parameters", "tokens", "steps", "flops", "lr")  # of a rung
MEASURED = ("parameters", "tokens", "flops", "loss", "metric", "run")  # of a run


class Ladder(Record, Displayed):
    """What ``danlu ladder --json`` prints, by attribute: ``rungs``, ``runs``, ``law``, ``held_out``,
    ``target`` (its ``loss`` with ends, its ``command``), ``warnings``; of a dry run the plan alone."""

    def __repr__(self) -> str:
        words = " ".join(self.words) or "tiny"
        if "target" not in self:
            return f"<plan of a ladder of {words}: {len(self.rungs)} rungs, {self.flops:.3g} FLOP>"
        loss = self.target.loss
        ends = "no interval" if loss.high is None else f"{loss.low:.4f} … {loss.high:.4f}"
        return f"<ladder of {words}: {self.loss.name} of the target {loss.value:.4f} ({ends})>"

    def display(self) -> list[Part]:
        result = self.to_dict()
        notes = [f"note: {warning}" for warning in result["warnings"]]
        if "target" not in self:
            return [repr(self), _table(result["rungs"], PLANNED), *notes]
        held = [one["sentence"] for one in result["held_out"]] or [
            "nothing was held out: nothing tests the law"
        ]
        table = _table(result["runs"], MEASURED)
        return [repr(self), self._chart(), *held, result["target"]["command"], table, *notes]

    def _chart(self) -> Chart:
        said = f"{self.loss.name}, {self.loss.unit}"
        caption = "Runs; what a law of the others said of those held out; the target, with 95 % intervals."
        chart = Chart("training FLOP", said, log_x=True, log_y=True, caption=caption)
        chart.dots([run.flops for run in self.runs], [run.loss for run in self.runs], "runs")
        held = [(one.flops, one.predicted) for one in self.held_out]
        target = [(self.target.flops, self.target.loss)]
        for label, points in (("predicted, held out", held), ("target", target)):
            ends = [(end.low, end.high) for _, end in points]
            chart.dots([x for x, _ in points], [end.value for _, end in points], label, y_ends=ends)
        return chart


def _table(rows: list[dict[str, Any]], names: Sequence[str]) -> Table:
    cells = [[f"{v:.5g}" if isinstance(v := row[name], float) else v for name in names] for row in rows]
    return Table([names, *cells])


def ladder(
    *words: Word,
    budget: str = "300s",
    rungs: int = 4,
    target: str | None = None,
    target_parameters: str | None = None,
    seeds: int = 1,
    rates: str = "mup",
    hold_out: int = 1,
    design: str = "chinchilla",
    tokens_per_parameter: float = 20.0,
    far: bool = False,
    dry_run: bool = False,
    studies: str | os.PathLike[str] = STUDIES,
    study: str | None = None,
    workers: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> Ladder:
    """Plan small runs, carry them out, fit a law, check it, plan the large run, as ``danlu ladder`` does.

    ``settings``: fields, as in ``danlu.experiment``. Raises ``DanluError`` with the sentences of the command
    line.
    """
    typed = [*split_words(words), *to_words(settings)]
    asked = Asked(
        tuple(typed), budget=budget, rungs=rungs, seeds=seeds, rates=rates, design=design,
        tokens_per_parameter=tokens_per_parameter, hold_out=hold_out, target=target,
        target_parameters=target_parameters, far=far,
    )  # fmt: skip
    result = climb(
        asked, Path(studies), name=study, dry_run=dry_run,
        queue_of=lambda folder: Queue(folder, workers=workers, show=progress),
    )  # fmt: skip
    return Ladder(result)
