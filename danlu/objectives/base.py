"""What every objective has: examples made of rows of text, a loss, and what counts in the metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray

from danlu import spec
from danlu.data import Tokenizer, document_ids
from danlu.nn import auxiliary
from danlu.objectives.language import IGNORED, nats_sum, z_sum

Ids = NDArray[np.int64]
Example = dict[str, Ids]
Key = tuple[int, ...]

_TRAINING, _HELD_OUT = 0x7461736B, 0x68656C64  # "task", "held": keep these random streams apart from others


def training_keys(seed: int, step: int, start: int, stop: int) -> list[Key]:
    """The keys of rows ``start`` to ``stop`` of global batch ``step``: what is random in a row depends on
    nothing else, so that passes, processes and a resumed run agree."""
    return [(_TRAINING, seed % 2**64, step, row) for row in range(start, stop)]


def held_out_keys(windows: Iterable[int]) -> list[Key]:
    """The keys of held-out windows by their numbers: the same at every evaluation, for every seed."""
    return [(_HELD_OUT, window) for window in windows]


class Losses(NamedTuple):
    """Scalars, each a sum over the predicted tokens: ``nats``, which is reported, and ``penalty``, which
    training minimises with it (None: nothing)."""

    nats: torch.Tensor
    penalty: torch.Tensor | None


class Objective:
    """What is predicted from what; the classes of ``danlu.objectives`` say how.

    Built by ``danlu.objectives.build(spec, tokenizer, data)``. Attributes: ``extra_ids``, the ids that it
    adds after the tokenizer's; ``vocabulary``, all of them; ``token_bytes``, int32 [vocabulary], the bytes
    of text that each stands for (none for an extra id); ``count``, the tokens predicted of a full row, the
    same for every row; ``lengths``, the positions of the model's inputs, as ``model.flops`` takes them;
    ``scope``, what is passed to the model beside the example; ``continues``, whether the model can continue a
    text.
    """

    continues = True

    def __init__(
        self,
        tokenizer: Tokenizer,
        data: spec.Data,
        *,
        z_loss: float,
        count: int,
        lengths: tuple[int, ...],
        extra_ids: int = 0,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        self.context, self.separate = data.context, data.documents == "separate"
        self.separator, self.text_ids = tokenizer.separator, tokenizer.vocabulary
        self.z_loss, self.count, self.lengths, self.extra_ids = z_loss, count, lengths, extra_ids
        self.scope = dict(scope or {})
        self.vocabulary = max(tokenizer.vocabulary + extra_ids, data.vocabulary or 0)
        beyond = np.zeros(self.vocabulary - tokenizer.vocabulary, np.int32)
        self.token_bytes = np.concatenate([tokenizer.token_bytes, beyond])

    def example(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        """From rows of text to what the model needs.

        ``inputs`` and ``targets``, int64 [rows, context], are the text and the text one token later;
        ``keys``, one for each row, decide what is random in it; ``mask``, bool [rows, context], is False
        where a held-out window has no text left. Returns int64 arrays [rows, …]: ``targets`` (``IGNORED``
        where nothing is predicted), ``tokens`` that the model sees in their place, and what else its
        ``forward`` takes, by name.
        """
        raise NotImplementedError

    def prompt(self, text: Sequence[int]) -> Example:
        """What the model is given for it to continue the ids of ``text``: int64 arrays [1, …] like an
        example's; what it writes after ``tokens``, up to the first extra id, is the continuation."""
        return {"tokens": np.array([[self.separator, *text]])}

    def takes(self, mask: NDArray[np.bool_]) -> bool:
        """Whether it predicts anything of a held-out window whose text ``mask``, bool [context], is."""
        return bool(mask.all())

    def loss(self, model: nn.Module, example: Mapping[str, torch.Tensor]) -> Losses:
        """What the example, as tensors, costs ``model``. A model in training also pays the z-loss and the
        losses that its modules have of their own; these are means per token, and so count for each."""
        inputs = {name: tensor for name, tensor in example.items() if name not in ("tokens", "targets")}
        targets = example["targets"]
        logits = model(example["tokens"], **inputs, **self.scope)
        nats = nats_sum(logits, targets)
        if not model.training:
            return Losses(nats, None)
        penalties = [self.z_loss * z_sum(logits, targets)] if self.z_loss else []
        own = auxiliary(model)
        if own is not None:
            penalties.append(own * (len(targets) * self.count))
        return Losses(nats, sum(penalties, torch.zeros_like(nats)) if penalties else None)

    def bytes_of(self, targets: Ids) -> int:
        """The bytes of text that the predicted among ``targets`` stand for."""
        return int(self.token_bytes[targets[targets != IGNORED]].sum())

    def documents(self, text: Ids) -> Example:
        """The argument that keeps attention within documents, if the experiment asks for it."""
        return {"documents": document_ids(text, self.separator)} if self.separate else {}
