"""A dataset: from a specification to tokens on disk, once; afterwards from the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.cache import entry_name, new_entry, version
from danlu.data.corpora import Corpus, find_corpus
from danlu.data.errors import DataError
from danlu.data.leaks import HeldOutLines
from danlu.data.split import HELD_OUT, TRAIN, split_documents
from danlu.data.tokenizers import Tokenizer, build_tokenizer, load_tokenizer
from danlu.data.tokens import Tokens, TokenWriter, open_tokens
from danlu.files.errors import FileError
from danlu.files.json import read_object, write_json
from danlu.files.paths import cache_folder, expanded
from danlu.files.read import read_bytes
from danlu.spec.data import Text, bpe_size

CHARACTERS = 128  # assumed of a text whose characters were not counted
# The files of this room that decide into which tokens a text is made: part of every cache name.
MAKERS = ("corpora", "dataset", "leaks", "sources", "split", "synthetic", "tokenizers", "tokens", "walk")

# What is read of a record.
_SPLIT = {"bytes": int, "tokens": int, "text_sha256": str}
RECORD = {"tokenizer": {"name": str, "vocabulary": int}, "splits": {"train": _SPLIT, "held_out": _SPLIT}}

_GROUP = 1 << 20  # characters

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared corpus.

    ``train`` and ``held_out`` are streams in which the separator begins every document.
    ``record`` says, in JSON, what they were made from: see ``docs/data.md``.
    """

    spec: Text
    tokenizer: Tokenizer
    train: Tokens
    held_out: Tokens
    record: dict[str, Any]
    folder: Path

    @classmethod
    def outline(cls, spec: Text, tokenizer: Any) -> Dataset:
        """A dataset without a text, for what asks only its tokenizer (``vocabulary``, ``separator``,
        ``token_bytes``): costs, a model that was trained before."""
        nothing = Tokens(Path(), tokenizer.vocabulary, "", np.empty(0, np.uint16))
        return cls(spec, tokenizer, nothing, nothing, {"splits": {}}, Path())


def prepare_text(spec: Text, *, cache: Path | None = None, progress: Progress | None = None) -> Dataset:
    """The tokens of ``spec``: made on first use, read from the cache afterwards.

    ``cache``: the cache's folder; by default ``$DANLU_CACHE`` or ``~/.cache/danlu``.
    ``progress``: is told, in one line each, what takes time and what was left out.

    Raises DataError or FileError, naming the file and the place, for text that cannot be read, a package
    that is missing, and too little text for ``spec.context``.
    """
    progress = progress or (lambda line: None)
    try:
        corpus = find_corpus(spec.corpus)
        entry = (cache or cache_folder()) / "data" / _entry_name(spec, corpus)
        if not entry.is_dir():
            with new_entry(entry) as folder:
                _make(spec, corpus, folder, progress)
        dataset = _open(spec, entry)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or spec.corpus}: {error.strerror or error}") from error
    if len(dataset.train) <= spec.context:
        raise DataError(
            f"the training text of {spec.corpus} makes {len(dataset.train)} tokens, too few for a context of "
            f"{spec.context}, which takes {spec.context + 1}: lower data.context or train on more text"
        )
    if spec.tokens is not None and spec.tokens < spec.context:
        raise DataError(
            f"data.tokens = {spec.tokens} does not fill one window of data.context = {spec.context}; "
            "raise the one or lower the other"
        )
    return replace(dataset, train=replace(dataset.train, limit=spec.tokens, noise=spec.noise))


def _entry_name(spec: Text, corpus: Corpus) -> str:
    """Names a cache entry by everything that its content depends on.

    Files count by path, size and time of change, so that nothing need be read; what was read is
    recorded by hash.
    """
    tokenizer = spec.tokenizer
    if tokenizer.endswith(".json"):
        tokenizer = hashlib.sha256(read_bytes(expanded(tokenizer))).hexdigest()
    elif bpe_size(tokenizer) is not None:
        tokenizer += f" {version('tokenizers')}"
    parts = [
        corpus.name,
        corpus.version,
        str(corpus.root.resolve()),
        corpus.files,
        tokenizer,
        spec.held_out,
        spec.text,
    ]
    return entry_name(corpus.name, MAKERS, parts)


def _open(spec: Text, entry: Path) -> Dataset:
    try:
        tokenizer = load_tokenizer(entry / "tokenizer.json")
        train, held_out = open_tokens(entry / "train.tokens"), open_tokens(entry / "held_out.tokens")
        record = read_object(entry / "record.json", RECORD)
    except (DataError, FileError) as error:
        raise DataError(f"{error}; delete {entry}, and it is prepared again") from error
    return Dataset(spec, tokenizer, train, held_out, record, entry)


