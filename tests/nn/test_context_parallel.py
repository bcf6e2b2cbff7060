"""Networks whose sequences lie over several processes compute what one does, and its gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from danlu import spec
from danlu.nn.context_parallel import ContextParallel
from tests.many import group, together
from tests.models import small

HEADS = {
    "two keys": {"mixer": spec.Attention(heads=4, kv_heads=2), "position": spec.Rotary()},
    "one key": {"mixer": spec.Attention(heads=4, kv_heads=1), "position": spec.Rotary()},
    "eight": {"mixer": spec.Attention(heads=8, head_size=2, window=5, softcap=2.0), "position": spec.ALiBi()},
}
REFUSED = {"vq", "lru", "lru-attention", "sinks", "alibi-window-sinks"}


def compare(over: ContextParallel, settings: dict[str, Any], kind: type[Any], mask: dict[str, Any]) -> None:
    """Logits and gradients of a sum over all positions, in float64."""
    torch.manual_seed(1)
    tokens = small.tokens()
    weights = torch.randn(*tokens.shape, small.VOCABULARY, dtype=torch.float64)
    whole, divided = (small.small(kind, **settings) for _ in range(2))
    logits = whole(tokens, **mask)
    (logits * weights).sum().backward()
    divided.divide(over)
    mine = divided(over.own(tokens, 1), **mask)
    torch.testing.assert_close(mine, over.own(logits, 1), rtol=1e-11, atol=1e-11)
    (mine * over.own(weights, 1)).sum().backward()
    for (name, p), q in zip(whole.named_parameters(), divided.parameters(), strict=True):
        found = torch.zeros_like(q) if q.grad is None else q.grad
        dist.all_reduce(found, group=over.group)
        wanted = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def main() -> None:
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 8 + [1] * 4])
    with group() as rank:
        pairs = [dist.new_group([first, first + 1]) for first in (0, 2)]
        two, four = ContextParallel(rank % 2, 2, pairs[rank // 2]), ContextParallel(rank, 4, None)
        for name, settings in small.EVERY.items():
            if name in REFUSED:
                with pytest.raises(ValueError, match=r"several processes|lie apart"):
                    small.small(**settings).divide(two)
                continue
            for mask in ({}, {"documents": documents, "prefix": 8}):
                compare(two, settings, spec.Decoder, mask)
        for name, settings in small.ATTENTIONS.items():
            if name not in REFUSED:
                compare(two, settings, spec.Encoder, {"documents": documents})
        for settings in HEADS.values():
            compare(four, settings, spec.Decoder, {"prefix": 5, "documents": documents})
        with pytest.raises(ValueError, match="2 heads cannot be dealt out to 4 processes"):
            small.small(**small.attention()).divide(four)


@pytest.mark.slow
def test_every_mixer_over_processes_is_itself(tmp_path: Path) -> None:
    together(__file__, 4, tmp_path)


if __name__ == "__main__":
    main()
