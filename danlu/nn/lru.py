"""The linear recurrent unit: a mixer whose memory is one state, whatever the length."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu import spec
from danlu.nn.contracts import Mixer
from danlu.nn.given import Given
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask
from danlu.nn.registry import builds
from danlu.nn.scan import scan
from danlu.nn.shares import Columns, Count, Plan, Rows, Units


class StateCache:
    """The state after the positions seen so far: (batch, state, 2) numbers, None before the first."""

    def __init__(self) -> None:
        self.length = 0
        self.state: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Bytes held by the state."""
        return 0 if self.state is None else self.state.numel() * self.state.element_size()


@builds(spec.LRU)
class LRU(Mixer):
    """Linear recurrent unit with its gated output (Orvieto et al. 2023, arXiv:2303.06349, section 3):

        h_t = λ⊙h_{t−1} + γ⊙(B x_t),  y_t = Re(C h_t) + D⊙x_t,  out(gelu(y)) ⊙ σ(gate(gelu(y))),

    λ = exp(−exp ν + i exp θ), so that |λ| < 1 whatever is learned. B and C are real maps to and from the
    pairs (real, imaginary) of the state. h is computed in float32 at least, the maps in the type of ``x``.

    Args:
        width: of the input and output.
        position: has no place here; the recurrence knows the order.
        state: complex numbers of the state; default width.
        r_min, r_max, max_phase: the ring that λ is drawn from, uniformly in its area.
        bias: of ``gate`` and ``out``; B and C have none.
    Shapes: (batch, positions, width) → the same. Parameters of the recurrence (ν, θ, ln γ, D) are vectors,
    which optimizers do not decay.

    >>> lru, x = LRU(16, state=32), torch.randn(1, 9, 16)
    >>> cache = lru.cache(1, 9)
    >>> steps = [lru(x[:, i : i + 1], cache=cache) for i in range(9)]
    >>> torch.allclose(torch.cat(steps, 1), lru(x), atol=1e-5), cache.bytes
    (True, 256)
    """

    full_precision = True  # |λ| = 0.999 in bfloat16 is 1, and θ's error grows with the number of positions

    def __init__(
        self,
        width: int,
        position: Given | None = None,
        *,
        state: int | None = None,
        r_min: float = 0.9,
        r_max: float = 0.999,
        max_phase: float = 6.28,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.state = width, state or width
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        self.nu, self.theta, self.log_gamma = (nn.Parameter(torch.empty(self.state)) for _ in range(3))
        self.skip = nn.Parameter(torch.empty(width))
        self.input = Linear(width, 2 * self.state, bias=False)
        self.output = Linear(2 * self.state, width, bias=False)
        self.gate = Linear(width, width, bias=bias)
        self.out = Linear(width, width, bias=bias)
        self.initialise_own()

    @torch.no_grad()
    def initialise_own(self) -> None:
        """Draw what is the recurrence's own: λ in the ring (paper, lemma 3.2), γ = √(1 − |λ|²), which makes
        E|h|² = 1 for white input (section 3.4), B ~ N/√(2·width) and C ~ N/√state for each part, D ~ N
        (appendix A)."""
        # Drawn in double precision from (0, 1]: a ring that touches 0 or 1 then has finite logarithms.
        u, v = 1 - torch.rand(2, self.state, dtype=torch.float64)
        nu = torch.log(-0.5 * torch.log(u * (self.r_max**2 - self.r_min**2) + self.r_min**2))
        self.nu.copy_(nu)
        self.theta.copy_(torch.log(self.max_phase * v))
        self.log_gamma.copy_(0.5 * torch.log(-torch.expm1(-2 * torch.exp(nu))))
        nn.init.normal_(self.skip)
        nn.init.normal_(self.input.weight, std=(2 * self.width) ** -0.5)
        nn.init.normal_(self.output.weight, std=self.state**-0.5)

    def eigenvalues(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """λ as pairs (state, 2)."""
        size, phase = torch.exp(-torch.exp(self.nu.to(dtype))), torch.exp(self.theta.to(dtype))
        return torch.stack((size * torch.cos(phase), size * torch.sin(phase)), dim=-1)

    def states(self, x: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
        """h of all positions, (batch, positions, state, 2), from ``start`` (batch, state, 2) or from zero."""
        precise = torch.promote_types(x.dtype, torch.float32)
        gamma = torch.exp(self.log_gamma.to(precise)).repeat_interleave(2)
        # γ times the rows of B, not times Bx: a training step then moves and keeps one activation less.
        weight = (gamma[:, None] * self.input.weight).to(x.dtype)
        b = F.linear(x, weight).unflatten(-1, (self.state, 2))
        return scan(self.eigenvalues(precise), b, start)

    def forward(
        self,
        x: torch.Tensor,
        mask: AttentionMask | torch.Tensor | None = None,
        cache: StateCache | None = None,
    ) -> torch.Tensor:
        """``cache``: the state after the positions before ``x``, moved on by those of ``x``. Raises
        ValueError for a mask in which a position sees later ones, or not all the earlier ones."""
        mask = AttentionMask.of(mask)
        if not mask.causal or mask.prefix > 1:
            raise ValueError(
                "a linear recurrent unit runs from left to right and cannot see later positions; use "
                "attention for encoders and prefixes"
            )
        if mask.documents is not None:
            raise ValueError(
                "a linear recurrent unit carries its state from one document into the next; join documents, "
                "leave padding out, or use attention to keep them apart"
            )
        h = self.states(x, None if cache is None else cache.state)
        if cache is not None:
            cache.state = h[:, -1].clone()  # not a view, which would hold the states of all positions
            cache.length += x.shape[1]
        y = F.gelu(self.output(h.flatten(2).to(x.dtype)) + self.skip.to(x.dtype) * x)
        return self.out(y) * torch.sigmoid(self.gate(y))

    def cache(self, batch: int, length: int) -> StateCache:
        """An empty cache. It takes as many sequences and positions as come."""
        return StateCache()

    def cache_bytes(self, length: int, element: int) -> int:
        """Bytes held for one sequence, however long, at ``element`` bytes a number of the activations: the
        state has 4 at least."""
        return 2 * self.state * max(element, 4) if length else 0

    def value_path(self) -> list[torch.Tensor]:
        """C and the last map, as an attention's value and output maps; B is what γ is made for."""
        return [self.output.weight, self.out.weight]

    def shard(self) -> Plan:
        """By numbers of the state; what follows the recurrence is computed alike by all."""
        numbers, pairs = Rows((Units(self.state),)), Units(self.state, 2)
        of_state = dict.fromkeys(("nu", "theta", "log_gamma"), numbers)
        return {"state": Count(), **of_state, "input": Rows((pairs,)), "output": Columns(pairs)}

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass; the recurrence, two complex multiplications for
        each number of the state, is elementwise and not counted."""
        maps = (self.input, self.output, self.gate, self.out)
        return sum(linear.flops(batch * length) for linear in maps)

    def decoding_flops(self, length: int) -> int:
        """FLOPs of the last of ``length`` positions, from the state before it."""
        return self.flops(1, 1)
