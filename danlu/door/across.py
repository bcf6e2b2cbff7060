"""Ideas tried over sizes, from Python."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from danlu.door.experiment import Word, to_words, written
from danlu.door.record import Record
from danlu.draw import Displayed, Table
from danlu.draw.page import Part
from danlu.files.write import write_atomically
from danlu.lab.across import Across, Question, try_across
from danlu.lab.across.report import figure, report
from danlu.lab.across.terminal import details, sentence, table
from danlu.lab.ledger import LEDGER
from danlu.lab.statistics.across import known
from danlu.lab.study import STUDIES
from danlu.spec.words import in_full, split


class AcrossScale(Record, Displayed):
    """What a study over sizes found: ``ideas``, each with what ``danlu try --across-scale --json`` prints
    (``verdict``, ``gain``, ``rungs`` …), the plan ``rungs``, the ``cost`` of all. ``report``: its page."""

    def __init__(self, answer: Across) -> None:
        super().__init__(answer.json())
        self._answer, self.report = answer, answer.study.report

    def __repr__(self) -> str:
        return "; ".join(sentence(idea, self._answer) for idea in self._answer.ideas)

    def display(self) -> list[Part]:
        charts = [figure(idea) for idea in self._answer.ideas if known(idea.gains)]
        return [repr(self), *charts, Table(table(self._answer), names=(0,)), "\n".join(details(self._answer))]


def try_across_scale(
    *ideas: Word,
    on: str = "",
    rungs: int = 4,
    seeds: int = 5,
    gates: bool = True,
    studies: str | os.PathLike[str] = STUDIES,
    workers: int | None = None,
    ledger: str | os.PathLike[str] | None = LEDGER,
    progress: bool = True,
    **settings: Any,
) -> AcrossScale:
    """What is an idea worth in compute, and does that last? What ``danlu try --across-scale`` does.

    ``ideas``, ``on`` and ``settings``: as of ``danlu.try_ideas``. ``rungs``: sizes, each about four times the
    compute of the one before; ``seeds``: pairs at the first, fewer at the dear ones. ``gates``: end an idea
    between two rungs when it has no chance left to be shown better; without them all rungs run. ``ledger``:
    None: no ledger is told. Raises ``DanluError`` with the sentences of the command line.
    """
    on = written(on)
    if settings:
        on = shlex.join(in_full([*split(on), *to_words(settings)]))
    question = Question(tuple(map(written, ideas)), on, rungs, seeds, gates=gates)
    book = None if ledger is None else Path(ledger)
    answer = try_across(question, Path(studies), workers=workers, show=progress, book=book)
    write_atomically(answer.study.report, report(answer).encode())
    return AcrossScale(answer)
