"""Batch norms in evaluation as parts of the linear maps beside them: the same function, with fewer steps."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.linear import Linear
from danlu.nn.norms import BatchNorm

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


def scale_and_shift(norm: BatchNorm | nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """s = a/√(variance + ε) and t = b − s·mean of y = s·x + t, which ``norm`` (danlu's or PyTorch's) is in
    evaluation: (width,) in float64. Raises ValueError in training, where it is no such map, and for a norm of
    PyTorch's that keeps no running averages."""
    if norm.training:
        raise ValueError("a batch norm in training depends on its batch and cannot be folded; call .eval()")
    if isinstance(norm, BatchNorm):
        (a, b), mean, variance = norm.affine(torch.float64), norm.mean, norm.variance
    else:
        (a, b), mean, variance = (norm.weight, norm.bias), norm.running_mean, norm.running_var  # type: ignore[assignment]
        if mean is None or variance is None:
            raise ValueError(
                "a batch norm without running averages depends on its batch, and cannot be folded"
            )
    scale = torch.rsqrt(variance.double() + norm.eps)
    scale = scale if a is None else scale * a.double()
    shift = -scale * mean.double()
    return scale, shift if b is None else shift + b.double()


@torch.no_grad()
def fold(norm: BatchNorm, linear: nn.Linear) -> Linear:
    """One linear layer that does what ``linear`` and then ``norm`` do in evaluation: weight s·W and bias
    s·c + t, computed in float64 and given in the weight's type. The two modules stay as they are.

    Raises ValueError as ``scale_and_shift``, and where the sizes differ.
    """
    scale, shift = scale_and_shift(norm)
    if linear.out_features != len(scale):
        raise ValueError(f"the linear layer has {linear.out_features} outputs, the norm {len(scale)}")
    bias = shift if linear.bias is None else shift + scale * linear.bias.double()
    return _linear(linear, scale[:, None] * linear.weight.double(), bias)


@torch.no_grad()
def fold_before(norm: BatchNorm | nn.modules.batchnorm._BatchNorm, layer: nn.Linear | Conv) -> nn.Module:
    """One module that does what ``norm`` and then ``layer``, a linear map or a convolution, do in evaluation:
    weight W·s and bias c + W·t.

    A convolution that pads with zeros pads what the norm gives. Folded it must pad with what the norm makes
    zero, μ − b/s by channel, since zeros would be another picture at the borders: it is then a ``Border``
    and a convolution without padding. Raises ValueError as ``scale_and_shift``, where the sizes differ, for
    padding of other kinds than zeros and none, and where the norm of a padded channel is a constant.
    """
    scale, shift = scale_and_shift(norm)
    inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    if inputs != len(scale):
        raise ValueError(f"the layer has {inputs} inputs, the norm {len(scale)}")
    if isinstance(layer, nn.Linear):
        weight = layer.weight.double()
        more = weight @ shift
        return _linear(layer, weight * scale, more if layer.bias is None else more + layer.bias.double())
    return _conv(layer, scale, shift)


def _conv(layer: Conv, scale: Tensor, shift: Tensor) -> nn.Module:
    if isinstance(layer.padding, str) or (layer.padding_mode != "zeros" and any(layer.padding)):
        raise ValueError(
            f"padding = {layer.padding!r} of mode {layer.padding_mode} is not folded; allowed: numbers; zeros"
        )
    padded = any(layer.padding)
    if padded and bool(((scale == 0) & (shift != 0)).any()):
        raise ValueError(
            "the norm gives a channel a constant (its gain is 0), which no border can stand for; set its "
            "bias to 0, or the convolution's padding"
        )
    groups, kernel = layer.groups, [1] * (layer.weight.ndim - 2)
    of_group = [one.view(groups, 1, -1, *kernel) for one in (scale, shift)]
    weight = layer.weight.double().unflatten(0, (groups, -1))
    bias = (weight * of_group[1]).flatten(2).sum(-1).flatten()
    made = copy.deepcopy(layer)
    made.padding = (0,) * len(layer.padding) if padded else layer.padding
    made.bias = nn.Parameter(layer.weight.new_zeros(layer.out_channels))
    made.weight.copy_((weight * of_group[0]).flatten(0, 1))
    made.bias.copy_(bias if layer.bias is None else bias + layer.bias.double())
    if not padded:
        return made
    fill = torch.where(scale == 0, 0.0, -shift / scale)
    return nn.Sequential(Border(fill.to(layer.weight), layer.padding), made)


class Border(nn.Module):
    """Pads images (batch, channels, …) by ``padding`` on both sides of each dimension with a number of each
    channel, ``fill`` (channels,)."""

    fill: Tensor

    def __init__(self, fill: Tensor, padding: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("fill", fill)
        self.padding = [size for size in reversed(padding) for _ in range(2)]

    def forward(self, x: Tensor) -> Tensor:
        border = F.pad(x.new_zeros(x.shape[2:]), self.padding, value=1.0)
        return F.pad(x, self.padding) + border * self.fill.to(x.dtype).view(-1, *[1] * (x.ndim - 2))


def _linear(layer: nn.Linear, weight: Tensor, bias: Tensor) -> Linear:
    made = Linear(layer.in_features, layer.out_features, rows=getattr(layer, "rows", None)).to(layer.weight)
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made
