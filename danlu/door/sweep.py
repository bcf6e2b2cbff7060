"""A space of experiments searched, from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.door.experiment import Word, split_words, to_text
from danlu.door.record import Record
from danlu.draw import Chart, Displayed
from danlu.draw.page import Part
from danlu.lab.queue import Queue
from danlu.lab.queue.executors import cores
from danlu.lab.study import STUDIES
from danlu.lab.sweep import sweep as carry_out
from danlu.lab.sweep.report import sentences, trials_table

DRAWN = 4  # fields


class Sweep(Record, Displayed):
    """What ``danlu sweep --json`` prints, by attribute: ``trials`` from the best down, ``best`` (its
    ``words``, ``value``, ``point``), ``importance``, ``border``, ``warnings``, ``spent``, ``report``."""

    def __repr__(self) -> str:
        best = "no trial finished"
        if self.best is not None:
            point = ", ".join(f"{name}={self.best.point[name]}" for name in self.best.point)
            best = f"best {self.metric} {self.best.value:.4f} at {point}"
        return f"<sweep over {', '.join(self.fields)}, {len(self.trials)} trials: {best}>"

    def display(self) -> list[Part]:
        result = self.to_dict()
        slices = [_slice(result, name) for name in result["fields"][:DRAWN]]
        return ["\n".join(sentences(result)), *slices, trials_table(result)]


def _slice(result: Mapping[str, Any], field: str) -> Chart:
    """Every trial over one field."""
    found = [(one["point"][field], one["value"]) for one in result["trials"] if one["value"] is not None]
    numbers = [x for x, _ in found if not isinstance(x, str)]
    names = [] if len(numbers) == len(found) else list(dict.fromkeys(str(x) or "without" for x, _ in found))
    wide = not names and min(numbers, default=0) > 0 and max(numbers) >= 8 * min(numbers)
    places = [names.index(str(x) or "without") if names else x for x, _ in found]
    chart = Chart(field, result["metric"], x_names=names, log_x=wide, caption="Every trial that ended.")
    return chart.dots(places, [value for _, value in found], "trial")


def sweep(
    *words: Word,
    seeds: int = 1,
    trials: int | None = None,
    sampler: str = "random",
    halving: bool = False,
    metric: str | None = None,
    studies: str | os.PathLike[str] = STUDIES,
    study: str | None = None,
    workers: int | None = None,
    retry: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Sweep:
    """Search a space of experiments, as ``danlu sweep`` does.

    ``words``: as after the verb, grids included (``"optimizer.lr=1e-4..1e-1/3"``). ``settings``: fields as in
    ``danlu.experiment``; a list of values, or a text that is a grid, spans the space: ``lr=[1e-3, 1e-2]``.
    Raises ``DanluError`` with the sentences of the command line.
    """
    typed = [*split_words(words), *(f"{name}={_grid(value)}" for name, value in settings.items())]
    with Queue(Path(studies), workers=workers, show=progress) as queue:
        result = carry_out(
            typed, queue, studies=Path(studies), name=study, seeds=seeds, trials=trials, sampler=sampler,
            halving=halving, metric=metric, at_once=workers or cores(), retry=retry,
        )  # fmt: skip
    return Sweep(result)


def _grid(value: Any) -> str:
    return "|".join(map(to_text, value)) if isinstance(value, list | tuple) else to_text(value)
