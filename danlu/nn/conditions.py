"""What a network is told besides its input: time or a level of noise, a class; and how layers take it in.

A condition is one vector for each row, (batch, width). Layers scale and shift features by linear maps of it
that are 0 at the start, so that at first it changes nothing.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.nn.linear import Embedding, Linear
from danlu.nn.registry import build, builds
from danlu.spec import encodings as specs


def sinusoids(t: torch.Tensor, frequencies: int, slowest: float, fastest: float) -> torch.Tensor:
    """(sin ωt, cos ωt) at ``frequencies`` angular frequencies ω from ``slowest`` to ``fastest``, in equal
    ratios: (…) → (…, 2 · frequencies), in float32 or the type of ``t`` where that is more exact."""
    exact = t.to(torch.promote_types(t.dtype, torch.float32))
    spread = torch.linspace(0, 1, frequencies, dtype=exact.dtype, device=t.device)
    phases = exact[..., None] * (slowest * (fastest / slowest) ** spread)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)


@builds(specs.TimeEmbedding)
class TimeEmbedding(nn.Module):
    """Times (batch) → vectors (batch, width): ``sinusoids``, and W₂ silu(W₁ ·) on them (Ho et al. 2020).

    ``of``: "time", or "noise-level", where σ > 0 is given and t = ¼ ln σ (Karras et al. 2022, table 1).
    The output has the type of the weights.
    """

    def __init__(
        self,
        width: int,
        *,
        frequencies: int = 32,
        slowest: float = 0.1,
        fastest: float = 100.0,
        of: str = "time",
    ) -> None:
        super().__init__()
        self.frequencies, self.slowest, self.fastest, self.of = frequencies, slowest, fastest, of
        self.up = Linear(2 * frequencies, width)
        self.down = Linear(width, width)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        t = t.log() / 4 if self.of == "noise-level" else t
        waves = sinusoids(t, self.frequencies, self.slowest, self.fastest)
        return self.down(F.silu(self.up(waves.to(self.up.weight.dtype))))

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass."""
        return self.up.flops(rows) + self.down.flops(rows)


class Condition(nn.Module):
    """A time and a class → one vector, silu of the sum of their embeddings.

    Args: ``width``; ``time``: of a ``TimeEmbedding``; ``classes``: how many there are, 0 for none.
    ``forward(rows, t, classes)``: ``t`` (batch) or a single number; ``classes`` int64 (batch), −1 for a row
    without a class, None for all rows without. A row without one has a vector of its own, as guidance without
    a classifier asks (Ho & Salimans 2022). → (batch, width). Raises ValueError for classes where there are
    none. It is in the type of the weights as they are kept, under FSDP2 too.
    """

    full_precision = True

    def __init__(self, width: int, time: specs.TimeEmbedding, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.time = build(time, width)
        self.table = Embedding(classes + 1, width) if classes else None

    def forward(self, rows: int, t: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        told: torch.Tensor = self.time(t.expand(rows))
        if self.table is not None:
            none = torch.full((rows,), -1, device=told.device)
            given = none if classes is None else classes
            told = told + self.table(torch.where(given < 0, self.classes, given))
        elif classes is not None:
            raise ValueError("classes are given, and the network was built for data without classes")
        return F.silu(told)

    def flops(self, rows: int) -> int:
        """FLOPs of the matrix products of a forward pass."""
        return int(self.time.flops(rows))


class Generated(nn.Module):
    """A base class: ``parts`` vectors of ``width``, linear in a condition of so many numbers and 0 at the
    start."""

    def __init__(self, width: int, condition: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.generator = Linear(condition, parts * width)
        self.initialise_own()

    def initialise_own(self) -> None:
        """Start as if there were no condition."""
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)

    def generated(self, x: torch.Tensor, condition: torch.Tensor, axis: int = -1) -> tuple[torch.Tensor, ...]:
        """The vectors of ``condition`` (batch, numbers) beside x (batch, …), in its type."""
        return beside(self.generator(condition.to(x.dtype)), x, axis).chunk(self.parts, dim=axis)

    def flops(self, batch: int) -> int:
        """FLOPs of the generator in a forward pass."""
        return self.generator.flops(batch)


class Modulate(Generated):
    """Feature-wise linear modulation (Perez et al. 2018, eq. 2): (1 + a) ⊙ x + b with (a, b) linear in the
    condition, 0 at the start: the identity.

    Args: ``width``: features of x; ``condition``: numbers in a condition; ``axis`` of the features.
    Shapes: x (batch, …) and (batch, condition) → as x, in its type.
    """

    def __init__(self, width: int, condition: int, *, axis: int = -1) -> None:
        super().__init__(width, condition, 2)
        self.axis = axis

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        a, b = self.generated(x, condition, self.axis)
        return torch.addcmul(b, 1 + a, x)


class AdaptiveNorm(Generated):
    """Adaptive layer norm, zero (Peebles & Xie 2023, section 3.2): (1 + a) ⊙ (x − μ)/σ + b, and a gate g for
    the branch that reads it, all linear in the condition and 0 at the start. A residual layer
    x + g ⊙ branch(norm) is the identity then.

    Args: ``width``: features of x, its last dimension; ``condition``: numbers in a condition; ``eps``.
    Shapes: x (batch, …, width) and (batch, condition) → the normed x and g, which broadcasts to it, in the
    type of x; statistics in float32.
    """

    def __init__(self, width: int, condition: int, *, eps: float = 1e-6) -> None:
        super().__init__(width, condition, 3)
        self.eps = eps

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, gate = self.generated(x, condition)
        return torch.addcmul(b, 1 + a, F.layer_norm(x, x.shape[-1:], eps=self.eps)), gate


def beside(vectors: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """Vectors (batch, n) with dimensions of 1, so that the n stand where ``axis`` of ``x`` is."""
    shape = [1] * x.ndim
    shape[0], shape[axis] = vectors.shape
    return vectors.view(shape)
