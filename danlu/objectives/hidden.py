"""Distillation by hidden states: linear maps from the streams of the student to those of its teacher, trained
with the student and left out of everything that is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu.spec.teachers import Pairs

NAME = "teacher_maps"  # of the maps in the student, and before their tensors in a checkpoint


def pairs(student: int, teacher: int, rule: Pairs) -> list[tuple[int, int]]:
    """Which of ``student`` blocks learns from which of ``teacher`` blocks, counted from 0. ``uniform``: the
    m-th of M from the ⌈m·N/M⌉-th of N, so that the last learns from the last (TinyBERT, section 3.1, where M
    divides N); ``middle``: the one in the middle alone, the lower of two (FitNets, section 2.2); ``last``."""
    if rule == "middle":
        return [((student - 1) // 2, (teacher - 1) // 2)]
    if rule == "last":
        return [(student - 1, teacher - 1)]
    return [(m - 1, -(-m * teacher // student) - 1) for m in range(1, student + 1)]


class Maps(nn.Module):
    """W of each pair of blocks, ``weights[i]``, float32 (teacher's width, student's width): the identity at
    first where the widths are equal, else N(0, 1/student's width), so that sizes stay.

    ``of``: the pairs; ``student``, ``teacher``: the widths; ``seed``: of the numbers.
    """

    def __init__(self, of: Sequence[tuple[int, int]], student: int, teacher: int, seed: int) -> None:
        super().__init__()
        self.of = list(of)
        draw = torch.Generator().manual_seed(seed % 2**63)
        whole = torch.randn(len(self.of), teacher, student, generator=draw) * student**-0.5
        begin = torch.eye(student).expand_as(whole) if student == teacher else whole
        self.weights = nn.ParameterList(nn.Parameter(one.clone()) for one in begin)
        self.parameter_roles = {f"weights.{i}": "kernel" for i in range(len(self.of))}

    def errors(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Σ over pairs of MSE(W h_S, h_T) (Jiao et al. 2020, eq. 8), of each token, a mean over the teacher's
        width: float32 (rows, positions). ``student``, ``teacher``: the output of every block."""
        each = [
            (student[i].float() @ weight.float().T - teacher[j].float()).square().mean(-1)
            for weight, (i, j) in zip(self.weights, self.of, strict=True)
        ]
        return torch.stack(each).sum(0)


def without_maps(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a student's checkpoint that are its own."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{NAME}.")}


@contextmanager
def outputs(blocks: Sequence[nn.Module] | Any) -> Iterator[list[Tensor]]:
    """A list that a pass within fills with the output of each of ``blocks``, in their order."""
    told: list[Tensor] = []

    def keep(block: nn.Module, given: Any, output: Tensor) -> None:
        told.append(output)

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield told
    finally:
        for hook in hooks:
            hook.remove()


def predicted(errors: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Errors of all tokens (rows, positions) as a sum that counts as the loss does: the mean of a row for
    each of its predicted tokens, times the row's weight."""
    counts = (targets >= 0).sum(1) if weights is None else (targets >= 0).sum(1) * weights
    return (errors.mean(1) * counts).sum()
