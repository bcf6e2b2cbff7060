"""Ways to compute the loss of a large vocabulary, and steps of update rules at 124 M parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from bench.gpu.place import Place, Row
from danlu import optim
from danlu.models.ends import Reduction

CHUNKS = 8
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def rows(at: Place) -> Iterator[Row]:
    yield from losses(at)
    yield from rules(at)


# --- the loss ----------------------------------------------------------------------------------------------


def plain(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As danlu does it: all logits, in float32."""
    return F.cross_entropy(F.linear(x, w.to(x.dtype)).float(), y, reduction="sum")


def in_chunks(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As danlu does it where logits are large: a share of the tokens at a time, whose logits are made again
    for the backward pass."""

    def nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, targets, reduction="sum")

    reduction = Reduction(nats, (y[None],), -(-len(y) // CHUNKS))
    return reduction.over(lambda some: F.linear(some, w.to(some.dtype)).float(), x[None])


def ways(at: Place) -> dict[str, Loss]:
    found: dict[str, Loss] = {"plain": plain, f"{CHUNKS} chunks": in_chunks}
    if hasattr(F, "linear_cross_entropy"):  # from PyTorch 2.13 on
        options = torch.nn.LinearCrossEntropyOptions()

        def torchs(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            loss: torch.Tensor = F.linear_cross_entropy(x, w.to(x.dtype), y, reduction="sum", options=options)
            return loss

        found["linear_cross_entropy"] = torchs
    backend = at.size("inductor", "aot_eager")
    found["plain, compiled"] = torch.compile(plain, backend=backend, dynamic=False)
    return found


def losses(at: Place) -> Iterator[Row]:
    tokens, width, vocabulary = at.size((32768, 768, 50304), (64, 16, 97))
    x = torch.randn(tokens, width, device=at.device, dtype=torch.bfloat16, requires_grad=True)
    w = (0.02 * torch.randn(vocabulary, width, device=at.device)).requires_grad_()
    y = torch.randint(vocabulary, (tokens,), device=at.device)
    expected: list[torch.Tensor] | None = None
    for name, way in ways(at).items():
        row: Row = {"what": f"loss of {tokens} tokens, {name}"}
        try:

            def work(way: Loss = way) -> list[torch.Tensor]:
                return list(torch.autograd.grad(way(x, w, y), (x, w)))

            found = work()
            expected = expected or found
            off = max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))
            del found
            row |= {
                "ms": at.milliseconds(work, repeats=5, warm=2),
                "MB": at.peak(work),
                "gradient off by": off,
            }
            if not off <= 2e-2:
                row["wrong"] = "not the gradient of the plain way"
        except Exception as error:  # one way may be missing or broken, the others still tell something
            row["wrong"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        yield row


# --- rules -------------------------------------------------------------------------------------------------

RULES = ("AdamW", "SGD", "Lion", "Tiger", "LAMB", "Adafactor", "ScheduleFreeAdamW", "Amos", "Muon", "SOAP")
MANY = 10  # steps that are timed together: SOAP turns its bases once in so many


def rules(at: Place) -> Iterator[Row]:
    width, layers = at.size((768, 12), (16, 2))
    shapes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)] * layers
    params = [torch.nn.Parameter(0.02 * torch.randn(shape, device=at.device)) for shape in shapes]
    for p in params:
        p.grad = 1e-3 * torch.randn_like(p)
    times: dict[str, float] = {}
    for name in RULES:
        rule: Any = getattr(optim, name)(params, lr=1e-4)

        def work(rule: Any = rule) -> None:
            for _ in range(MANY):
                rule.step()

        work()
        times[name] = at.milliseconds(work, repeats=2, warm=0) / MANY
        yield {"what": f"step of {name}", "aside": True, "ms": times[name], "MB": at.peak(rule.step)}
        del rule, work
    yield {"what": "a step, ms", **times}
