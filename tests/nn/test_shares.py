"""Every part that processes divide among them gives what the whole part gives, and so do its gradients.

The processes are threads, which meet where they sum.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn as nn

from danlu.nn import GLU, LRU, MLP, Attention, CrossAttention, LatentAttention, Mixer, VQAttention
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.shares import Share, Units, divide
from danlu.spec import QKNorm

WIDTH = 24


class Threads:
    """``count`` processes as threads of this one."""

    def __init__(self, count: int) -> None:
        self.count, self.box = count, [torch.zeros(())] * count
        self.barrier = threading.Barrier(count, timeout=20)

    def told(self, rank: int, x: torch.Tensor) -> list[torch.Tensor]:
        """What each of them brings here; all get all."""
        self.box[rank] = x.clone()
        self.barrier.wait()
        found = list(self.box)
        self.barrier.wait()
        return found

    def run(self, work: Callable[[Share], Any]) -> list[Any]:
        found: list[Any] = [None] * self.count

        def one(rank: int) -> None:
            try:
                found[rank] = work(_Thread(rank, self))
            except BaseException as error:
                found[rank] = error
                self.barrier.abort()

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, threading.BrokenBarrierError):
                raise each
        return found


class _Thread(Share):
    def __init__(self, rank: int, among: Threads) -> None:
        super().__init__(rank, among.count)
        self.among = among

    def add(self, x: torch.Tensor) -> None:
        x.copy_(torch.stack(self.among.told(self.rank, x)).sum(0))


class _Stretch(ContextParallel):
    """A stretch of the positions; ``group`` are threads."""

    def swap(self, parts: torch.Tensor) -> torch.Tensor:
        return torch.stack([each[self.rank] for each in self.group.told(self.rank, parts)])


def attention(**settings: Any) -> Attention:
    return Attention(WIDTH, heads=4, bias=True, **settings)


PARTS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(WIDTH, hidden=20, bias=True),
    "glu": lambda: GLU(WIDTH, hidden=36),
    "attention": lambda: attention(position="rotary"),
    "grouped": lambda: attention(kv_heads=2, position="rotary", head_size=8, window=3),
    "multi-query": lambda: attention(kv_heads=1, softcap=5.0, log_n=4),
    "norms": lambda: attention(
        kv_heads=2, qk_norm=QKNorm(gain=True, per_head=True, around_one=True), gate="elements"
    ),
    "norm": lambda: attention(qk_norm=QKNorm(gain=True, norm="layer", when="after"), weights="clipped"),
    "sinks": lambda: attention(weights="sinks", position="alibi"),
    "alibi": lambda: attention(position="alibi", kv_heads=2),
    "t5": lambda: attention(position={"kind": "t5", "shared": False}),
    "kerple": lambda: attention(position="kerple"),
    "relative": lambda: attention(position="relative", sparse={"kind": "strided", "stride": 2}),
    "rerope": lambda: attention(position="rerope"),
    "latent": lambda: LatentAttention(WIDTH, "rotary", heads=4, latent=8, rotary_size=4, bias=True),
    "latent-queries": lambda: LatentAttention(
        WIDTH, "rotary", heads=4, latent=8, query_latent=6, rotary_size=4
    ),
    "lru": lambda: LRU(WIDTH, state=16, bias=True),
    "vq": lambda: VQAttention(WIDTH, heads=4, codes=5, block=4, bias=True, commitment=0.3),
}  # fmt: skip


def of(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    part = make().double()
    for p in part.parameters():  # some begin at 0, and linear maps of a part alone are drawn small
        p.data += torch.randn_like(p) / 4
    return part


def passed(part: nn.Module, share: int = 1, over: ContextParallel | None = None) -> dict[str, torch.Tensor]:
    """Output, gradients, and what the part sets and gathers, of a loss that counts 1/share; of a stretch of
    the positions ``over`` several."""
    generator = torch.Generator().manual_seed(2)
    x, weight = torch.randn(2, 2, 10, WIDTH, dtype=torch.float64, generator=generator)
    if over is not None:
        x, weight = over.own(x, 1), over.own(weight, 1)
    x.requires_grad_()
    if isinstance(part, CrossAttention):
        y = part.attend_to(x, *part.keys_and_values(x.flip(1)))
    else:
        y = part(x)
    loss = (y * weight).sum()
    own = getattr(part, "auxiliary", None)
    if own is not None:
        loss = loss + 2 * own
    (loss / share).backward()
    assert x.grad is not None
    found = {"x": x.grad} | {name: p.grad for name, p in part.named_parameters() if p.grad is not None}
    kept = {name: b for name, b in part.named_buffers() if "_new_" in name}
    seen = {"y": y.detach()} | ({} if own is None else {"own": own.detach()})
    if hasattr(part, "codebook"):
        seen["perplexity"] = part.codebook.perplexity
    return {f"sum {k}": v for k, v in (found | kept).items()} | {f"same {k}": v for k, v in seen.items()}


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", [*PARTS, "cross"])
def test_shares_together_are_the_whole(name: str, count: int) -> None:
    """Outputs are alike everywhere; gradients, and what codebooks gather, are sums over processes."""
    make = PARTS.get(name, lambda: CrossAttention(WIDTH, heads=4, kv_heads=2, bias=True))
    whole = passed(of(make))

    def one(share: Share) -> dict[str, torch.Tensor]:
        part = parts[share.rank]
        assert divide([part], share) == 1
        found = passed(part, count)
        assert {n: p.shape for n, p in part.named_parameters()} == shapes  # whole again
        return found

    parts = [of(make) for _ in range(count)]
    shapes = {n: p.shape for n, p in parts[0].named_parameters()}
    found = Threads(count).run(one)
    for key, value in whole.items():
        each = [one[key] for one in found]
        if key.startswith("same"):
            assert all(torch.equal(each[0], other) for other in each), key
            torch.testing.assert_close(
                each[0], value, rtol=1e-6 if "perpl" in key else 1e-11, atol=1e-12, msg=key
            )
        else:
            torch.testing.assert_close(
                torch.stack(each).sum(0), value, rtol=1e-5 if "_new_" in key else 1e-10, atol=1e-11, msg=key
            )
    assert all(one.keys() == whole.keys() for one in found)


ALONG = "attention grouped multi-query norms norm alibi t5 kerple relative rerope latent"


@pytest.mark.parametrize("name", ALONG.split())
def test_shares_of_stretches_are_the_whole(name: str) -> None:
    """Two processes have half of the positions each, and of either half two compute half of the heads: by
    the heads that are its own, each finds what positions add to their scores."""
    make = PARTS[name]
    whole = passed(of(make))
    parts = [of(make) for _ in range(4)]
    pairs = [[Threads(2) for _ in range(2)] for _ in range(2)]  # along tensor, and along context

    def one(share: Share) -> dict[str, torch.Tensor]:
        part: Any = parts[share.rank]
        stretch, mine = divmod(share.rank, 2)
        over = _Stretch(stretch, 2, pairs[1][mine])
        part.divide(over)
        assert divide([part], _Thread(mine, pairs[0][stretch])) == 1
        return passed(part, 2, over)

    found = Threads(4).run(one)
    for key, value in whole.items():
        each = [one[key] for one in found]
        if key == "same y":
            assert all(torch.equal(each[i], each[i + 1]) for i in (0, 2))
            mine = torch.cat(each[::2], 1)
        elif key == "sum x":
            mine = torch.cat([each[i] + each[i + 1] for i in (0, 2)], 1)
        else:
            mine = torch.stack(each).sum(0)
        torch.testing.assert_close(mine, value, rtol=1e-10, atol=1e-11, msg=key)


def test_the_work_is_divided() -> None:
    """A process multiplies with its rows alone: nothing comes of the others' weights but through the sum."""
    part = of(PARTS["mlp"])
    assert isinstance(part, MLP)
    x = torch.randn(3, WIDTH, dtype=torch.float64)
    seen: list[torch.Size] = []
    part.activation = lambda h: (seen.append(h.shape), h.relu())[1]
    share = Share(1, 4)
    share.add = lambda x: None  # type: ignore[method-assign]
    divide([part], share)
    y = part(x)
    assert seen == [(3, 5)] and part.up.weight.shape == (20, WIDTH)
    hidden = (x @ part.up.weight[5:10].T + part.up.bias[5:10]).relu()
    torch.testing.assert_close(y, hidden @ part.down.weight[:, 5:10].T + part.down.bias / 4)


