"""One update: gradients of a global batch, the check that they are finite, clipping, the rules' step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from danlu.data import Counter
from danlu.nn import after_update, skip_update, tell_rows
from danlu.objectives import Draw, Example, Losses
from danlu.optim import rounding
from danlu.train.assemble import Assembly
from danlu.train.divide import own_positions
from danlu.train.errors import Diverged, RunError
from danlu.train.folding import FOLDED, Folding
from danlu.train.parallel import hold_gradients, kept_buffers
from danlu.train.precision import LossScale, clip_on_device, first_non_finite, total_norm
from danlu.train.reading import Reading

Part = Callable[[str], AbstractContextManager[Any]]  # data, forward, backward, optimizer: what takes the time
Loss = Callable[[Any, Any], Losses]

_KEYS = 0x6B657973  # "keys": a stream apart from others of one seed
HELP = "A lower optimizer.lr, a longer warm-up or train.precision=float32 often help"


def untimed(part: str) -> AbstractContextManager[None]:
    """For updates that nobody times."""
    return nullcontext()


def reads_late(made: Assembly) -> bool:
    """Whether an update is made before the host knows its loss and norm, so that the device never waits: on a
    GPU, except in float16, where the loss scale must know them first, and where a spike is looked for."""
    train = made.experiment.train
    looked = made.precision == "float16" or train.skip is not None or train.ring is not None
    return made.group.device.type == "cuda" and not looked


class Update:
    """Updates of ``made``: ``gradients``, then ``apply``; ``example`` reads.

    ``part(name)`` is a context around what takes the time. ``loss``: what is called in place of the
    objective's own, such as a compiled form of it. ``reading``: loss and norm of the last gradients.
    ``network``: that whose passes give the gradients.
    ``late``: whether ``apply`` steps without a look at them (``reads_late``); ``check`` then has one.
    ``first_pass``: where a caller set ``keeps_first``, the squared norm of the gradient of this process's
    first pass alone, of the mean loss over its examples, and their number; None where there is one pass.
    """

    def __init__(self, made: Assembly, *, part: Part = untimed, loss: Loss | None = None) -> None:
        train = made.experiment.train
        self.made, self.part, self.loss = made, part, loss or made.objective.loss
        self.named = made.named
        self.network: torch.nn.Module = made.model
        self.bucketed = hasattr(made.wrapped, "reducer")  # gradients lie in DDP's buckets, and stay there
        self.scatter = train.gradient_sync == "pass"
        self.sharded = made.pipeline is not None or any(hasattr(p, "full_tensor") for _, p in self.named)
        self.scale = LossScale.of(made.precision)
        self.rounding = rounding.steps(
            train.weights, train.seed, made.group.shard.rank if self.sharded else 0
        )
        self.folding = Folding(train, made.rules, made.group.count, made.precision)
        self.reading = Reading(torch.full((2,), float("nan"), dtype=torch.float64))  # there is none yet
        self.late = reads_late(made)
        # What a forward pass moves, such as running averages, and how it stood before the update.
        self.buffers = [made.model.get_buffer(name) for name in kept_buffers(made.model)]
        self.before = [buffer.clone() for buffer in self.buffers]
        self.keeps_first = False
        self.first_pass: tuple[torch.Tensor, int] | None = None

    @property
    def norm(self) -> float:
        """Euclidean, of the last gradients before they were clipped. Waits for them."""
        return self.reading.norm

    def example(self, draw: Draw) -> dict[str, torch.Tensor]:
        """Training examples on the device."""
        device, objective = self.made.group.device, self.made.objective
        tell_rows(self.made.model, "row_keys", lambda: _keys(draw).to(device))
        return to_device(own_positions(objective.example(draw), objective, self.made.group), device)

    def rows(self, batch: int) -> tuple[range, int]:
        """Of an update of ``batch`` examples: those that fall to this process, and how many make a pass."""
        group, micro = self.made.group, self.made.experiment.train.microbatch
        data = group.data
        mine = batch // data.count
        return range(data.rank * mine, (data.rank + 1) * mine), micro or mine

    def gradients(self, step: int, first: int, batch: int) -> Reading:
        """Fill the gradients of update ``step``, whose ``batch`` examples begin with sample ``first``.

        Returns their norm, and the loss of the global batch by term, penalties left out.
        """
        group = self.made.group
        mine, micro = self.rows(batch)
        _copy(self.before, self.buffers)
        terms = batch * self.made.objective.count
        share = self.folding.begin(len(mine) // micro) / terms
        self.first_pass = None
        # DDP and FSDP2 average over processes; the loss is a sum over those with other rows
        total = self._passes(step, first, mine, micro, self.scale.scale * group.share_of_loss * share)
        with self.part("backward"):
            self.reading = self._read(total, terms)
        return self.reading

    def _passes(self, step: int, first: int, rows: range, micro: int, share: float) -> torch.Tensor:
        """Add ``share`` times the gradient of the loss summed over ``rows``; the sum itself, penalties left
        out."""
        made = self.made
        if made.pipeline is not None:
            with self.part("data"):
                draw = Draw(made.experiment.train.seed, step, first, rows.start, rows.stop)
                example = self.example(draw)
            with self.part("forward"):
                return made.pipeline.passes(example, len(rows) // micro, share)
        total = torch.zeros((), device=made.group.device)
        for start in rows[::micro]:
            with self.part("data"):
                example = self.example(Draw(made.experiment.train.seed, step, first, start, start + micro))
            with hold_gradients(made.wrapped, start + micro < rows.stop, self.scatter):
                with self.part("forward"):
                    losses = self.loss(made.wrapped, example)
                    whole = losses.minimised
                with self.part("backward"):
                    (whole * share).backward()
                    total = total + losses.total.detach()  # in its own type
                    if self.keeps_first and start == rows.start and start + micro < rows.stop:
                        to_mean = 1 / (micro * made.objective.count * share)
                        self.first_pass = (total_norm(self._gradients()) * to_mean) ** 2, micro
        return total

    def apply(self, step: int, read: Reading, *, count_losses: bool = False, note: str = "") -> bool:
        """Clip the gradients and let the rules make their step; ``read``: what ``gradients`` returned.

        ``count_losses``: count what rounding to low precision loses. False where an overflow in float16 skips
        the update. Raises ``Diverged``, which names the tensor, when something is not finite: the weights are
        untouched. ``note``: what the error says of checkpoints. Where it is ``late``, nothing is looked at.
        """
        applied = self.late or self.finite(step, read, note)
        if applied:
            self._clip(read)
            self.rounding.begin(step, count=count_losses)
            for rule in self.made.rules:
                self.rounding.step(rule)
            after_update(self.made.model)
        else:
            self.leave_out()
        return applied

    def leave_out(self) -> None:
        """In place of ``apply``: let the gradients, and all that the forward passes moved, count for nothing.
        Raises ``RunError`` where Tiger has folded the gradients into its momentum."""
        if self.folding.active:
            raise self.made.group.once(
                RunError(f"a gradient cannot be left out where {FOLDED}; set train.clip")
            )
        _copy(self.buffers, self.before)
        skip_update(self.made.model)

    def inside(self) -> AbstractContextManager[None]:
        """Within, the network is the one to look into, with its gradients where there are some."""
        return nullcontext()

    def gather(self) -> None:
        """Let the network have the weights to evaluate and to save, where they lie apart."""

    def clear(self) -> None:
        """Let go of the gradients; those in DDP's buckets become zeros."""
        if self.bucketed:
            torch._foreach_zero_(self._gradients())
            return
        for _, p in self.named:
            p.grad = None

    def check(self, step: int, read: Reading, note: str = "") -> None:
        """Raises ``Diverged`` where ``apply`` did not look and the loss or norm of ``step`` is not finite."""
        if not self.late:
            return
        for what, value in (("the loss", read.loss), ("the norm of the gradients", read.norm)):
            if not np.isfinite(value):
                said = (
                    f"step {step + 1}: {what} is {value}, which was seen after the update: the weights in "
                    f"memory are of no use, what was saved before is sound. {note}{HELP}"
                )
                raise self.made.group.once(Diverged(said, step + 1))

    def _read(self, total: torch.Tensor, terms: int) -> Reading:
        """The loss over all processes and the norm. Both come from the device in one transfer."""
        # Folded into the momentum there are no gradients left, and each was looked at.
        grads = [] if self.folding.active else self._gradients()
        if self.made.pipeline is not None:
            norm = self.made.pipeline.norm()
        else:
            norm = total_norm(grads) if grads else torch.zeros_like(total)
        pair = torch.stack([self.made.group.sum_of_rows(total).double(), norm.double()])
        return Reading(pair, terms, self.scale.scale)

    def _gradients(self) -> list[torch.Tensor]:
        return [p.grad for _, p in self.named if p.grad is not None]

    def _clip(self, read: Reading) -> None:
        clip = self.made.experiment.train.clip
        if self.late:
            if clip:
                clip_on_device(self._gradients(), read.pair[1], clip)
            return
        factor = self.clipping(read)
        if factor != 1.0 or self.scale.scale != 1.0:
            torch._foreach_mul_(self._gradients(), factor / self.scale.scale)

    def clipping(self, read: Reading) -> float:
        """What ``train.clip`` multiplies gradients by whose norm was ``read``."""
        clip = self.made.experiment.train.clip
        return min(1.0, clip / (read.norm + 1e-6)) if clip else 1.0

    def finite(self, step: int, read: Reading, note: str = "") -> bool:
        """Whether the rules may step by the gradients of ``step``; what is raised, and ``note``, as of
        ``apply``."""
        loss = read.loss
        if np.isfinite(read.norm) and np.isfinite(loss):
            self.scale.went_well(self.made.precision)
            return True
        if np.isfinite(loss):
            try:
                self.scale.overflowed()  # in float16: halve the scale, skip the update
                return False
            except FloatingPointError:
                pass
        raise self.made.group.once(Diverged(self._not_finite(step, loss, note), step + 1))

    def _not_finite(self, step: int, loss: float, note: str) -> str:
        grads = ((name, p.grad) for name, p in self.named if p.grad is not None)
        group = self.made.group  # another stage may have it
        found = group.first_known(first_non_finite(grads))
        weights = group.first_known(first_non_finite((name, p.detach()) for name, p in self.named))
        if weights:
            what = f"the weight {weights}"
        elif found:
            what = f"the gradient of {found}"
        elif np.isfinite(loss):
            what = "every gradient is finite, but their norm overflowed"
        else:
            what = f"the loss is {loss}"
        return f"step {step + 1}: {what}; nothing was updated. {note}{HELP}"


def _copy(to: list[torch.Tensor], tensors: list[torch.Tensor]) -> None:
    if to:
        torch._foreach_copy_(to, tensors)


def _keys(draw: Draw) -> torch.Tensor:
    """What a row's noise inside of the network is made of: (rows,) int64."""
    words = Counter(draw.seed, draw.step, _KEYS).words(draw.start, draw.stop, 1)
    return torch.from_numpy(words[:, 0].astype(np.int64))


def to_device(example: Example, device: torch.device) -> dict[str, torch.Tensor]:
    """The example's arrays as tensors on ``device``."""
    tensors = {name: torch.from_numpy(part) for name, part in example.items()}
    if device.type == "cuda":  # only from pinned memory does a copy not hold up the host
        tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
