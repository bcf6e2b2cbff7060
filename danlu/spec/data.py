"""Specification of the data: a corpus, a tokenizer, sequences; built by ``danlu.data``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from danlu.spec.base import PositiveInt, Spec


class Data(Spec):
    """What is read and how it becomes sequences.

    ``corpus``: a name (``python-stdlib``) or a path: a ``.txt``, ``.jsonl`` or ``.parquet``
    file, a folder, a glob, or a Hugging Face ``datasets`` folder.
    ``tokenizer``: ``bytes``, ``characters``, ``bpe:SIZE`` (trained on the training documents)
    or the path of a ``tokenizer.json``.
    ``context``: tokens in a training sequence.
    ``held_out``: the share of the text kept for evaluation, whole documents at a time.
    ``documents``: ``join`` packs documents one after another with a separator between them;
    ``separate`` also forbids attention across the separator.
    """

    corpus: str = "python-stdlib"
    tokenizer: str = "bytes"
    context: PositiveInt = 256
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    documents: Literal["join", "separate"] = "join"
    text: str = "text"  # the field or column that holds the text in .jsonl and .parquet
