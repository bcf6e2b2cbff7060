"""Tokenizers: text to ids and back, kept as JSON.

Every tokenizer has one id, the ``separator``, that stands for no text and begins each document.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.files.json import parse
from danlu.files.paths import expanded
from danlu.files.read import read_text
from danlu.files.write import write_atomically
from danlu.files.yaml import brief
from danlu.spec.data import bpe_size

Ids = NDArray[np.int64]
MOST_IDS = 1 << 24  # tables over the vocabulary are kept in memory


class Tokenizer(Protocol):
    """What the rest of danlu asks of a tokenizer."""

    name: str
    notes: tuple[str, ...]  # what was changed of a tokenizer that came from elsewhere, in sentences
    ends: frozenset[int]  # the ids at which a model that writes is done; of danlu's own models none

    @property
    def vocabulary(self) -> int:
        """The number of ids, with the separator."""

    @property
    def separator(self) -> int:
        """The id that begins a document."""

    @property
    def unknown(self) -> int | None:
        """The id of text that the tokenizer cannot express, if there can be such."""

    @property
    def token_bytes(self) -> NDArray[np.int32]:
        """int32 [vocabulary]: the bytes of UTF-8 text that each id stands for; 0 for the separator."""

    def encode(self, text: str) -> Ids:
        """The ids of ``text``: int64 [tokens]; never the separator."""

    def encode_all(self, texts: Sequence[str]) -> Iterable[Ids]:
        """The ids of each text, as ``encode`` gives them."""

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """The text of ``ids``; separators add nothing; broken UTF-8 becomes U+FFFD."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokenizer as JSON for ``load_tokenizer``."""


class _Saved:
    """Shared by the tokenizers: saving, and the check of ids to be decoded."""

    name: str
    vocabulary: int
    notes: tuple[str, ...] = ()
    ends: frozenset[int] = frozenset()

    def _json(self) -> dict[str, Any]:
        raise NotImplementedError

    def encode(self, text: str) -> Ids:
        raise NotImplementedError

    def encode_all(self, texts: Sequence[str]) -> Iterable[Ids]:
        return map(self.encode, texts)

    def save(self, path: str | os.PathLike[str]) -> None:
        text = json.dumps({"danlu": 1, **self._json()}, ensure_ascii=False)
        write_atomically(Path(path), text.encode())

    def _checked(self, ids: Sequence[int] | NDArray[Any]) -> Ids:
        array = np.asarray(ids, np.int64).reshape(-1)
        outside = (array < 0) | (array >= self.vocabulary)
        if outside.any():
            place = int(np.argmax(outside))
            raise DataError(
                f"token {array[place]} at position {place} is outside the vocabulary of {self.vocabulary}"
            )
        return array


class Bytes(_Saved):
    """The 256 byte values and a separator: needs no training and expresses every text."""

    name = "bytes"
    vocabulary = 257
    separator = 256
    unknown = None

    @cached_property
    def token_bytes(self) -> NDArray[np.int32]:
        return np.array([1] * 256 + [0], np.int32)

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        array = self._checked(ids)
        return array[array < 256].astype(np.uint8).tobytes().decode(errors="replace")

    def _json(self) -> dict[str, Any]:
        return {"kind": self.name}


class Characters(_Saved):
    """One id for each of ``characters``, one for all others (unknown), and a separator.

    An unknown character stands for no bytes in ``token_bytes``: bits per byte then come out too
    high rather than too low.
    """

    name = "characters"

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = "".join(sorted(set(characters)))
        if any("\ud800" <= character <= "\udfff" for character in self.characters):
            raise DataError("half a surrogate pair is not a character that a tokenizer can have")
        self.unknown = len(self.characters)
        self.separator = self.unknown + 1
        self.vocabulary = self.unknown + 2
        self._points = np.frombuffer(self.characters.encode("utf-32-le"), "<u4")
        self._table = np.full(int(self._points.max(initial=0)) + 2, self.unknown, np.int64)
        self._table[self._points] = np.arange(len(self.characters))

    @classmethod
    def train(cls, texts: Iterable[str]) -> Characters:
        """The tokenizer of the characters that occur in ``texts``."""
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        return cls(seen)

    @cached_property
    def token_bytes(self) -> NDArray[np.int32]:
        return np.array([len(c.encode()) for c in self.characters] + [0, 0], np.int32)

    def encode(self, text: str) -> Ids:
        points = np.frombuffer(text.encode("utf-32-le"), "<u4")
        # The last entry of the table is unknown, for every character beyond it.
        return self._table[np.minimum(points, len(self._table) - 1)]

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        letters = [*self.characters, "\ufffd", ""]
        return "".join(letters[i] for i in self._checked(ids).tolist())

    def _json(self) -> dict[str, Any]:
        return {"kind": self.name, "characters": self.characters}


