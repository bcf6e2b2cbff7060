"""A transformer at another size: what follows from its layers and width whoever asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from danlu.spec.errors import SpecError

if TYPE_CHECKING:
    from danlu.spec.models import Network

COARSE = 8  # what sizes are multiples of


def at_size(model: Network, layers: int, width: int, parts: Mapping[str, Callable[[Any], Any]]) -> Any:
    """``model`` with so many layers of this width: its parts, and those of its pattern, as ``parts`` changes
    them by name; its embedding width and encoder in proportion; scales that are a root of the width, of the
    new one."""
    factor = width / model.width
    changed: dict[str, Any] = {"layers": layers, "width": width}
    changed |= {name: change(getattr(model, name)) for name, change in parts.items()}
    if model.pattern is not None:
        changed["pattern"] = tuple(_layer(layer, parts) for layer in model.pattern)
    if model.embedding_width is not None:
        changed["embedding_width"] = coarse(model.embedding_width * factor)
    if (depth := getattr(model, "encoder_layers", None)) is not None:
        changed["encoder_layers"] = max(1, round(depth * layers / model.layers))
    for name, power in (("embedding_scale", 0.5), ("logit_scale", -0.5)):
        value = getattr(model, name)
        if value is not None and math.isclose(value, model.width**power, rel_tol=1e-3):
            changed[name] = width**power
    return model.model_copy(update=changed)


def _layer(layer: Any, parts: Mapping[str, Callable[[Any], Any]]) -> Any:
    own = {name: change(part) for name, change in parts.items() if (part := getattr(layer, name)) is not None}
    return layer.model_copy(update=own)


def coarse(size: float) -> int:
    """The multiple of ``COARSE`` nearest to ``size``, at least one of it."""
    return max(COARSE, round(size / COARSE) * COARSE)


def divisor(number: float, near: float) -> int:
    """The divisor of ``number`` nearest to ``near`` as ratios go, of two equally near the larger. Raises
    ``SpecError``."""
    if number != int(number) or not 0 < number <= 10**6 or near <= 0:
        raise SpecError(f"divisor({number:g}, {near:g}) needs a whole number from 1 to a million")
    whole = [d for d in range(1, int(number) + 1) if number % d == 0]
    return min(whole, key=lambda d: (round(abs(math.log(d / near)), 9), -d))
