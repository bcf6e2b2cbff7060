"""The ledger, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.door.record import Record, plain
from danlu.draw import Displayed, Table
from danlu.draw.page import Part
from danlu.lab import ledger as book
from danlu.lab.ledger.table import Rows, likeness, listing, sections
from danlu.lab.trial.before import before


class Entries(Sequence[Record], Displayed):
    """Entries of a ledger, each with the fields of the file as attributes. ``to_dict()`` has them all as
    plain values, as ``--json`` prints them."""

    def __init__(self, entries: Sequence[dict[str, Any]], rows: Rows) -> None:
        self._entries, self._rows = entries, rows

    def __getitem__(self, place: Any) -> Any:
        found = self._entries[place]
        return [*map(Record, found)] if isinstance(place, slice) else Record(found)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<{len(self)} entries>"

    def to_dict(self) -> list[dict[str, Any]]:
        """The same as plain values."""
        found: list[dict[str, Any]] = plain(self._entries)
        return found

    def display(self) -> list[Part]:
        return [Table(self._rows)]


class Ledger(Entries):
    """All that was asked, oldest first, as it stood when it was read; a decision reads it anew."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._look()

    def _look(self) -> None:
        self._read = book.read(self._file)
        super().__init__([entry.written() for entry in self._read], listing(self._read))

    def search(self, words: str, on: str | None = None) -> Entries:
        """What was tried before that is like ``words``, the most alike first, as ``danlu ledger search``
        lists it; ``how`` says by what each was found. ``on``: the baseline (left out: that of
        ``danlu.try_ideas``)."""
        found = before(self._read, words, on)
        return Entries(
            [{"how": one.how, **one.entry.written()} for one in found], likeness(found, self._read)
        )

    def judge(self) -> Judgement:
        """Which verdicts stand although so much was asked, how often the smallest size decided as the
        largest, and how many ideas worked."""
        return Judgement(book.judge(self._read), self._read)

    def decide(self, name: str, decision: str, because: str, revisit: str | None = None) -> Record:
        """Write a decision (adopt, reject, undecided) into the file, as ``danlu ledger decide`` does, and
        return the entry as it is now. Raises ``LabError``."""
        known: Any = decision
        entry = book.decide(self._file, name, known, because, revisit)
        self._look()
        return Record(entry.written())


class Judgement(Record, Displayed):
    """What ``danlu ledger judge --json`` prints, by attribute."""

    def __init__(self, found: book.Judgement, entries: Sequence[book.Entry]) -> None:
        super().__init__(plain(found.json()))
        self._shown = sections(found, entries)

    def __repr__(self) -> str:
        return f"<{self.asked} questions asked, {len(self.stand)} verdicts stand>"

    def display(self) -> list[Part]:
        shown: list[Part] = []
        for sentence, rows in self._shown:
            shown += [sentence, Table(rows)] if rows else [sentence]
        return shown


def ledger(file: str | os.PathLike[str] | None = None) -> Ledger:
    """The ledger in ``file``: every question that was asked, its verdict, what was decided. Left out, it is
    ``ledger.yaml`` in the working folder, empty where there is none. Raises ``LabError`` where the file that
    you name is not there, and with the line where it cannot be read."""
    return Ledger(book.named(None if file is None else Path(file)))
