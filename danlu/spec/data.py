"""Specifications of the data: text, digits, and the union of all; prepared by ``danlu.data``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator

from danlu.spec.base import PositiveInt, Probability, Spec
from danlu.spec.errors import did_you_mean
from danlu.spec.families import Family
from danlu.spec.finite import Arrays, ImageFolder, Share, Shift
from danlu.spec.points import Checkerboard, EightGaussians, Moons, Rings, Spiral
from danlu.spec.signals import Chirp, Photograph, Picture, SignedDistance

_SMALLEST_BPE = 257  # the byte values and the separator
_LARGEST_BPE = 1_000_000  # the trainer makes room for all of them first


def bpe_size(tokenizer: str) -> int | None:
    """The SIZE of ``bpe:SIZE``; None for every other tokenizer."""
    kind, colon, size = tokenizer.partition(":")
    if kind != "bpe" or not (colon and size.isascii() and size.isdigit()):
        return None
    return int(size) if len(size) <= 9 else _LARGEST_BPE + 1  # more digits than any size that is allowed


def _known_tokenizer(tokenizer: str) -> str:
    if tokenizer in ("bytes", "characters") or tokenizer.endswith(".json"):
        return tokenizer
    size = bpe_size(tokenizer)
    if size is None:
        raise ValueError(
            f"{tokenizer!r} is not a tokenizer; allowed: bytes, characters, bpe:SIZE (such as bpe:4096) or "
            f"the path of a tokenizer.json{did_you_mean(tokenizer, ['bytes', 'characters', 'bpe:4096'])}"
        )
    if not _SMALLEST_BPE <= size <= _LARGEST_BPE:
        raise ValueError(
            f"{tokenizer!r} is too {'small' if size < _SMALLEST_BPE else 'large'}: byte-level BPE takes "
            f"{_SMALLEST_BPE} to {_LARGEST_BPE:,} ids"
        )
    return tokenizer


class Text(Spec):
    """What is read and how it becomes sequences of tokens.

    ``corpus``: a name (``python-stdlib``) or a path: a ``.txt``, ``.jsonl`` or ``.parquet``
    file, a folder, a glob, or a Hugging Face ``datasets`` folder.
    ``tokenizer``: ``bytes``, ``characters``, ``bpe:SIZE`` (trained on the training documents)
    or the path of a ``tokenizer.json``.
    ``context``: tokens in a training sequence.
    ``tokens``: train on so many of the training text and no others, windows from all over it (left out: on
    all of it); what is held out stays.
    ``noise``: the share of the training tokens that are wrong, each replaced by one from elsewhere in the
    text: the same ones for every seed and in every epoch. What is held out stays clean.
    ``held_out``: the share of the text kept for evaluation, whole documents at a time.
    ``documents``: ``join`` packs documents one after another with a separator between them;
    ``separate`` also forbids attention across the separator.
    ``vocabulary``: ids that the model has, where they are more than tokenizer and objective need (a model
    from elsewhere, whose embedding was filled up to a round number).
    """

    unit: ClassVar[str] = "token"  # what runs are counted in
    kind: Literal["text"] = "text"
    corpus: str = "python-stdlib"
    tokenizer: Annotated[str, AfterValidator(_known_tokenizer)] = "bytes"
    context: PositiveInt = 256
    tokens: PositiveInt | None = None
    noise: Probability = 0.0
    held_out: Share = 0.1
    documents: Literal["join", "separate"] = "join"
    vocabulary: PositiveInt | None = None
    text: str = "text"  # the field or column that holds the text in .jsonl and .parquet

    @property
    def size(self) -> int:
        """Units in one example: the tokens of a sequence."""
        return self.context

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the corpus {self.corpus}"


class Digits(Spec):
    """1,797 images of handwritten digits, 8 × 8 pixels of 17 shades (Alpaydin & Kaynak 1998; they come with
    scikit-learn: ``pip install 'danlu[images]'``).

    ``held_out``: the share of the images kept for evaluation, the same ones for every seed. ``shift``: move
    every training image by up to so many pixels each way, drawn anew for each update. ``label_noise``: the
    share of the training images whose class is another one, drawn once, the same for every seed.
    """

    unit: ClassVar[str] = "image"
    name: ClassVar[str] = "the images of digits"
    size: ClassVar[int] = 1
    shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)  # channels, height, width
    shades: ClassVar[int] = 17  # that a pixel may have, from 0 to 1 at equal distances
    classes: ClassVar[int] = 10
    kind: Literal["digits"] = "digits"
    held_out: Share = 0.2
    shift: Shift = 0
    label_noise: Probability = 0.0


def _a_table(file: str) -> str:
    if not file.lower().endswith((".csv", ".parquet", ".npz")):
        raise ValueError(f"{file!r} is no table that can be read; allowed: a .csv, .parquet or .npz file")
    return file


class Table(Spec):
    """A table with a label in every row: a ``file`` .csv (with a line of names), .parquet, or .npz (an array
    for each column).

    ``label``: the column that says the class. ``columns``: those to predict it from (left out: all others).
    ``categories``: those of them that hold words, each of which becomes a column of its own. The others hold
    numbers, and are ``scaled`` to go from 0 to 1 over the training rows. ``held_out``: the share of the rows
    kept for evaluation, the same ones for every seed."""

    unit: ClassVar[str] = "row"
    size: ClassVar[int] = 1
    kind: Literal["table"] = "table"
    file: Annotated[str, AfterValidator(_a_table)]
    label: str
    columns: tuple[str, ...] | None = None
    categories: tuple[str, ...] = ()
    scaled: bool = True
    held_out: Share = 0.2

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the table {self.file}"

    @model_validator(mode="after")
    def _label_apart(self) -> Table:
        if self.label in (*(self.columns or ()), *self.categories):
            raise ValueError(f"label = {self.label} is what is predicted; leave it out of the columns")
        if self.columns is not None and (odd := [c for c in self.categories if c not in self.columns]):
            raise ValueError(f"categories: {odd[0]} is not among columns; name it there too")
        return self


class Bigrams(Spec):
    """Which token follows which in a corpus: rows are tokens, each a column of its own, and classes are what
    follows. The fields are those of text."""

    unit: ClassVar[str] = "row"
    size: ClassVar[int] = 1
    kind: Literal["bigrams"] = "bigrams"
    corpus: str = "python-stdlib"
    tokenizer: Annotated[str, AfterValidator(_known_tokenizer)] = "bytes"
    held_out: Share = 0.1
    text: str = "text"

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the pairs of tokens of {self.corpus}"


class OwnData(Spec):
    """What the specifications of own data are made on. ``like``: the kind of danlu's that it can stand for,
    ``digits`` for images, of ``shape`` and ``classes``; ``unit``: what runs are counted in."""

    kind: str
    unit: ClassVar[str] = "example"
    size: ClassVar[int] = 1
    like: ClassVar[str] = ""
    shape: ClassVar[tuple[int, ...]] = ()
    classes: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"the data {self.kind}"


DATA = Family("data", base=OwnData, place="data")
Data = Annotated[
    Text
    | Digits
    | EightGaussians
    | Moons
    | Checkerboard
    | Spiral
    | Rings
    | ImageFolder
    | Arrays
    | Table
    | Bigrams
    | Photograph
    | Picture
    | Chirp
    | SignedDistance,
    DATA,
]
