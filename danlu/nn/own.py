"""Own parts, made from their specifications: a user's class with what a model expects of a part besides."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn

from danlu.nn.linear import Linear
from danlu.spec.base import Spec
from danlu.spec.errors import SpecError
from danlu.spec.families import FAMILIES, Own

MODULES = ("norm", "mixer", "feed_forward", "position", "residual")
LOW = (torch.bfloat16, torch.float16)


def make(own: Own, spec: Spec, *context: Any, **more: Any) -> Any:
    """The part that ``spec`` describes; the arguments are those of ``danlu.nn.build``. A function comes back
    with its fields filled in. Raises ``SpecError`` for a ValueError of the class, or if it is no module."""
    around = dict(zip(FAMILIES[own.family].around(spec), context, strict=False)) | more
    given = {name: around[name] for name in own.context} | own.settings(spec)
    makes: Callable[..., Any] = own.makes
    if not inspect.isclass(makes):
        return functools.partial(makes, **given) if given else makes
    if issubclass(makes, nn.Module):
        makes = complete(makes, own.family)
    elif own.family in MODULES:
        raise SpecError(f"{own.family} {own.kind} of {own.origin.name} is a class, but no torch.nn.Module")
    try:
        made = makes(**given)
    except ValueError as error:
        raise SpecError(f"{own.family} {own.kind} of {own.origin.name}: {error}") from error
    if isinstance(made, nn.Module):
        made.given = given  # type: ignore[assignment]
    return made


def complete(cls: type[nn.Module], family: str) -> type[nn.Module]:
    """``cls`` with what it lacks: activations of 16 bits while its weights are float32, and initial weights
    that depend on its own stream alone."""
    if (cls, family) in _COMPLETE:
        return _COMPLETE[cls, family]
    added: dict[str, Any] = {"__module__": cls.__module__, "__doc__": cls.__doc__, "family": family}
    if "forward" in dir(cls):
        added["forward"] = _mixed(cls.forward)
    if not hasattr(cls, "initialise_own"):
        added["initialise_own"] = _initialise_own
    _COMPLETE[cls, family] = type(cls.__name__, (cls,), added)
    return _COMPLETE[cls, family]


_COMPLETE: dict[tuple[type, str], type[nn.Module]] = {}


def _mixed(run: Callable[..., Any]) -> Callable[..., Any]:
    """A method that computes in the type of its first input, as PyTorch's autocast does, and returns it."""

    @functools.wraps(run)
    def wrapped(self: nn.Module, x: torch.Tensor, *more: Any) -> Any:
        if x.dtype not in LOW:
            return run(self, x, *more)
        with torch.autocast(x.device.type, x.dtype):
            return run(self, x, *more).to(x.dtype)

    return wrapped


@torch.no_grad()
def _initialise_own(self: nn.Module) -> None:
    """The weights that the constructor draws, drawn again from the stream that this part has by its place;
    those of danlu's linear maps and embeddings are the model's business."""
    fresh = type(self)(**self.given)  # type: ignore[arg-type]
    drawn = tuple(
        f"{name}." for name, module in fresh.named_modules() if isinstance(module, Linear | nn.Embedding)
    )
    new = fresh.state_dict()
    for name, tensor in self.state_dict().items():
        if not name.startswith(drawn):
            tensor.copy_(new[name])
