"""A pipeline: every process has a stage of the network, and microbatches pass through them one after another.

PyTorch's schedule says who does what when: one forward, one backward (PipeDream-Flush, Narayanan et al. 2021,
arXiv:2006.09503), so that a stage keeps no more microbatches than there are stages from it on. What is
danlu's: the loss is a sum, ends may share a weight, and an evaluation sends its passes through forward alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn

from danlu.models import Decoder
from danlu.objectives import Losses, Objective
from danlu.objectives.base import Tensors
from danlu.optim.base import local
from danlu.optim.pieces import batches
from danlu.train.mesh import Axes
from danlu.train.precision import total_norm


class Known(nn.Module):
    """A network whose ``output`` is known already: what an objective asks in the last stage, ``model``."""

    def __init__(self, output: torch.Tensor, model: Decoder, training: bool) -> None:
        super().__init__()
        self.output, self.share = output, model.share
        self.train(training)

    def forward(self, *given: Any, **named: Any) -> torch.Tensor:
        return self.output


class Pipeline:
    """The stage ``model`` of this process in a pipeline over ``axes.pipeline``."""

    def __init__(self, model: Decoder, objective: Objective, axes: Axes, device: torch.device) -> None:
        self.model, self.objective, self.device = model, objective, device
        self.sharded = any(hasattr(p, "full_tensor") for p in model.parameters())  # FSDP2 sums gradients
        self.axis, self.replicas = axes.pipeline, axes.stage
        self._schedules: dict[tuple[int, ...], Any] = {}
        self._loss: Callable[[int, torch.Tensor], torch.Tensor]
        self._sent: tuple[Any, torch.Tensor] | None = None
        self._names: list[str] | None = None

    # ---------------------------------------------------------------- training

    def passes(self, example: Tensors, count: int, weight: float) -> torch.Tensor:
        """Add the gradients of an update to those of this stage's weights: of the sum of the losses of
        ``count`` passes over equal parts of the rows of ``example``, which all stages have, times ``weight``.

        Returns the total of the losses in the last stage, 0 in others.
        """
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        parts = [
            dict(zip(example, p, strict=True))
            for p in zip(*(t.chunk(count) for t in example.values()), strict=True)
        ]

        def loss(number: int, output: torch.Tensor) -> torch.Tensor:
            nonlocal total
            losses: Losses = self.objective.loss(Known(output, self.model, training=True), parts[number])
            total = total + losses.total.detach()
            return losses.minimised * weight

        self._loss = loss
        tokens, named = self.objective.inputs_of(example)
        numbers = torch.arange(count) if self.model.ends else None  # a target is the number of its pass
        given = (tokens,) if self.model.begins else ()
        schedule = self._schedule(len(tokens) // count, tokens.shape[1], count)
        schedule.step(*given, target=numbers, return_outputs=False, **named)
        self._add_the_other_end()
        if not self.sharded:
            self._average()
        return total

    def _schedule(self, rows: int, length: int, count: int) -> Any:
        """PyTorch's schedule of ``count`` passes of (rows, length) tokens."""
        if (rows, length, count) not in self._schedules:
            from torch.distributed.pipelining import PipelineStage, Schedule1F1B

            stream = self._stream(rows, length, "meta").requires_grad_()
            tokens = torch.empty(rows, length, dtype=torch.int64, device="meta")
            stage = PipelineStage(
                self.model,
                self.axis.rank,
                self.axis.count,
                self.device,
                input_args=tokens if self.model.begins else stream,
                output_args=stream,  # of the last stage nothing is sent
                group=self.axis.group,
            )
            self._schedules[rows, length, count] = Schedule1F1B(
                stage, count, lambda output, target: self._loss(int(target), output), scale_grads=False
            )
        return self._schedules[rows, length, count]

    def _stream(self, rows: int, length: int, device: torch.device | str) -> torch.Tensor:
        """What passes between two stages."""
        width = self.model.blocks[self.model.here.start].width
        return torch.empty(rows, length, width, dtype=self.model.compute, device=device)

    def _add_the_other_end(self) -> None:
        """The gradient of a weight that the first and the last stage share is the sum of theirs, in both."""
        if not self.model.lends_embedding:
            return
        grad = self.model.embedding.weight.grad
        assert grad is not None
        mine = local(grad)
        theirs = torch.empty_like(mine)
        other = self._peer(self.axis.count - 1 if self.model.begins else 0)
        ops = [dist.P2POp(dist.isend, mine, other), dist.P2POp(dist.irecv, theirs, other)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()
        mine.add_(theirs)

    def _average(self) -> None:
        """Gradients averaged over the processes that have this stage, as DDP does it."""
        if self.replicas.count == 1:
            return
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        for dtype in {g.dtype for g in grads}:
            for some in batches([g for g in grads if g.dtype == dtype]):  # never all of them twice
                flat = torch.cat([g.flatten() for g in some])
                dist.all_reduce(flat, group=self.replicas.group)
                flat.div_(self.replicas.count)
                parts = flat.split([g.numel() for g in some])
                torch._foreach_copy_(some, [p.view_as(g) for p, g in zip(parts, some, strict=True)])

    def norm(self) -> torch.Tensor:
        """The Euclidean norm of the gradients of all stages; a weight that two share counts once."""
        twice = self.model.embedding.weight if self.model.lends_embedding and self.model.ends else None
        grads = [p.grad for p in self.model.parameters() if p.grad is not None and p is not twice]
        square = total_norm(grads) ** 2
        dist.all_reduce(square, group=self.axis.group)
        return square.sqrt()

    # ---------------------------------------------------------------- evaluation

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        """``Objective.score`` in the last stage, the same names and 0 in the others, which go on to the next
        example meanwhile."""
        tokens, named = self.objective.inputs_of(example)
        x = tokens if self.model.begins else self._receive(*tokens.shape)
        output = self.model(x, **named)
        found: dict[str, torch.Tensor] = {}
        if self.model.ends:
            found = self.objective.score(Known(output, self.model, training=False), example)
        else:
            self._send(output)
        if self._names is None:
            box = [list(found)]
            dist.broadcast_object_list(box, src=self._peer(self.axis.count - 1), group=self.axis.group)
            self._names = box[0]
        return found or {name: torch.zeros((), device=self.device) for name in self._names}

    def _receive(self, rows: int, length: int) -> torch.Tensor:
        x = self._stream(rows, length, self.device)
        dist.recv(x, src=self._peer(self.axis.rank - 1), group=self.axis.group)
        return x

    def _send(self, x: torch.Tensor) -> None:
        if self._sent is not None:
            self._sent[0].wait()
        x = x.contiguous()
        self._sent = dist.isend(x, dst=self._peer(self.axis.rank + 1), group=self.axis.group), x  # kept alive

    def _peer(self, stage: int) -> int:
        """The number of the process with another stage of this pipeline."""
        return dist.get_global_rank(self.axis.group, stage)  # type: ignore[arg-type]
