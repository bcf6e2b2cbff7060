"""Convolutions whose float32 weights serve activations of any precision, and residual blocks of them."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu.nn.conditions import Modulate


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` computing in the precision of its input, as ``danlu.nn.Linear`` does.

    ``size``: of the kernel, odd; the input is padded with zeros so that a ``stride`` of 1 keeps its size.
    Shapes: (batch, inputs, height, width) → (batch, outputs, ⌈height/stride⌉, ⌈width/stride⌉).
    """

    def __init__(
        self, inputs: int, outputs: int, size: int = 3, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, self.weight.to(x.dtype), bias, self.stride, self.padding)

    def flops(self, batch: int, height: int, width: int) -> int:
        """FLOPs of a forward pass over inputs of that height and width."""
        places = -(-height // self.stride[0]) * -(-width // self.stride[1])
        return 2 * batch * places * self.weight.numel()


class ImageNorm(nn.GroupNorm):
    """Group norm over features in ``groups`` groups and all pixels (Wu & He 2018), statistics in float32.
    Shapes: (batch, channels, height, width) → the same, in the type of the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        gain, bias = (parameter.to(exact.dtype) for parameter in (self.weight, self.bias))
        return F.group_norm(exact, self.num_groups, gain, bias, self.eps).to(x.dtype)


class ConvBlock(nn.Module):
    """A residual block on images: skip(x) + conv(silu(modulate(norm(conv(silu(norm(x)))), condition))) (Ho et
    al. 2020; scaled and shifted after the norm by Dhariwal & Nichol 2021, section 3).

    Args: ``inputs``, ``outputs``: channels, which ``groups`` divides; ``condition``: numbers in a condition,
    None for a block without. The skip is a 1 × 1 convolution where the channels change.
    Shapes: (batch, inputs, height, width) and (batch, condition) → (batch, outputs, height, width).
    """

    def __init__(self, inputs: int, outputs: int, *, groups: int, condition: int | None = None) -> None:
        super().__init__()
        self.first_norm = ImageNorm(groups, inputs)
        self.first = Conv2d(inputs, outputs)
        self.second_norm = ImageNorm(groups, outputs)
        self.modulate = None if condition is None else Modulate(outputs, condition, axis=1)
        self.second = Conv2d(outputs, outputs)
        self.skip = Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        y = self.second_norm(self.first(F.silu(self.first_norm(x))))
        if self.modulate is not None and condition is not None:
            y = self.modulate(y, condition)
        return (x if self.skip is None else self.skip(x)) + self.second(F.silu(y))

    def branch_ends(self) -> list[Conv2d]:
        """The last map of the branch, which initialisations scale."""
        return [self.second]

    def flops(self, batch: int, height: int, width: int) -> int:
        """FLOPs of a forward pass over inputs of that height and width, with a condition if it takes one."""
        maps = [self.first, self.second, *([] if self.skip is None else [self.skip])]
        own = 0 if self.modulate is None else self.modulate.flops(batch)
        return own + sum(conv.flops(batch, height, width) for conv in maps)
