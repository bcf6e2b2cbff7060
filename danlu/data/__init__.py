"""Data: text → held-out split → tokens on disk → batches. No PyTorch here: arrays are numpy's.

``prepare`` makes a source from a specification: a ``Dataset`` of text, a ``Finite`` set such as ``Images``,
endless points. ``Batches`` and ``held_out_windows`` read a dataset; ``Counter`` draws random numbers by their
place.
"""

from danlu.data.batches import Batches, document_ids, held_out_windows
from danlu.data.counter import Counter
from danlu.data.dataset import Dataset, vocabulary_of
from danlu.data.errors import DataError
from danlu.data.finite import Finite
from danlu.data.images import Images
from danlu.data.prepare import Source, prepare
from danlu.data.tokenizers import Tokenizer, load_tokenizer
from danlu.data.tokens import Tokens, open_tokens

__all__ = [
    "Batches", "Counter", "DataError", "Dataset", "Finite", "Images", "Source", "Tokenizer", "Tokens",
    "document_ids", "held_out_windows", "load_tokenizer", "open_tokens", "prepare", "vocabulary_of",
]  # fmt: skip
