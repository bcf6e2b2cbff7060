"""Distillation: what a network learns from the probabilities of another beside its data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn as nn

from danlu.data import Counter
from danlu.objectives.base import Draw, Example, Tensors, unwrapped
from danlu.objectives.hidden import NAME, Maps, outputs, pairs, predicted
from danlu.objectives.soft_targets import SoftTargets
from danlu.optim.alike import own
from danlu.optim.base import local
from danlu.spec.teachers import JSD, Divergence, Reverse, Teacher

if TYPE_CHECKING:
    from danlu.objectives.language import Language

_WRITES, _WHEN = 0x77726974, 0x7768656E  # of what the student writes, and when: streams apart from others


def divergence(kind: Divergence, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """D of two distributions over the last dimension, given their logarithms (…, classes), in nats: (…)."""
    beta = kind.beta if isinstance(kind, JSD) else float(isinstance(kind, Reverse))
    if beta == 0:
        return _kl(teacher, student)
    if beta == 1:
        return _kl(student, teacher)
    mixed = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    return beta * _kl(teacher, mixed) + (1 - beta) * _kl(student, mixed)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p.exp() * (p - q)).sum(-1)


def with_tail(logs: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The logarithms of probabilities (…, classes) of the classes ``ids`` (…, k) and of all others together:
    (…, k + 1); without the last, where there are no others."""
    chosen = logs.gather(-1, ids)
    if ids.shape[-1] == logs.shape[-1]:
        return chosen
    rest = logs.scatter(-1, ids, float("-inf")).logsumexp(-1, keepdim=True)
    return torch.cat((chosen, rest), dim=-1)