def _make(spec: Text, corpus: Corpus, folder: Path, progress: Progress) -> None:
    """Writes the four files of a cache entry into ``folder``; text streams through, several times."""
    size = sum(file.size for file in corpus.files)
    progress(f"{corpus.name}: reading {len(corpus.files):,} file(s), {size / 1e6:,.1f} MB")
    what = str(corpus.root / corpus.files[0].name) if corpus.single else corpus.name
    split = split_documents(lambda: corpus.documents(spec.text), spec.held_out, what)

    def side(which: int) -> Iterator[Iterable[str]]:
        return split.take(corpus.documents(spec.text), which)

    leaks = HeldOutLines(side(HELD_OUT))
    tokenizer = build_tokenizer(spec.tokenizer, lambda: chain.from_iterable(side(TRAIN)))
    tokenizer.save(folder / "tokenizer.json")
    for note in tokenizer.notes:
        progress(note)
    progress(f"{corpus.name}: encoding as {tokenizer.name}, vocabulary {tokenizer.vocabulary:,}")
    training = map(leaks.remove_from, side(TRAIN))
    splits = {
        "train": _write(folder / "train.tokens", training, tokenizer),
        "held_out": _write(folder / "held_out.tokens", side(HELD_OUT), tokenizer),
    }
    _unchanged(spec, corpus)
    record = {
        "corpus": corpus.name,
        "path": str(corpus.root.resolve()),
        "version": corpus.version,
        "files": len(corpus.files),
        "ignored_files": corpus.ignored,
        "documents": len(split.sides),
        "empty_documents": split.empty,
        "cut_at_byte": split.cut,
        "held_out": spec.held_out,
        "held_out_share": split.held_out,
        "removed_lines": leaks.removed_lines,
        "removed_bytes": leaks.removed_bytes,
        "tokenizer": {
            "name": tokenizer.name,
            "vocabulary": tokenizer.vocabulary,
            "separator": tokenizer.separator,
        },
        "splits": splits,
    }
    write_json(folder / "record.json", record)
    for line in _remarks(record):
        progress(f"{corpus.name}: {line}")


def _write(path: Path, documents: Iterable[Iterable[str]], tokenizer: Tokenizer) -> dict[str, Any]:
    """Encodes documents into a token file; returns what the record says about it."""
    text, size, count, unknown, stood_for = hashlib.sha256(), 0, 0, 0, 0
    separator, token_bytes = np.array([tokenizer.separator]), tokenizer.token_bytes
    with TokenWriter(path, tokenizer.vocabulary) as writer:
        for group in _groups(documents):
            for (begins, piece), ids in zip(group, tokenizer.encode_all([p for _, p in group]), strict=True):
                if begins:
                    count += 1
                    text.update(b"\xff")  # never part of UTF-8: where a document begins counts, too
                    writer.write(separator)
                data = piece.encode()
                text.update(data)
                size += len(data)
                writer.write(ids)
                stood_for += int(token_bytes[ids].sum())
                if tokenizer.unknown is not None:
                    unknown += int(np.count_nonzero(ids == tokenizer.unknown))
    return {
        "documents": count,
        "bytes": size,
        "tokens": writer.count,
        "token_bytes": stood_for,
        "unknown": unknown,
        "text_sha256": text.hexdigest(),
        "tokens_sha256": writer.hash,
    }


def _groups(documents: Iterable[Iterable[str]]) -> Iterator[list[tuple[bool, str]]]:
    """Pieces of text, and whether each begins a document, in groups worth encoding in parallel.
    A document without a piece, since every line of it was removed, does not appear."""
    group: list[tuple[bool, str]] = []
    size = 0
    for pieces in documents:
        for number, piece in enumerate(pieces):
            group.append((number == 0, piece))
            size += len(piece)
            if size >= _GROUP:
                yield group
                group, size = [], 0
    yield group


def _unchanged(spec: Text, corpus: Corpus) -> None:
    """The text was read several times: it must have been the same text."""
    now = find_corpus(spec.corpus).files
    if now != corpus.files:
        changed = sorted(set(now) ^ set(corpus.files))[0].name
        raise DataError(f"{corpus.root / changed} changed while it was read: prepare the corpus again")


def _remarks(record: dict[str, Any]) -> Iterator[str]:
    if record["ignored_files"]:
        yield f"{record['ignored_files']:,} files of other kinds were not read"
    if record["empty_documents"]:
        yield f"{record['empty_documents']:,} of {record['documents']:,} documents are empty: left out"
    if record["removed_lines"]:
        yield f"{record['removed_lines']:,} training lines also occur in the held-out text and were removed"
    if record["held_out_share"] > 2 * record["held_out"]:
        yield f"the documents are so large that {record['held_out_share']:.0%} of the text is held out"
    for name, split in record["splits"].items():
        if split["unknown"]:
            yield f"{split['unknown']:,} tokens of the {name} text are unknown to the tokenizer"
        if split["token_bytes"] != split["bytes"]:
            yield (
                f"the tokens of the {name} text stand for {split['token_bytes']:,} of its "
                f"{split['bytes']:,} bytes: bits per byte are approximate"
            )


def vocabulary_of(data: Text) -> tuple[int, str]:
    """The ids of the data's tokenizer as far as they are known before the data is prepared, and a phrase on
    how. Raises ``DataError`` for a tokenizer's file that cannot be read."""
    if data.tokenizer == "bytes":
        return 257, "bytes and the separator"
    if data.tokenizer == "characters":
        return CHARACTERS, "assumed: the characters of the text are counted when it is prepared"
    if (size := bpe_size(data.tokenizer)) is not None:
        return size, f"as {data.tokenizer} says; a small text may give fewer"
    return load_tokenizer(expanded(data.tokenizer)).vocabulary, f"of {data.tokenizer}"
