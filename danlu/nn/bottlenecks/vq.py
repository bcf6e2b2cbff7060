"""Vector quantisation: the nearest word of a codebook, whose words are moving averages."""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed
import torch.nn.functional as F

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck, Noise
from danlu.nn.bottlenecks.estimators import rotated, straight_through
from danlu.nn.moving_codes import MovingCodes
from danlu.nn.registry import builds
from danlu.spec import bottlenecks as spec


@builds(spec.VQ)
class VQ(MovingCodes, Bottleneck):
    """z → the nearest of ``codes`` words of ``size`` numbers (van den Oord et al. 2017, appendix A.1).

    Args: ``size``, ``codes``; ``decay`` γ; ``smoothing`` ε; ``commitment`` β: penalty β·‖z − e‖², summed over
    dimensions, e constant; ``restart``; ``estimator``: ``straight-through`` or ``rotation``.
    Shapes: z and value (…, size); codes (…, 1).
    Buffers, float32: ``counts`` N (codes,), initially 1; ``sums`` m (codes, size); ``words`` e = m/N̂ with
    N̂ = (N + ε)/(ΣN + Kε)·ΣN.

    In training each pass gathers what it quantised, and an update moves the averages (``MovingCodes``). Then
    a code whose N is below ``restart`` times the mean begins again: at a vector of the batch, with the mean
    count.

    Noise, where ``restart`` is above 0: one uniform number a vector. The vectors with the smallest numbers
    are those at which codes begin again. So the choice depends neither on how the batch is divided among
    passes and processes nor on anything drawn here, and is the same in all of them.

    Without restarts a code that no vector chooses keeps its word until N is near ε, and then shrinks to 0.
    """

    words: torch.Tensor
    _keys: torch.Tensor
    _candidates: torch.Tensor
    name = "vq"
    groups = 1

    def __init__(
        self,
        *,
        size: int = 16,
        codes: int = 64,
        decay: float = 0.99,
        smoothing: float = 1e-5,
        commitment: float = 0.25,
        restart: float = 0.01,
        estimator: Literal["straight-through", "rotation"] = "straight-through",
    ) -> None:
        super().__init__()
        self.takes = self.gives = size
        self.codes = codes
        self.smoothing, self.commitment, self.restart = smoothing, commitment, restart
        self.estimate = rotated if estimator == "rotation" else straight_through
        self.noise = Noise("uniform", 1) if restart else None
        self.register_buffer("words", torch.empty(codes, size))
        self.average((codes,), size, decay)
        # The vectors with the smallest numbers since the last update; ∞ where there is none.
        self.register_buffer("_keys", torch.full((codes,), torch.inf, dtype=torch.float64), persistent=False)
        self.register_buffer("_candidates", torch.zeros(codes, size), persistent=False)
        self.initialise_own()

    @torch.no_grad()
    def initialise_own(self) -> None:
        """Words of independent standard normal numbers."""
        self.words.normal_()
        self.counts.fill_(1)
        self.sums.copy_(self.words)

    @torch.no_grad()
    def nearest(self, z: torch.Tensor) -> torch.Tensor:
        """Which word is nearest (Euclidean): (…, size) → (…) int64."""
        words = self.words.to(z.dtype)
        # ‖z − e‖² less ‖z‖², halved, with the sign turned: one product, and z need not be squared
        return (z @ words.mT).sub_(words.square().sum(-1) / 2).argmax(-1)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """The words of ``codes``: (…, 1) → (…, size) float32."""
        return F.embedding(codes.squeeze(-1), self.words)

    def forward(self, z: torch.Tensor, noise: torch.Tensor | None = None) -> Bottled:
        """Raises ValueError in training without the noise that restarts need."""
        self.check(z, noise)
        if self.training and self.noise is not None and noise is None:
            raise ValueError(
                f"vq: restart = {self.restart} needs noise in training, a uniform number for each vector; "
                "give it, or set restart = 0"
            )
        exact = torch.promote_types(z.dtype, torch.float32)
        x = z.to(exact)
        codes = self.nearest(x.detach()).unsqueeze(-1)
        words = self.look_up(codes).to(exact)
        if self.training:
            self._gather(x.detach().reshape(-1, self.takes), codes.flatten(), noise)
        penalty = self.commitment * (x - words).square().sum(-1).mean()
        return Bottled(self.estimate(words, x).to(z.dtype), penalty, codes)

    @torch.no_grad()
    def _gather(self, x: torch.Tensor, codes: torch.Tensor, noise: torch.Tensor | None) -> None:
        x = x.to(self.sums.dtype)
        self.gather(x, codes)
        if noise is not None:
            least = noise.flatten().double().topk(min(self.codes, len(codes)), largest=False)
            self._keep(torch.cat((self._keys, least.values)), torch.cat((self._candidates, x[least.indices])))

    def _keep(self, keys: torch.Tensor, vectors: torch.Tensor) -> None:
        """As many vectors as there are codes, those with the smallest numbers, in their order."""
        least = keys.topk(self.codes, largest=False, sorted=True)
        self._keys.copy_(least.values)
        self._candidates.copy_(vectors[least.indices])

    def share(self) -> None:
        super().share()
        if self.restart:
            self._keep(_of_all(self._keys, self.over), _of_all(self._candidates, self.over))

    def renew(self) -> None:
        total = self.counts.sum()
        smoothed = (self.counts + self.smoothing) / (total + self.codes * self.smoothing) * total
        torch.div(self.sums, smoothed[:, None], out=self.words)
        if self.restart:
            self._begin_again(total / self.codes)

    def skip_update(self) -> None:
        super().skip_update()
        self._keys.fill_(torch.inf)

    def _begin_again(self, mean: torch.Tensor) -> None:
        """The dead codes, in their order, take the candidates, in theirs, as far as there are any."""
        dead = self.counts < self.restart * mean
        which = (dead.cumsum(0) - 1).clamp(min=0)
        taken = dead & (self._keys[which] < torch.inf)
        vectors = self._candidates[which]
        self.counts.copy_(torch.where(taken, mean, self.counts))
        for buffer, new in ((self.sums, vectors * mean), (self.words, vectors)):
            buffer.copy_(torch.where(taken[:, None], new, buffer))

    def flops(self, rows: int) -> int:
        """FLOPs of the search for the nearest word."""
        return 2 * rows * self.codes * self.takes


def _of_all(mine: torch.Tensor, over: torch.distributed.ProcessGroup | None) -> torch.Tensor:
    """One below another, those of all processes."""
    each = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size(over))]
    torch.distributed.all_gather(each, mine, group=over)
    return torch.cat(each)
