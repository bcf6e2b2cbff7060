"""A codebook for each head: vectors are replaced by the nearest code word, and code words follow them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from danlu.nn.moving_codes import MovingCodes
from danlu.nn.norms import rms_norm

LEAST = 0.01  # the least count a sum is divided by: the code word of a count below it shrinks to zero


class Codebook(MovingCodes):
    """Vector quantisation whose code words are moving averages (Lingle 2023, Transformer-VQ).

    Args: ``heads``, ``codes`` code words each, of ``size`` numbers; ``decay`` γ of the averages;
    ``scale``: root mean square of a number, that code words are drawn with.
    Buffers: ``counts`` (heads, codes), initially 1; ``sums`` (heads, codes, size); ``codes`` =
    sums / max(counts, 0.01), of the same shape; all float32.

    In training each forward pass gathers what it quantised (``MovingCodes``).

    ``perplexity``: exp(entropy) of the code words' use in the last training batch, mean over heads, float32
    and detached: 1 if all vectors fell on one, ``codes`` if all were used alike; 0 before the first.
    """

    codes: torch.Tensor

    def __init__(self, heads: int, codes: int, size: int, *, decay: float = 0.99, scale: float = 1.0) -> None:
        super().__init__()
        words = rms_norm(torch.randn(heads, codes, size)) * scale
        self.average((heads, codes), size, decay)
        self.register_buffer("codes", words)
        self.sums.copy_(words)
        self.perplexity = torch.zeros(())

    @torch.no_grad()
    def nearest(self, x: torch.Tensor) -> torch.Tensor:
        """Which code word is nearest (Euclidean): (batch, heads, T, size) → (batch, heads, T) int64."""
        words = self.codes.to(x.dtype)
        # ‖x − c‖² less ‖x‖², halved, with the sign turned: one product, and x need not be squared
        return (x @ words.mT).sub_(words.square().sum(-1)[:, None] / 2).argmax(dim=-1)

    def look_up(self, z: torch.Tensor) -> torch.Tensor:
        """The code words of ``z``: (batch, heads, T) → (batch, heads, T, size) float32."""
        return F.embedding(self._rows(z), self.codes.flatten(0, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantise ``x`` (batch, heads, T, size), float32 or float64.

        Returns ``z`` (batch, heads, T) int64 and the code words in the shape and type of ``x``, whose
        gradient passes to ``x`` unchanged (the straight-through estimator) and not to the codebook.
        """
        z = self.nearest(x)
        words = self.look_up(z).to(x.dtype)
        if self.training:
            self._gather(x.detach(), z)
        # x − x is exactly 0, where x + (words − x) would be rounded
        return z, words + (x - x.detach()) if x.requires_grad else words

    @torch.no_grad()
    def _gather(self, x: torch.Tensor, z: torch.Tensor) -> None:
        count = self.gather(x.reshape(-1, x.shape[-1]), self._rows(z).flatten())
        share = count * (self.counts.shape[0] / z.numel())
        self.perplexity = torch.special.entr(share).sum(dim=-1).exp().mean().float()

    def _rows(self, z: torch.Tensor) -> torch.Tensor:
        """Where in the table of all heads' code words each of ``z`` is."""
        heads, codes = self.counts.shape
        return z + torch.arange(0, heads * codes, codes, device=z.device)[:, None]

    def renew(self) -> None:
        torch.div(self.sums, self.counts.clamp(min=LEAST)[..., None], out=self.codes)
