"""Ideas tried against a baseline, from Python."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from danlu.door.experiment import Word, to_words, written
from danlu.door.record import Record, plain
from danlu.draw import Displayed, Table
from danlu.draw.page import Part
from danlu.files.write import write_atomically
from danlu.lab.ledger import LEDGER
from danlu.lab.study import STUDIES
from danlu.lab.trial import Answer, Finding, Question
from danlu.lab.trial import try_ideas as carry_out
from danlu.lab.trial.answer import EQUAL
from danlu.lab.trial.question import PAIRS
from danlu.lab.trial.report import differences, report
from danlu.lab.trial.terminal import details, table
from danlu.lab.trial.words import answered
from danlu.spec.words import in_full, split


class Verdict(Record, Displayed):
    """What is known of an idea where one thing is equal on both sides: ``idea``, ``at`` (steps, flops, time),
    ``verdict`` (better, worse, not shown, not measured, void), the ``regime`` that it holds in (``early``:
    why it says little of longer runs), ``difference`` and its ``interval``, ``p``, ``pairs`` and all else
    that ``danlu try --json`` says of it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.json())
        self._finding = finding

    def __repr__(self) -> str:
        pairs, interval = self._finding.pairs, self._finding.interval
        unit = pairs.metric.unit or pairs.metric.words
        said = f"{pairs.idea} at equal {EQUAL[pairs.at]}: {self._finding.said}"
        if self.difference is not None:
            said += f", {interval.value:+.4f} {unit}"
        if self.interval[0] is not None:
            said += f" ({interval.low:+.4f} … {interval.high:+.4f})"
        return said

    def display(self) -> list[Part]:
        return [repr(self), differences([self._finding])]


class Trial(Sequence[Verdict], Displayed):
    """The verdicts of a study, idea by idea; ``folder``: where it is kept, ``report``: its page."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._verdicts = tuple(map(Verdict, answer.findings))
        self.folder, self.report = answer.study.path, answer.study.report

    def __getitem__(self, place: Any) -> Any:
        return self._verdicts[place]

    def __len__(self) -> int:
        return len(self._verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self._verdicts)

    def at(self, equal: str) -> tuple[Verdict, ...]:
        """The verdicts at equal ``steps``, ``flops`` or ``time``."""
        return tuple(verdict for verdict in self if verdict.at == equal)

    def to_dict(self) -> list[dict[str, Any]]:
        """What ``danlu try --json`` prints."""
        found: list[dict[str, Any]] = plain([finding.json() for finding in self._answer.findings])
        return found

    def __repr__(self) -> str:
        said = ", ".join(f"{f.pairs.idea} {f.said}" for f in self._answer.findings if f.pairs.at == "steps")
        return f"<on {self._answer.question.on}, at equal steps: {said}>"

    def display(self) -> list[Part]:
        rows = [row[:-1] for row in table(self._answer)]
        first = answered(self._answer)
        chart, last = differences(self._answer.findings), "\n".join(details(self._answer))
        return ["\n".join(first), self._answer.what, Table(rows, names=(0,)), chart, last]


def try_ideas(
    *ideas: Word,
    on: str = "",
    seeds: int = PAIRS,
    budget: str | None = None,
    tune: str | None = "lr",
    stop_early: bool = False,
    studies: str | os.PathLike[str] = STUDIES,
    workers: int | None = None,
    ledger: str | os.PathLike[str] | None = LEDGER,
    progress: bool = True,
    **settings: Any,
) -> Trial:
    """Does an idea help? What ``danlu try`` does, and the verdicts that it prints.

    ``ideas``: names of the catalog or of ``danlu.idea``, several joined (``"qk-norm+swiglu"``),
    ``"field=value …"``, YAML files. ``on``: the words of the baseline (left out: what the idea is for);
    ``settings``: fields of it, as in ``danlu.experiment``. ``tune``: ``lr``, each side at its own best rate;
    ``none``: at the rates as they are. ``ledger``: the file that remembers the verdicts; None: none does.
    Raises ``DanluError`` with the sentences of the command line.
    """
    on = written(on)
    if settings:
        on = shlex.join(in_full([*split(on), *to_words(settings)]))
    tune = None if tune == "none" else tune
    question = Question(tuple(map(written, ideas)), on, seeds, budget, tune, stop_early)
    book = None if ledger is None else Path(ledger)
    answer = carry_out(question, Path(studies), workers=workers, show=progress, book=book)
    write_atomically(answer.study.report, report(answer).encode())
    return Trial(answer)