class Pretrained(_Saved):
    """A tokenizer of Hugging Face's ``tokenizers``, given as the content of a ``tokenizer.json``.

    ``separator``: the id of the first of its tokens among those customary for the end of a
    text, or, where it has none, one id more than it has. Text that happens to spell such a token is encoded
    as ordinary text. Dropout of merges (BPE-dropout), with which one text has other ids every time, is turned
    off, and said in ``notes``.
    """

    _CUSTOMARY = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]")

    def __init__(
        self, content: str, name: str, where: str = "the tokenizer", ends: Iterable[int] = ()
    ) -> None:
        library = _tokenizers(name)
        settings = json.loads(content)
        model = settings["model"]
        if dropout := model.pop("dropout", None):
            content = json.dumps(settings)
            self.notes = (
                f"{name}: dropout = {dropout} is turned off, so that a text always has the same ids",
            )
        self.ends = frozenset(ends)
        try:
            self._tokenizer = library.Tokenizer.from_str(content)
        except Exception as error:  # the library raises plain Exception
            raise DataError(f"{where} is not a tokenizer.json of the tokenizers library: {error}") from error
        self.name = name
        # A file may ask for cutting and filling to one length, which would lose text.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        names = self._tokenizer.get_vocab(with_added_tokens=True)
        size = max(names.values(), default=-1) + 1
        if size > MOST_IDS:
            raise DataError(f"{where} has the id {size - 1:,}; allowed: ids below {MOST_IDS:,}")
        self.separator = next((names[token] for token in self._CUSTOMARY if token in names), size)
        self.vocabulary = max(size, self.separator + 1)
        self.unknown: int | None = names.get(model.get("unk_token"), model.get("unk_id"))

    @classmethod
    def train(cls, texts: Iterable[str], size: int, name: str) -> Pretrained:
        """A byte-level BPE of at most ``size`` ids, the separator among them. It normalises nothing,
        so it is lossless, and is the same whenever it is trained on the same text."""
        library = _tokenizers(name)
        level = library.pre_tokenizers.ByteLevel
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = level(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size - 1, initial_alphabet=sorted(level.alphabet()), show_progress=False
        )
        tokenizer.train_from_iterator(iter(texts), trainer)
        return cls(tokenizer.to_str(), name)

    @cached_property
    def token_bytes(self) -> NDArray[np.int32]:
        """Exact for byte-level BPE; for other models, from how their tokens are commonly written
        (``▁`` for a space, ``<0x0A>`` for a byte, ``##`` before a continuation)."""
        content = json.loads(self._tokenizer.to_str())
        added = {token["id"] for token in content.get("added_tokens", [])}
        level = "ByteLevel" in json.dumps([content.get("decoder"), content.get("pre_tokenizer")])
        lengths = np.zeros(self.vocabulary, np.int32)
        for token, i in self._tokenizer.get_vocab(with_added_tokens=True).items():
            if level and i not in added:
                lengths[i] = len(token)  # one letter of the byte-level alphabet for each byte
            elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                lengths[i] = 1
            else:
                lengths[i] = len(token.removeprefix("##").replace("▁", " ").encode())
        lengths[self.separator] = 0
        return lengths

    def encode(self, text: str) -> Ids:
        return next(iter(self.encode_all([text])))

    def encode_marked(self, text: str) -> Ids:
        """As ``encode``, but the name of a special token is that token: for a text in a model's chat form."""
        self._tokenizer.encode_special_tokens = False
        try:
            return self.encode(text)
        finally:
            self._tokenizer.encode_special_tokens = True

    def encode_all(self, texts: Sequence[str]) -> Iterable[Ids]:
        # In Rust, on all cores.
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return (np.array(encoding.ids, np.int64) for encoding in encoded)

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        kept = [i for i in self._checked(ids).tolist() if i != self.separator]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False))

    def _json(self) -> dict[str, Any]:
        saved = {"kind": "tokenizers", "name": self.name, "tokenizer": json.loads(self._tokenizer.to_str())}
        return saved | ({"ends": sorted(self.ends)} if self.ends else {})


def build_tokenizer(spec: str, texts: Callable[[], Iterable[str]]) -> Tokenizer:
    """The tokenizer that ``Data.tokenizer`` names; those that learn from text learn from ``texts()``.

    Raises DataError for a missing package and a file that cannot be read.
    """
    if spec == "bytes":
        return Bytes()
    if spec == "characters":
        return Characters.train(texts())
    if (size := bpe_size(spec)) is not None:
        return Pretrained.train(texts(), size, spec)
    return load_tokenizer(expanded(spec))


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads what ``Tokenizer.save`` wrote, or a ``tokenizer.json`` of the tokenizers library.

    Raises FileError where it cannot be read as JSON, DataError where it is no tokenizer.
    """
    content = read_text(path)
    try:
        saved = parse(content)
    except ValueError as error:
        raise DataError(f"the tokenizer {path} is not JSON: {error}") from None
    match saved:
        case {"danlu": 1, "kind": "bytes"}:
            return Bytes()
        case {"danlu": 1, "kind": "characters", "characters": str(characters)}:
            return Characters(characters)
        case {
            "danlu": 1,
            "kind": "tokenizers",
            "name": str(name),
            "tokenizer": {"model": dict()} as tokenizer,
        }:
            return Pretrained(json.dumps(tokenizer), name, str(path), _ends(saved.get("ends", []), path))
        case {"model": dict()}:
            return Pretrained(content, str(path), str(path))
    raise DataError(
        f"{path} is not a tokenizer: danlu did not save it, and it is not a tokenizer.json of the library "
        "tokenizers"
    )


def _ends(saved: Any, path: str | os.PathLike[str]) -> list[int]:
    if not isinstance(saved, list) or not all(type(end) is int for end in saved):
        raise DataError(f"the tokenizer {path}: ends = {brief(saved)} is not a list of ids")
    return saved


def _tokenizers(name: str) -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise DataError(
            f"the tokenizer {name!r} needs the package tokenizers: pip install 'danlu[bpe]'"
        ) from None
    return tokenizers
