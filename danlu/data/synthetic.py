"""Synthetic corpora: text that is made, whose entropy or right answers are known.

``synthetic:NAME-NUMBER…`` names one, such as ``synthetic:copy-16``. The same name is the same text
everywhere. Examples are lines, ``given=answer``. A line goes into the document that its hash says, so that no
example is on both sides of a split.
"""

from __future__ import annotations

import math
import string
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.data.sources import Document
from danlu.spec.errors import did_you_mean

PREFIX = "synthetic:"
BYTES = 3_000_000  # of text, about
DOCUMENTS, WALKS = 20, 200  # of lines; few, so that an example seldom comes twice in one context: of letters
ANSWER = "="  # what stands between the given and the answer
RARE, RARE_SHARE = string.ascii_uppercase[:20], 2e-3  # letters, and the share of all of them together
RARE_STATES = 16  # of the chain between them
_STREAM = 0x73796E74  # "synt": keeps these random streams apart from others
_LETTERS = string.ascii_lowercase
_LONGEST_SUM = 9  # digits: longer lines, which differ in digits alone, would all count as leaks

Chain = NDArray[np.float64]


class Kind(NamedTuple):
    """A family of corpora: its numbers by name, least and greatest; the documents; the entropy in bits a
    byte; what the last numbers are where they are left out; whether lines hold answers."""

    numbers: dict[str, tuple[int, int]]
    documents: Callable[..., Iterator[str]]
    entropy: Callable[..., float]
    defaults: tuple[int, ...] = ()
    answers: bool = True


class Synthetic(NamedTuple):
    """One corpus: its ``name`` and its ``numbers``."""

    name: str
    kind: Kind
    numbers: tuple[int, ...]

    @property
    def answers(self) -> bool:
        """Whether it consists of lines with a right answer after ``=``."""
        return self.kind.answers

    @property
    def entropy(self) -> float:
        """What the best possible model needs in the long run, in bits a byte."""
        return self.kind.entropy(*self.numbers)

    def documents(self) -> Iterator[Document]:
        """Its documents, the same every time."""
        for number, text in enumerate(_texts(self.name)):
            yield Document(f"{self.name}, document {number}", (text,))


@lru_cache(maxsize=1)  # a corpus is read several times over when it is prepared
def _texts(name: str) -> tuple[str, ...]:
    made = find(name)
    return tuple(made.kind.documents(*made.numbers))


def find(name: str) -> Synthetic:
    """The corpus ``name``. Raises DataError where there is none, with what there is."""
    head, *rest = name.removeprefix(PREFIX).split("-")
    if head not in KINDS:
        near = did_you_mean(head, KINDS, PREFIX)
        raise DataError(f"there is no corpus {name!r}{near}; those that are made are {', '.join(forms())}")
    kind = KINDS[head]
    least = len(kind.numbers) - len(kind.defaults)
    if not least <= len(rest) <= len(kind.numbers) or not all(n.isascii() and n.isdigit() for n in rest):
        raise DataError(f"{name!r} is not a corpus; write {_form(head)}, with whole numbers")
    given = tuple(map(int, rest))
    numbers = given + kind.defaults[len(given) - least :]
    for number, (what, (low, high)) in zip(numbers, kind.numbers.items(), strict=True):
        if not low <= number <= high:
            raise DataError(f"{name!r}: {what} is {number}; allowed: {low} to {high}")
    return Synthetic(name, kind, numbers)


def _form(head: str) -> str:
    kind = KINDS[head]
    least = len(kind.numbers) - len(kind.defaults)
    parts = [f"-{what}" if i < least else f"[-{what}]" for i, what in enumerate(kind.numbers)]
    return PREFIX + head + "".join(parts)


def forms() -> list[str]:
    """How the corpora are written."""
    return [_form(head) for head in KINDS]


