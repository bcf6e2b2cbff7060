"""How much a function can stretch: Lipschitz constants (in the Euclidean norm) from above and from below.

From above by the product of what the layers can do, which is never too small and often far too large. From
below by the largest stretch found at given points, which is never too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.nn as nn
from torch.func import jvp, vjp

# The greatest slopes of activations, rounded up. GELU's is Φ(√2) + √2·φ(√2).
SLOPES: dict[str, float] = {
    "relu": 1.0, "sine": 1.0, "none": 1.0, "sigmoid": 0.25, "gelu": 1.128905, "gelu-tanh": 1.128994,
    "silu": 1.099840,
}  # fmt: skip
_MODULES: dict[type[nn.Module], float] = {
    nn.Identity: 1.0, nn.Flatten: 1.0, nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Softplus: 1.0,
    nn.Sigmoid: 0.25, nn.SiLU: SLOPES["silu"], nn.GELU: SLOPES["gelu-tanh"],
}  # fmt: skip


def upper_bound(module: nn.Module) -> float:
    """A number that the Lipschitz constant of ``module``, in evaluation, does not exceed.

    Of a linear map its greatest singular value, by SVD in float64; of a convolution with zero or circular
    padding ``convolution_bound``; of an activation its greatest slope; of an ``nn.Sequential`` the product;
    of any other module what its method ``lipschitz()`` says. Raises ValueError for a module without one.
    Dot-product attention and norms without a floor have no constant.
    """
    own = getattr(module, "lipschitz", None)
    if callable(own):
        return float(own())
    if isinstance(module, nn.Sequential):
        return product(module)
    if isinstance(module, nn.Linear):
        return float(torch.linalg.matrix_norm(module.weight.detach().double(), 2))
    if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode in ("zeros", "circular"):
        return convolution_bound(module.weight.detach())
    if type(module) in _MODULES:
        return _MODULES[type(module)]
    raise ValueError(
        f"{type(module).__name__} is not known to have a Lipschitz constant; give its class a method "
        "lipschitz() that returns one"
    )


def product(modules: Iterable[nn.Module]) -> float:
    """The bound of modules one after another."""
    return math.prod(map(upper_bound, modules))


def convolution_bound(weight: torch.Tensor, frequencies: int = 64) -> float:
    """A number that the norm of a convolution with ``weight`` (outputs, inputs, height, width) does not
    exceed, for images of any size, zero or circular padding, any stride.

    On the endless plane the norm is the greatest ‖Σ W_jk e^{i(jα + kβ)}‖₂ over frequencies α, β (Sedghi et
    al. 2019 for the torus). It is taken on a grid of ``frequencies``² of them. |uᴴ·v|² is a trigonometric
    polynomial, of degree k − 1 for k weights, and between neighbours on a grid of n such a one exceeds its
    greatest value there by at most 1/cos(π(k − 1)/n) (M. Riesz). The norm of the weight as a matrix (outputs,
    inputs · height · width), which ``spectral_norm`` of PyTorch divides by, is too small by up to √(height ·
    width).
    """
    height, width = weight.shape[2:]
    if frequencies <= 2 * (max(height, width) - 1):
        raise ValueError(f"frequencies = {frequencies} is too few for a kernel of {height} × {width}")
    spectrum = torch.fft.fft2(weight.double(), s=(frequencies, frequencies)).permute(2, 3, 0, 1)
    between = math.prod(math.cos(math.pi * (size - 1) / frequencies) for size in (height, width))
    return float(torch.linalg.matrix_norm(spectrum, 2).max()) / math.sqrt(between)


@torch.no_grad()
def lower_bound(
    function: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor, steps: int = 30, seed: int = 0
) -> torch.Tensor:
    """‖Jv‖ at each of ``points`` (n, …), where v has norm 1 and comes nearer to the direction that the
    Jacobian J of ``function`` stretches most, by ``steps`` of power iteration v ∝ Jᵀ(Jv): (n).

    None exceeds ‖J‖₂, so the largest is a lower bound of the Lipschitz constant. ``function`` maps rows to
    rows, (n, …) → (n, …), each by itself; so all points take their steps together, a forward and a backward
    derivative for each. ``seed``: of the first directions.
    """
    random = torch.Generator().manual_seed(seed)
    v = torch.randn(points.shape, generator=random, dtype=torch.float64).to(points)
    v = v / _norms(v)
    back: Any = vjp(function, points)[1]
    for _ in range(steps):
        (longer,) = back(_stretched(function, points, v))
        size = _norms(longer)
        v = torch.where(size > 0, longer / size.clamp(min=torch.finfo(v.dtype).tiny), v)
    return torch.linalg.vector_norm(_stretched(function, points, v).flatten(1), dim=1)


def _stretched(
    function: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Jv at each point."""
    made: Any = jvp(function, (points,), (v,))
    return cast(torch.Tensor, made[1])


def _norms(v: torch.Tensor) -> torch.Tensor:
    """Of each row, with dimensions of 1 for the others."""
    return torch.linalg.vector_norm(v.flatten(1), dim=1).view(-1, *[1] * (v.ndim - 1))
