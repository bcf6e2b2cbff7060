"""Many runs, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence

from danlu.door.experiment import written
from danlu.door.record import Record
from danlu.draw import Displayed
from danlu.draw.page import Part
from danlu.lab.reading import comparison, report
from danlu.lab.reading.curves import check_axis
from danlu.lab.reading.notebook import Runs


def runs(*folders: str | os.PathLike[str], where: str | Sequence[str] = (), sort: str | None = None) -> Runs:
    """The runs at any depth under the folders (left out: ``runs`` and ``studies/runs``), newest first, as
    ``danlu runs`` lists them.

    ``where``: filters, all of which hold: ``"lr>1e-3"``; ``sort``: a name, ``"best"``, ``"-seconds"``.
    Raises ``LabError`` with the sentences of the command line.
    """
    found = Runs(*folders).where(*([where] if isinstance(where, str) else where))
    return found if sort is None else found.sort(sort)


class Comparison(Record, Displayed):
    """What ``danlu compare --json`` prints, by attribute: ``sides``, ``differs`` (fields and their values),
    ``meetings`` (the sides at equal steps, time, FLOPs and tokens, with their ``differences``),
    ``warnings``, ``notes``."""

    def __init__(self, found: comparison.Comparison, x: str) -> None:
        super().__init__(report.to_json(found))
        self._found, self._x = found, x

    def __repr__(self) -> str:
        first, *others = (side.name for side in self.sides)
        return f"<{self.metric} of {', '.join(others)} compared with {first}>"

    def display(self) -> list[Part]:
        return report.parts(self._found, self._x)


def compare(*sides: str | os.PathLike[str], metric: str | None = None, x: str = "steps") -> Comparison:
    """Compare runs at equal steps, time, FLOPs and tokens, each side with the first, as ``danlu compare``
    does.

    ``sides``: a run (its folder, or what ``danlu.run``, ``danlu.train`` and ``danlu.runs`` give), a folder of
    runs, or a pattern. ``metric``: a name in ``metrics.jsonl`` (left out: the metric of the first side).
    ``x``: the axis of the drawn curves: steps, time, flops or tokens. Raises ``LabError`` with the sentences
    of the command line.
    """
    check_axis(x)
    found = comparison.compare([written(side) for side in sides], metric)
    return Comparison(found, x)
