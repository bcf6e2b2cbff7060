"""The test kit: what is right passes, and each thing that can be wrong is found by its check."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import danlu
from danlu.nn import Linear
from danlu.spec import SpecError
from danlu.testing import check_part

MINE = Path(__file__).with_name("mine.py")
PARTS = [
    "norm dyt", "activation snake", "activation plain-mish", "mixer mean", "feed_forward low-rank",
    "position decay", "residual half", "optimizer heavy-ball", "optimizer sign-momentum",
    "schedule saw", "objective focal",
    "data stripes",
]  # fmt: skip
CALLS = itertools.count()


@pytest.mark.parametrize("part", PARTS)
def test_right_parts_pass(part: str) -> None:
    danlu.load(MINE)
    report = check_part(part)
    assert report.wrong == []
    assert {"a run, repeated", "a run, resumed"} <= {check.name for check in report.checks if check.holds}


def test_every_part_of_the_file_is_checked() -> None:
    found = re.findall(r'part\("([a-z_]+)", "([a-z-]+)"', MINE.read_text())
    assert sorted(PARTS) == sorted(f"{family} {kind}" for family, kind in found)


# ---------------------------------------------------------------- one fault each


class Narrow(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., :8]


class Infinite(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.zeros(x.shape[-1])


def widened(x: torch.Tensor) -> torch.Tensor:
    return x.float()


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.sin()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0]


def wrong_backward(x: torch.Tensor) -> torch.Tensor:
    return _WrongBackward.apply(x)  # type: ignore[no-any-return]


class Idle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def dice(x: torch.Tensor) -> torch.Tensor:
    return x * random.random()


class Ahead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.mean(1, keepdim=True).expand_as(x))  # type: ignore[no-any-return]


class Forgetful(nn.Module):
    """Its cache remembers nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = Linear(width, width)

    def cache(self, batch: int, length: int) -> Any:
        return object()

    def forward(self, x: torch.Tensor, mask: Any = None, cache: Any = None) -> torch.Tensor:
        return self.out(x.cumsum(1))  # type: ignore[no-any-return]


class Boastful(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = Linear(width, width)

    def flops(self, tokens: int) -> int:
        return tokens

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x)  # type: ignore[no-any-return]


class Numbered(nn.Module):
    """Its weights depend on how many there were before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), float(next(CALLS))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


class Counting(nn.Module):
    """What it knows is in no buffer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return x * (1 + 0.1 * self.calls)


class Heedless(danlu.optim.Rule):
    """Its momentum is in no state."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        self.velocity: dict[Any, torch.Tensor] = {}
        super().__init__(params, {"lr": lr})

    def update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        for p in params:
            self.velocity[p] = 0.9 * self.velocity.get(p, 0) + p.grad
            p.sub_(self.velocity[p], alpha=group["lr"])


class Counted(torch.optim.SGD):
    """A number in its state."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)

    def step(self, closure: Any = None) -> None:
        super().step()
        for p in self.param_groups[0]["params"]:
            self.state[p]["calls"] = self.state[p].get("calls", 0) + 1


def endless(now: Any) -> float:
    return -1.0 if now.progress > 0.5 else 1.0


class Mean(danlu.objectives.Causal):
    """Its loss is a mean."""

    def __init__(self, source: Any) -> None:
        super().__init__(source)

    def loss(self, model: nn.Module, example: Any) -> Any:
        total = super().loss(model, example).total
        return danlu.objectives.Losses(total / example["targets"].numel())


class Restless(Mean):
    """What it draws depends on what was drawn before."""

    def example(self, draw: Any) -> Any:
        made = super().example(draw)
        return made | {"tokens": (made["tokens"] + random.randrange(9)) % 200}


class Misnamed(Mean):
    def measure(self, sums: Any) -> dict[str, float]:
        return {"other": 1.0}


class Bright:
    """Pixels beyond 1, and held-out images drawn anew each time."""

    like, shape, classes = "digits", (1, 8, 8), 2

    def __init__(self) -> None:
        draw = np.random.default_rng(next(CALLS))
        images = 2 * draw.random((8, 1, 8, 8), dtype=np.float32)
        self.train = self.held_out = images, np.arange(8) % 2

    def rows(self, seed: int, step: int, first: int, start: int, stop: int) -> Any:
        chosen = (first + np.arange(start, stop)) % 8
        return self.train[0][chosen], self.train[1][chosen]


@pytest.mark.parametrize(
    ("family", "makes", "check", "said"),
    [
        ("norm", Narrow, "shape", r"\(2, 8, 8\) is not \(2, 8, 16\)"),
        ("norm", Infinite, "type of activations", "not finite"),
        ("activation", widened, "type of activations", "torch.bfloat16 in, torch.float32 out"),
        ("activation", wrong_backward, "gradients", "Jacobian mismatch"),
        ("norm", Idle, "gradients", "no gradient reaches unused"),
        ("activation", dice, "the same twice", "differ"),
        ("mixer", Ahead, "order", "a position sees those after it"),
        ("mixer", Forgetful, "cache", "differs from all at once"),
        ("feed_forward", Boastful, "FLOPs", "it says 16, PyTorch counts 8,192"),
        ("norm", Numbered, "initial weights", "gain depends on other parts"),
        ("norm", Counting, "state", "it knows what is not in its state"),
        ("norm", Counting, "a run, resumed", "is another"),
        ("activation", dice, "a run, repeated", "is another"),
        ("optimizer", Heedless, "a run, resumed", "is another"),
        ("optimizer", Counted, "a run, repeated", "/calls is of type int, and a checkpoint holds tensors"),
        ("schedule", endless, "factor of the rate", "gives -1.0 before update 52"),
        ("objective", Mean, "loss", "example by example"),
        ("objective", Restless, "examples", "tokens of a part of a batch is another"),
        (
            "objective",
            Misnamed,
            "metrics",
            "measure gives other, and metrics names bits_per_byte, held_out_loss",
        ),
        ("data", Bright, "images", "images are not float32 of \\(1, 8, 8\\) from 0 to 1"),
        ("data", Bright, "prepared twice", "the held-out examples are others"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_fault_is_found(family: str, makes: Callable[..., Any], check: str, said: str) -> None:
    danlu.part(family, "faulty")(makes)
    with pytest.raises(AssertionError) as caught:
        check_part(makes)
    assert re.search(rf"WRONG  {check} .*{said}", str(caught.value)), caught.value


def test_second_derivatives_are_told() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return grads[0] * ctx.saved_tensors[0].cos()

    def sine(x: torch.Tensor) -> torch.Tensor:
        return Once.apply(x)  # type: ignore[no-any-return]

    danlu.part("activation", "sine")(sine)
    (told,) = [c for c in check_part("sine").checks if c.name == "second derivatives"]
    assert told.holds is None and told.said.startswith("not right: ")


def test_fields_and_names() -> None:
    danlu.load(MINE)
    assert check_part("dyt", alpha=2.0).part == "norm dyt"
    with pytest.raises(SpecError, match=r"model.norm.alpha = -1 is not a number greater than 0"):
        check_part("dyt", alpha=-1)
    with pytest.raises(SpecError, match=r"there is no part 'dyyt'; did you mean dyt\?"):
        check_part("dyyt")
    with pytest.raises(SpecError, match="'Narrow' is not registered: decorate it"):
        check_part(Narrow)
    danlu.part("activation", "dyt")(widened)
    with pytest.raises(
        SpecError, match="'dyt' is a kind of several families: write 'activation dyt' or 'norm dyt'"
    ):
        check_part("dyt")


def test_it_serves_danlus_own_parts() -> None:
    assert check_part("norm rms").wrong == []
