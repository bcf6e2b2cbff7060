"""Generation of text, one token after another."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from danlu.files.errors import DanluError
from danlu.models.decoder import Decoder
from danlu.models.encoder_decoder import EncoderDecoder

COLDEST = 1e-30


def pick(
    logits: torch.Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw the next token: logits (batch, vocabulary) → ids (batch, 1).

    ``temperature`` divides the logits (0, or nearer to it than float32 can tell: the likeliest token);
    ``top_k`` keeps the k likeliest; ``top_p`` the smallest set whose probability reaches p (Holtzman et al.
    2020). Raises ``DanluError`` where the likeliest has no finite logit.
    """
    highest = logits.max(dim=-1, keepdim=True).values
    if not torch.isfinite(highest).all():
        raise DanluError(
            "the model's logits are not finite, since its weights diverged; name an earlier checkpoint"
        )
    if temperature < COLDEST:
        return logits.argmax(dim=-1, keepdim=True)
    logits = (logits - highest) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        lowest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, float("-inf"))
    probabilities = logits.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered  # the mass of likelier tokens
        ordered[..., 1:].masked_fill_(before[..., 1:] >= top_p, 0.0)  # the first is always kept
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    return torch.multinomial(probabilities, 1, generator=generator)


@torch.no_grad()
def generate(
    model: Decoder | EncoderDecoder,
    tokens: torch.Tensor,
    *,
    count: int,
    context: int,
    memory: torch.Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[torch.Tensor]:
    """Yield ``count`` tokens, each (batch, 1), that continue ``tokens`` (batch, positions).

    ``memory``: of the encoder, that an encoder-decoder attends to (``model.encode(tokens)``). Keys and values
    are cached. When ``context`` positions are full, the cache is filled anew from the
    last half of them, so that no position is beyond those trained on.
    """
    generator = torch.Generator(device=tokens.device).manual_seed(seed)
    training = model.training
    attended = {} if memory is None else {"memory": memory}
    model.eval()
    try:
        tokens = tokens[:, -context:]
        caches = model.caches(tokens.shape[0], context)
        new = tokens
        for _ in range(count):
            if caches[0].length + new.shape[1] > context:
                new = tokens[:, -max(1, context // 2) :]
                caches = model.caches(tokens.shape[0], context)
            logits = model(new, caches=caches, **attended)[:, -1]
            new = pick(logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
            tokens = torch.cat((tokens, new), dim=1)[:, -context:]
            yield new
    finally:
        model.train(training)
