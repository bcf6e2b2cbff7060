"""Objectives on text: what all have in common, and what a prediction of tokens costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from numpy.typing import NDArray

from danlu.data import Batches, DataError, Dataset, document_ids, held_out_windows
from danlu.models.ends import Reduction
from danlu.nn import auxiliary
from danlu.objectives.base import (
    Draw,
    Example,
    HeldOut,
    Losses,
    Objective,
    Sample,
    Tensors,
    beside,
    padded,
    unwrapped,
)
from danlu.objectives.chunks import can_be_read_in_parts, positions_at_once
from danlu.objectives.distil import Distillation
from danlu.spec.objectives import BITS_PER_BYTE, HELD_OUT_LOSS
from danlu.spec.teachers import Teacher

Ids = NDArray[np.int64]
Key = tuple[int, ...]

IGNORED = -100  # the target of a position that predicts nothing: what cross_entropy leaves out
SAMPLE_TOKENS = 200
# Of an example: all else goes to the model by name.
_OWN = ("tokens", "targets", "weights", "draws", "matched", "samples")
_TRAINING, _HELD_OUT = 0x7461736B, 0x68656C64  # keep these random streams apart from others


def training_keys(seed: int, step: int, start: int, stop: int) -> list[Key]:
    """The keys of rows ``start`` to ``stop`` of global batch ``step``: what is random in a row depends on
    nothing else, so that passes, processes and a resumed run agree."""
    return [(_TRAINING, seed % 2**64, step, row) for row in range(start, stop)]


def held_out_keys(windows: Iterable[int]) -> list[Key]:
    """The keys of held-out windows by their numbers: the same at every evaluation, for every seed."""
    return [(_HELD_OUT, window) for window in windows]


class Language(Objective):
    """What is predicted from what in rows of text; the classes of ``danlu.objectives`` say how.

    Attributes besides ``Objective``'s: ``extra_ids``, the ids that the objective adds after the tokenizer's;
    ``vocabulary``, all of them; ``known``: how many of them, the first, stand for something; ``taught``: by
    what teacher (None: by none); ``token_bytes``, int32 [vocabulary], the bytes of text that each stands for
    (none for an extra id); ``scope``, what is passed to the model beside the example; ``continues``, whether
    the model can continue a text; ``rounds``, how often each held-out window is asked, each time with other
    random numbers.
    """

    metrics = BITS_PER_BYTE, HELD_OUT_LOSS
    unit = term = "token"
    continues = True
    rounds = 1
    smoothing = 0.0

    def __init__(
        self,
        source: Dataset,
        *,
        z_loss: float,
        count: int,
        lengths: tuple[int, ...],
        extra_ids: int = 0,
        scope: Mapping[str, Any] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        data, tokenizer = source.spec, source.tokenizer
        self.source, self.tokenizer = source, tokenizer
        self.size = self.context = data.context
        self.separate = data.documents == "separate"
        self.separator, self.text_ids = tokenizer.separator, tokenizer.vocabulary
        self.z_loss, self.count, self.lengths, self.extra_ids = z_loss, count, lengths, extra_ids
        self.scope = dict(scope or {})
        self.taught = None if teacher is None else Distillation(teacher)
        self.known = tokenizer.vocabulary + extra_ids
        self.vocabulary = max(tokenizer.vocabulary + extra_ids, data.vocabulary or 0)
        self.inputs = self.vocabulary, max(lengths)
        beyond = np.zeros(self.vocabulary - tokenizer.vocabulary, np.int32)
        self.token_bytes = np.concatenate([tokenizer.token_bytes, beyond])
        self.record = source.record
        self._batches = lru_cache(maxsize=2)(
            lambda seed: Batches(source.train, context=self.context, seed=seed)
        )
        self._bytes = torch.from_numpy(self.token_bytes.astype(np.int64))

    # ---------------------------------------------------------------- examples

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        """From rows of text to what the model needs.

        ``inputs`` and ``targets``, int64 [rows, context], are the text and the text one token later;
        ``keys``, one for each row, decide what is random in it; ``mask``, bool [rows, context], is False
        where a held-out window has no text left. Returns int64 arrays [rows, …]: ``targets`` (``IGNORED``
        where nothing is predicted), ``tokens`` that the model sees in their place, and what else its
        ``forward`` takes, by name; ``weights``, float32 [rows], where the rows' losses are weighted.
        """
        raise NotImplementedError

    def takes(self, mask: NDArray[np.bool_]) -> bool:
        """Whether it predicts anything of a held-out window whose text ``mask``, bool [context], is."""
        return bool(mask.all())

    def example(self, draw: Draw) -> Example:
        rows = self._batches(draw.seed).rows(draw.first + draw.start, draw.stop - draw.start)
        made = self.make(*rows, training_keys(draw.seed, draw.step, draw.start, draw.stop))
        return made if self.taught is None else made | self.taught.example(self, draw)

    def held_out(self, limit: int | None = None) -> HeldOut:
        """The windows of held-out text of which something is predicted, of the first ``limit`` tokens."""
        text = self.source.held_out
        windows = held_out_windows(text, self.context, limit_tokens=limit)
        taken = [window for window in windows if self.takes(window[2])]
        if not taken:
            raise DataError(
                f"nothing of the held-out text can be scored: it has {len(text)} tokens, of which "
                f"train.evaluate_tokens = {limit or 'none'} are read, and the objective needs more of one "
                f"window of {self.context}; lower data.context or raise data.held_out"
            )

        def example(places: Sequence[int], rows: int | None = None) -> Example:
            mine = list(places) or [0]
            inputs, targets, mask = (
                np.stack(part) for part in zip(*(taken[i // self.rounds] for i in mine), strict=True)
            )
            made = self.make(inputs, targets, held_out_keys(mine), mask)
            return filled(made, len(places), len(mine) if rows is None else rows)

        return HeldOut(len(taken) * self.rounds, example)

    def documents(self, text: Ids) -> Example:
        """The argument that keeps attention within documents, if the experiment asks for it."""
        return {"documents": document_ids(text, self.separator)} if self.separate else {}

    # ---------------------------------------------------------------- loss and metric

    def logits(self, model: nn.Module, example: Tensors) -> torch.Tensor:
        """What ``model`` makes of an example: (rows, positions, ids that are predicted)."""
        return self._cut(self.run(model, example))

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        """Nats, over the predicted tokens. A model in training also pays the z-loss and the losses that its
        modules have of their own; these are means per token, and so count for each. So does one that is
        taught: what that adds to −ln p counts as a penalty, so that losses mean the same with and without."""
        if self.taught is not None and model.training:
            example = self.taught.text(self, model, example)
        targets, weights = example["targets"], example.get("weights")
        taught = self.taught if model.training else None
        members = getattr(model, "members", None)
        rows = positions_at_once(targets.device.type, targets.numel(), self.vocabulary)
        if rows is not None and taught is None and members is None and can_be_read_in_parts(model):
            nats, penalties = self._in_parts(model, example, rows)
        else:
            if taught is not None:
                logits, states = taught.logits(self, model, example)
            else:
                logits, states = self.logits(model, example), []
            share = getattr(unwrapped(model), "share", None)
            if share is not None:  # logits are of some positions
                targets = share.part(targets, 1)
            given = logits, targets, weights, members
            nats = nats_sum(*given)
            sums = [nats, *(self._penalties(nats, *given) if model.training else [])]
            nats, *penalties = sums if share is None else map(share.sum, sums)
            if taught is not None and "matched" in example:
                return Losses(nats.detach(), taught.matching(self, model, example))
            if taught is not None:
                soft = taught.penalty(self, model, logits, states, nats, example)
                penalties += [] if soft is None else [soft]
        if not model.training:
            return Losses(nats, None)
        own = auxiliary(model)
        if own is not None:
            penalties.append(own * (len(targets) * self.count))
        return Losses(nats, sum(penalties, torch.zeros_like(nats)) if penalties else None)

    def _penalties(
        self,
        nats: torch.Tensor,
        logits: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        members: int | None = None,
    ) -> list[torch.Tensor]:
        """What training adds to ``nats`` for the logits themselves."""
        given = targets, weights, members
        penalties = [self.z_loss * z_sum(logits, *given)] if self.z_loss else []
        if self.smoothing:
            even = smooth_sum(logits[..., : self.known], *given)
            penalties.append(self.smoothing * (even - nats))
        return penalties

    def _in_parts(
        self, model: nn.Module, example: Tensors, rows: int
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Nats and penalties, the logits of ``rows`` positions at a time, within the model's own pass."""
        targets, weights, training = example["targets"], example.get("weights"), model.training

        def sums(logits: torch.Tensor, wanted: torch.Tensor, *each: torch.Tensor) -> torch.Tensor:
            given = self._cut(logits)[:, None], wanted[:, None], each[0] if each else None
            nats = nats_sum(*given)
            return torch.stack([nats, *(self._penalties(nats, *given) if training else [])])

        each = () if weights is None else (weights[:, None].expand_as(targets),)
        reduction = Reduction(sums, (targets, *each), rows)
        nats, *penalties = self.run(model, example, reduction=reduction).unbind()
        return nats, penalties

    def _cut(self, logits: torch.Tensor) -> torch.Tensor:
        """Those of the ids that are predicted."""
        return logits if logits.shape[-1] == self.predicted else logits[..., : self.predicted]

    @property
    def predicted(self) -> int:
        """The number of ids that are predicted, the first of the vocabulary."""
        return self.vocabulary

    def run(self, model: nn.Module, example: Tensors, **more: Any) -> torch.Tensor:
        """What ``model`` returns for an example."""
        tokens, named = self.inputs_of(example)
        made: torch.Tensor = model(tokens, **named, **more)
        return made

    def inputs_of(self, example: Tensors) -> tuple[torch.Tensor, dict[str, Any]]:
        inputs = {name: tensor for name, tensor in example.items() if name not in _OWN}
        return example["tokens"], inputs | self.scope

    def attach(self, model: nn.Module, seed: int) -> None:
        if self.taught is not None:
            self.taught.attach(model, seed)

    def begin(self, model: Any) -> None:
        if self.taught is not None and self.taught.model is not None:
            self.taught.model.compute = model.compute
            self.taught.begin(model)

    def beside(self, model: nn.Module) -> float:
        if self.taught is None or self.taught.model is None:
            return 0
        return self.taught.flops(self, model)

    def scored(self, example: Tensors) -> torch.Tensor:
        """The tokens of text that the loss is of, by which metrics divide it: int64 (rows, positions),
        ``IGNORED`` elsewhere."""
        return example["targets"]

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        text = self.scored(example)
        counted = text != IGNORED
        self._bytes = self._bytes.to(text.device)
        size = self._bytes[text.masked_fill(~counted, 0)].masked_fill(~counted, 0)
        tokens, text_bytes = (_sum(each, None, getattr(model, "members", None)) for each in (counted, size))
        return {"nats": self.loss(model, example).total, "tokens": tokens, "bytes": text_bytes}

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        nats = sums["nats"]
        return {
            "bits_per_byte": bits_per_byte(nats, int(sums["bytes"])),
            "held_out_loss": nats / sums["tokens"],
        }

    # ---------------------------------------------------------------- writing

    def prompt(self, text: Sequence[int]) -> Example:
        """What the model is given for it to continue the ids of ``text``: int64 arrays [1, …] like an
        example's; what it writes after ``tokens``, up to the first extra id, is the continuation."""
        return {"tokens": np.array([[self.separator, *text]])}

    def write(self, model: Any, prompt: str | Ids, *, count: int, **how: Any) -> str:
        """The continuation of ``prompt`` by ``count`` tokens (of a fresh document if the prompt is empty);
        where the prompt is ids, the model is given just them, with no separator before.

        A tokenizer that says where texts end ends it there; an encoder-decoder ends where the span ends that
        it fills in after the prompt. ``how``: as
        ``danlu.models.generate`` takes it (temperature, top_k, top_p, seed).
        """
        known = self.tokenizer
        if isinstance(prompt, str):
            tokens = self.follow(model, known.encode(prompt).tolist(), count, **how)
        else:
            tokens = self.follow(model, prompt.tolist(), count, bare=True, **how)
        ids = takewhile(lambda token: token < known.vocabulary and token not in known.ends, tokens)
        return known.decode(list(ids))

    def follow(
        self, model: Any, text: Sequence[int], count: int, *, bare: bool = False, **how: Any
    ) -> Iterator[int]:
        """The ids that the model writes after those of ``text``, at most ``count``; ``bare``: nothing is put
        before them, as an objective of decoders can have it."""
        from danlu.models import EncoderDecoder, generate

        given = {"tokens": np.array([text])} if bare else self.prompt(text)
        begin, context, memory = beside(model, given["tokens"]), self.lengths[0], None
        if isinstance(model, EncoderDecoder):
            memory = model.encode(beside(model, given["encoder_tokens"]))
            count = min(count, context - begin.shape[1])  # further than this it has never written
        yield from map(int, generate(model, begin, count=count, context=context, memory=memory, **how))

    def sample(self, model: nn.Module) -> Sample | None:
        return Sample("text", self.write(model, "", count=SAMPLE_TOKENS)) if self.continues else None

    def about(self) -> str:
        said = f"{len(self.source.train):,} training tokens of {self.source.spec.corpus}"
        copied = [] if self.taught is None else self.taught.copied
        return f"{said} · {len(copied)} tensors of weights begin as the teacher's" if copied else said


