"""What a step takes beside parameters, gradients and state is bounded on a GPU, however large the network:
counted on the meta device, which allocates nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from danlu import optim
from danlu.optim import alike, pieces

TOGETHER = 2**14  # numbers that a rule handles at once, in place of millions
SIZE = 2**10  # of a matrix
RULES = ("SGD", "AdamW", "Lion", "Tiger", "LAMB", "Adafactor", "ScheduleFreeAdamW", "Muon", "SOAP")
# Bytes at most for each number that is handled at once. Lion and Tiger lay parameters, gradients and momentum
# end to end, with what becomes of them; Tiger also a rate for each number. SOAP has two bases of its size.
MOST = {"SGD": 0, "AdamW": 0, "Lion": 24, "Tiger": 28, "ScheduleFreeAdamW": 8, "LAMB": 8, "Adafactor": 12}


class Peak(TorchDispatchMode):
    """The most bytes on the meta device that are there at a time, those of ``known`` left out."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.known = {t.untyped_storage()._cdata for t in known}
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.live = {key: kept for key, kept in self.live.items() if not kept[0].expired()}
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor) and t.is_meta:
                storage = t.untyped_storage()
                if storage._cdata not in self.known:
                    self.live.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.most = max(self.most, sum(size for _, size in self.live.values()))
        return result


def beside(name: str, count: int) -> int:
    """Bytes that the second step of ``count`` matrices takes."""
    params = [torch.nn.Parameter(torch.empty(32, SIZE // 32, device="meta")) for _ in range(count)]
    rule = getattr(optim, name)(params, lr=1e-3)
    for p in params:
        p.grad = torch.empty_like(p)
    rule.step()
    held = [t for p in params for t in (p, p.grad, *rule.state[p].values()) if isinstance(t, torch.Tensor)]
    with Peak(held) as peak:
        rule.step()
    return peak.most


@pytest.mark.parametrize("name", RULES)
def test_a_step_takes_no_more_of_a_larger_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE", TOGETHER)
    monkeypatch.setattr(alike, "_LARGE", TOGETHER)
    # The one fused kernel that has no form for the meta device; it takes nothing.
    monkeypatch.setattr(torch, "_fused_sgd_", lambda *_, **__: None)
    few, many = beside(name, 48), beside(name, 96)
    scalars = 96 * 64  # bytes of a few numbers for each matrix
    assert many <= few + scalars
    assert many <= MOST.get(name, 32) * TOGETHER + scalars


def test_what_grows_is_seen() -> None:
    with Peak([]) as peak:
        kept = [torch.empty(256, device="meta") for _ in range(3)]
        del kept[0]
        kept.append(torch.empty(100, device="meta"))
    assert peak.most == 4 * 3 * 256