class Distillation:
    """The settings of a teacher, and, after ``take``, its network, frozen and in evaluation mode."""

    def __init__(self, settings: Teacher) -> None:
        self.settings = settings
        self.model: Any = None
        self.kept: SoftTargets | None = None
        self.copied: list[str] = []  # the names of weights that ``begin`` has copied
        self._asked, self._said = self._ask, self._say

    def take(self, objective: Language, teacher: Any, model: nn.Module) -> None:
        """Learn from ``model``, which was trained by ``teacher``, an objective of the same kind. Raises
        ``ValueError`` where it predicts other tokens or reads less text."""
        if not alike(teacher.tokenizer, objective.tokenizer):
            raise ValueError(
                f"it has another tokenizer ({teacher.tokenizer.name}, {teacher.text_ids:,} ids), and this "
                f"run has {objective.tokenizer.name} of {objective.text_ids:,} ids, so its probabilities are "
                "of other tokens: set data.tokenizer to the teacher's tokenizer.json"
            )
        if teacher.context < objective.context:
            raise ValueError(
                f"it was trained on contexts of {teacher.context}, and data.context = {objective.context}; "
                f"set data.context = {teacher.context} or less"
            )
        self.model = model.eval().requires_grad_(False)
        # This imports the compiler, as only taught runs may.
        self._asked, self._said = (torch.compiler.disable(one) for one in (self._ask, self._say))

    def begin(self, model: nn.Module) -> None:
        """Copy the teacher's weights into ``model`` where names and shapes agree, if that is asked for."""
        if not self.settings.copy_weights:
            return
        given = self.model.state_dict()
        mine = model.state_dict()
        same = sorted(name for name in mine if name in given and given[name].shape == mine[name].shape)
        with torch.no_grad():
            for name in same:
                local(mine[name]).copy_(own(given[name], mine[name]))
        self.copied = same

    def attach(self, model: nn.Module, seed: int) -> None:
        """Give the student the maps from its hidden states to the teacher's, if these are asked for."""
        if self.settings.hidden is not None and self.model is not None:
            model.add_module(NAME, Maps(*self._widths(model), seed))

    def _widths(self, model: Any) -> tuple[list[tuple[int, int]], int, int]:
        """The pairs of blocks, the student's width, the teacher's."""
        assert self.settings.hidden is not None
        mine, others = model.blocks, self.model.blocks
        return (
            pairs(len(mine), len(others), self.settings.hidden.pairs), mine[0].width, others[0].width
        )  # fmt: skip

    def flops(self, objective: Language, model: nn.Module) -> float:
        """FLOPs of what an example costs beside the student's own update: forward passes over it, and the
        maps of hidden states, forward and backward."""
        settings, maps = self.settings, 0
        asked = settings.weight or settings.hidden is not None
        if settings.hidden is not None:
            of, mine, others = self._widths(model)
            maps = 6 * objective.count * mine * others * len(of)
        writes = settings.on_policy * objective.flops(model)
        return (objective.flops(self.model) if asked else 0) + writes + maps

    def example(self, objective: Language, draw: Draw) -> Example:
        """What an example of text has besides: ``draws``, float32 [rows, tokens to be written], where the
        student writes; ``matched``, of no numbers, where blocks are brought together."""
        settings = self.settings
        if draw.step < settings.blocks:
            return {"matched": Counter(0, 0).uniform(draw.start, draw.stop, 1)[:, :0].astype("float32")}
        when = Counter(draw.seed, draw.step, _WHEN).uniform(0, 1, 1)[0, 0]
        if when >= settings.on_policy:
            first = np.array([draw.first + draw.start]).repeat(draw.stop - draw.start)
            return {"samples": first} if self.kept is not None else {}
        count = objective.context + 1 - _given(objective.context)
        drawn = Counter(draw.seed, draw.step, _WRITES).uniform(draw.start, draw.stop, count)
        return {"draws": drawn.astype("float32")}

    def text(self, objective: Language, model: nn.Module, example: Tensors) -> Tensors:
        """The example with what the student writes in place of its second half, if this is its turn."""
        draws = example.get("draws")
        if draws is None:
            return example
        tokens = write(unwrapped(model), example["tokens"], draws, objective.text_ids)
        return {**example, "tokens": tokens[:, :-1], "targets": tokens[:, 1:]}

    def logits(
        self, objective: Language, model: nn.Module, example: Tensors
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The student's logits, and the outputs of its blocks where hidden states are targets."""
        if self.settings.hidden is None:
            return objective.logits(model, example), []
        with outputs(unwrapped(model).blocks) as states:
            return objective.logits(model, example), states

    def penalty(
        self,
        objective: Language,
        model: nn.Module,
        logits: torch.Tensor,
        states: list[torch.Tensor],
        nats: torch.Tensor,
        example: Tensors,
    ) -> torch.Tensor | None:
        """What training pays beside ``nats``, a sum over the predicted tokens: λ(T²D − nats), λ = 1 for what
        the student wrote; and the errors of its hidden ``states``. None where both weigh nothing."""
        settings = self.settings
        share = 1.0 if "draws" in example else settings.weight
        if settings.hidden is None:
            return self._soft(share, objective, logits, nats, example) if share else None
        with outputs(self.model.blocks) as theirs:
            if share:
                soft = self._soft(share, objective, logits, nats, example)
            else:
                self._asked(objective, example)
                soft = torch.zeros_like(nats)
        errors = unwrapped(model).get_submodule(NAME).errors(states, theirs)
        return soft + settings.hidden.weight * predicted(errors, example["targets"], example.get("weights"))

    def _soft(
        self, share: float, objective: Language, logits: torch.Tensor, nats: torch.Tensor, example: Tensors
    ) -> torch.Tensor:
        settings, targets, weights = self.settings, example["targets"], example.get("weights")
        known, heat = objective.known, settings.temperature
        student = (logits[..., :known].float() / heat).log_softmax(-1)
        ids, teacher = self._said(objective, example)
        if ids is not None:
            student = with_tail(student, ids)
        each = divergence(settings.divergence, teacher, student).masked_fill(targets < 0, 0.0)
        soft = each.sum() if weights is None else (each.sum(1) * weights).sum()
        return share * (heat**2 * soft - nats)

    def matching(self, objective: Language, model: nn.Module, example: Tensors) -> torch.Tensor:
        """The squared error of each block's output from the teacher's, on what the teacher's block read: the
        mean over its numbers, summed over blocks, and over the tokens of the example. Raises ``ValueError``
        where blocks cannot be set side by side."""
        student = unwrapped(model)
        if student is not model:
            raise ValueError(
                "objective.teacher.blocks needs one process; set it to 0, or start without torchrun"
            )
        blocks: Any = student.blocks
        told: list[tuple[Any, Any, torch.Tensor]] = []

        def keep(block: nn.Module, given: Any, named: Any, output: torch.Tensor) -> None:
            told.append((given, named, output))

        hooks = [one.register_forward_hook(keep, with_kwargs=True) for one in self.model.blocks]
        try:
            self._asked(objective, example)
        finally:
            for hook in hooks:
                hook.remove()
        if len(told) != len(blocks) or told[0][2].shape[-1] != blocks[0].width:
            raise ValueError(
                "objective.teacher.blocks compares block with block; give the student the teacher's layers "
                "and width, or set it to 0"
            )
        errors = [
            (block(*given, **named) - output).float().square().mean()
            for block, (given, named, output) in zip(blocks, told, strict=True)
        ]
        return torch.stack(errors).sum() * example["targets"].numel()

    @torch.no_grad()
    def _say(self, objective: Language, example: Tensors) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The logarithms of the teacher's probabilities, and of which tokens they are (None: all)."""
        top, samples, kept = self.settings.top, example.get("samples"), self.kept
        first = None if samples is None or kept is None else int(samples[0])
        if first is not None and kept is not None:
            found = kept.read(first, len(example["tokens"]))
            if found is not None:
                ids, logs = (one.to(example["tokens"].device) for one in found)
                return ids, logs
        logits = self._ask(objective, example)[..., : objective.known].float()
        every = (logits / self.settings.temperature).log_softmax(-1)
        if top is None or top >= objective.known:
            return None, every
        ids = every.topk(top, dim=-1).indices
        logs = with_tail(every, ids)
        if first is not None and kept is not None:
            kept.write(first, ids, logs)
        return ids, logs

    @torch.no_grad()
    def _ask(self, objective: Language, example: Tensors) -> torch.Tensor:
        return objective.logits(self.model, example)


def _given(context: int) -> int:
    """How many tokens of a text the student is given before it goes on: half."""
    return max(1, context // 2)


@torch.no_grad()
def write(model: Any, tokens: torch.Tensor, draws: torch.Tensor, ids: int) -> torch.Tensor:
    """Texts, int64 (rows, T + 1): the first half of each of ``tokens`` (rows, T), and what ``model`` writes
    after it by the numbers ``draws`` in [0, 1), (rows, tokens to be written), by the inverse of the
    distribution function over the first ``ids`` ids. No row depends on another."""
    rows, length = tokens.shape
    new = text = tokens[:, : _given(length)]
    training = model.training
    model.eval()
    try:
        caches = model.caches(rows, length)
        for draw in draws.T:
            edges = model(new, caches=caches)[:, -1, :ids].softmax(-1).cumsum(-1)
            new = (edges <= draw[:, None]).sum(-1, keepdim=True).clamp(max=ids - 1)
            text = torch.cat((text, new), dim=1)
    finally:
        model.train(training)
    return text


def alike(one: Any, other: Any) -> bool:
    """Whether two tokenizers turn text into the same ids."""
    said = [{key: value for key, value in each._json().items() if key != "name"} for each in (one, other)]
    return said[0] == said[1]