def _random(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([_STREAM, *numbers])


def _lines(draw: Callable[[], list[str]]) -> Iterator[str]:
    """Documents of the lines that ``draw`` gives, as many as make up the corpus, by their hashes."""
    documents: list[list[str]] = [[] for _ in range(DOCUMENTS)]
    size = 0
    while size < BYTES:
        for line in draw():
            documents[zlib.crc32(line.encode()) % DOCUMENTS].append(line)
            size += len(line)
    yield from ("".join(lines) for lines in documents)


def _words(random: np.random.Generator, length: int) -> list[str]:
    ids = random.integers(len(_LETTERS), size=(1000, length)) + ord("a")
    return [row.tobytes().decode() for row in ids.astype(np.uint8)]


def _copy(length: int, delay: int) -> Iterator[str]:
    random = _random(1, length, delay)
    return _lines(lambda: [f"{word}{'.' * delay}{ANSWER}{word}\n" for word in _words(random, length)])


def _reverse(length: int) -> Iterator[str]:
    random = _random(2, length)
    return _lines(lambda: [f"{word}{ANSWER}{word[::-1]}\n" for word in _words(random, length)])


def _addition(digits: int) -> Iterator[str]:
    random = _random(3, digits)

    def draw() -> list[str]:
        pairs = random.integers(*_terms(digits), size=(1000, 2)).tolist()
        return [f"{a}+{b}{ANSWER}{a + b}\n" for a, b in pairs]

    return _lines(draw)


def _terms(digits: int) -> tuple[int, int]:
    """The numbers of so many digits: from, up to but not including."""
    return 10 ** (digits - 1), 10**digits


def _addition_entropy(digits: int) -> float:
    low, high = _terms(digits)
    count, below = high - low, high - 2 * low  # terms; a + b < high for below·(below + 1)/2 of the pairs
    carries = 1 - below * (below + 1) / 2 / count**2
    return 2 * math.log2(count) / (3 * digits + 3 + carries)


def _markov(states: int) -> Iterator[str]:
    return _walks(_random(4, states), chain(states))


def chain(states: int) -> Chain:
    """The transition matrix of ``synthetic:markov-STATES``, float64 (states, states): each row is drawn
    evenly from all distributions."""
    return _random(5, states).dirichlet(np.ones(states), size=states)


def _stationary(matrix: Chain) -> Chain:
    """π = πP: solved with the sum, which is 1."""
    size = len(matrix)
    equations = np.vstack([matrix.T - np.eye(size), np.ones(size)])
    solved: Chain = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0), rcond=None)[0]
    return solved


def _walks(random: np.random.Generator, matrix: Chain) -> Iterator[str]:
    """Documents that are walks from the stationary distribution, all of them at once."""
    steps = BYTES // WALKS
    rows, drawn = matrix.cumsum(axis=1), random.random((steps, WALKS))
    states = np.empty((steps, WALKS), np.uint8)
    state = np.minimum(np.searchsorted(_stationary(matrix).cumsum(), drawn[0]), len(matrix) - 1)
    for step in range(steps):
        if step:
            state = np.minimum((rows[state] < drawn[step][:, None]).sum(axis=1), len(matrix) - 1)
        states[step] = state
    for walk in states.T + np.uint8(ord("a")):
        yield walk.tobytes().decode()


def _markov_entropy(states: int) -> float:
    matrix = chain(states)
    return float(_stationary(matrix) @ -(matrix * np.log2(matrix)).sum(axis=1))


def _rare() -> Iterator[str]:
    random = _random(6)
    for walk in _walks(random, chain(RARE_STATES)):
        rare = random.random(len(walk)) < RARE_SHARE
        letters = random.integers(len(RARE), size=len(walk)).astype(np.uint8) + np.uint8(ord(RARE[0]))
        letters[~rare] = np.frombuffer(walk.encode(), np.uint8)[: np.count_nonzero(~rare)]
        yield letters.tobytes().decode()


def _rare_entropy() -> float:
    share, usual = RARE_SHARE, _markov_entropy(RARE_STATES)
    which = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    return which + share * math.log2(len(RARE)) + (1 - share) * usual


KINDS: dict[str, Kind] = {
    "copy": Kind(
        {"LENGTH": (3, 256), "DELAY": (0, 1024)},
        _copy,
        lambda length, delay: length * math.log2(len(_LETTERS)) / (2 * length + delay + 2),
        defaults=(4,),
    ),
    "reverse": Kind(
        {"LENGTH": (3, 256)},
        _reverse,
        lambda length: length * math.log2(len(_LETTERS)) / (2 * length + 2),
    ),
    "addition": Kind({"DIGITS": (2, _LONGEST_SUM)}, _addition, _addition_entropy),
    "markov": Kind({"STATES": (2, len(_LETTERS))}, _markov, _markov_entropy, answers=False),
    "rare": Kind({}, _rare, _rare_entropy, answers=False),
}
