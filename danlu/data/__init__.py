"""Data: text → held-out split → tokens on disk → batches. No PyTorch here: arrays are numpy's.

``prepare`` makes a ``Dataset`` from a specification; ``Batches`` and ``held_out_windows`` read it.
"""

from danlu.data.batches import Batches, document_ids, held_out_windows
from danlu.data.dataset import Dataset, prepare
from danlu.data.errors import DataError
from danlu.data.tokenizers import Tokenizer, load_tokenizer
from danlu.data.tokens import Tokens, open_tokens

__all__ = [
    "Batches", "DataError", "Dataset", "Tokenizer", "Tokens",
    "document_ids", "held_out_windows", "load_tokenizer", "open_tokens", "prepare",
]  # fmt: skip