def filled(example: Example, count: int, rows: int) -> Example:
    """The example with ``rows`` rows, of which those from ``count`` on predict nothing."""
    example = padded(example, rows)
    if count < rows:
        example["targets"] = example["targets"].copy()
        example["targets"][count:] = IGNORED
    return example


def nats_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    members: int | None = None,
) -> torch.Tensor:
    """The sum over the targets of −log p(target), in nats: a scalar of the logits' type; of ``members``
    (``danlu.nn.stacked``) one for each.

    Shapes: ``logits`` (batch, positions, vocabulary); ``targets`` (batch, positions), int64, ``IGNORED``
    where nothing is predicted; ``weights`` (batch), of the rows (None: all 1). A sum and not a mean, so that
    the loss per token of a global batch is the same however the batch is divided among passes and processes.
    """
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return _sum(nats.view_as(targets), weights, members)


def _sum(each: torch.Tensor, weights: torch.Tensor | None, members: int | None) -> torch.Tensor:
    """Of (batch, positions) numbers, whose rows have ``weights``: a scalar, or (members,). A network alone
    adds in the order in which it does as a member."""
    rows = each.sum(1) if weights is None else each.sum(1) * weights
    sums = rows.view(members or 1, -1).sum(1)
    return sums[0] if members is None else sums


def z_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    members: int | None = None,
) -> torch.Tensor:
    """The sum over the targets of (ln Σe^z)² of the logits z (Chowdhery et al. 2022, PaLM, section 5):
    zero where the logits are the logarithms of probabilities. Shapes as in ``nats_sum``."""
    squares = logits.logsumexp(dim=-1).masked_fill(targets == IGNORED, 0.0).square()
    return _sum(squares, weights, members)


def smooth_sum(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    members: int | None = None,
) -> torch.Tensor:
    """The sum over the targets of the mean of −log p over all tokens. Shapes as in ``nats_sum``."""
    nats = (logits.logsumexp(dim=-1) - logits.mean(dim=-1)).masked_fill(targets == IGNORED, 0.0)
    return _sum(nats, weights, members)


def loss_sum(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """``nats_sum`` of what ``model`` makes of ``inputs`` (batch, positions): the loss of a decoder that is
    used without an objective."""
    return nats_sum(model(inputs), targets)


def bits_per_byte(nats: float, bytes_: int) -> float:
    """Bits that the model needs for a byte of text: comparable across tokenizers."""
    return nats / math.log(2) / bytes_