@pytest.mark.parametrize(
    ("name", "sums"), [("attention", 2), ("glu", 2), ("latent", 2), ("lru", 2), ("vq", 4)]
)
def test_a_pass_sums_once_forward_and_once_backward(name: str, sums: int) -> None:
    """So four times a block; a codebook's commitment is a sum more."""
    part, share = of(PARTS[name]), Share(0, 2)
    called: list[int] = []
    share.add = lambda x: called.append(x.numel())  # type: ignore[method-assign]
    divide([part], share)
    passed(part)
    assert len([n for n in called if n > 1]) == 2
    assert len(called) == sums + (name == "vq")  # of which the codebook's perplexity has no gradient


class Bare(Mixer):
    def mix(self, x: torch.Tensor, mask: Any) -> torch.Tensor:
        return x


def test_what_cannot_be_divided_is_told_and_what_says_nothing_is_left_alone() -> None:
    assert divide([Bare()], Share(0, 2)) == 0
    for part, said in (
        (attention(), "heads: 4 cannot be divided among train.mesh.tensor = 3"),
        (attention(qk_norm=QKNorm(over="width")), "qk_norm: HeadNorm may look at all heads together"),
        (attention(gate="heads"), "gate: HeadGate reads the input head by head"),
        (attention(weights=nn.Linear(3, 3)), "weights: Linear does not say"),
    ):
        with pytest.raises(ValueError, match=said):
            divide([part], Share(0, 3))
    assert Share(3, 4).of(Units(2, shared=True)) == range(1, 2)


def test_a_pass_that_fails_leaves_the_part_whole() -> None:
    part = of(PARTS["attention"])
    before = copy.copy(part.__dict__)
    divide([part], Share(0, 2))
    assert isinstance(part, Attention)
    with pytest.raises(RuntimeError):
        part(torch.randn(2, 3, 5))
    assert part.heads == 4 and "weight" not in part.qkv.__dict__ and before.keys() < part.__dict__.keys()
