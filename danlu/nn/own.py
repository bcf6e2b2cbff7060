"""Own parts, made from their specifications: a user's class with what a model expects of a part besides."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn

from danlu.nn import contracts
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask
from danlu.spec.base import Spec
from danlu.spec.errors import SpecError
from danlu.spec.families import FAMILIES, Own

LOW = (torch.bfloat16, torch.float16)


def make(own: Own, spec: Spec, *context: Any, **more: Any) -> Any:
    """The part that ``spec`` describes; the arguments are those of ``danlu.nn.build``. A function comes back
    with its fields filled in. Raises ``SpecError`` for what the class refuses by a ValueError, and where it
    cannot stand in its place."""
    around = dict(zip(FAMILIES[own.family].around(spec), context, strict=False)) | more
    given = {name: around[name] for name in own.context} | own.settings(spec)
    makes: Callable[..., Any] = own.makes
    if not inspect.isclass(makes):
        return functools.partial(makes, **given) if given else makes
    if issubclass(makes, nn.Module):
        makes = complete(makes, own.family)
    elif own.family in _DEFAULTS and own.family != "activation":
        raise SpecError(f"{own} is not a torch.nn.Module")
    if (lacking := _lacking(own)) is not None:
        raise SpecError(f"{own} has no {lacking.partition('(')[0]}: write def {lacking} in its class")
    try:
        made = makes(**given)
    except ValueError as error:
        raise SpecError(f"{own}: {error}") from error
    if isinstance(made, nn.Module):
        made._given, made._around = given, around  # type: ignore[assignment]
        if own.family in ("mixer", "feed_forward") and not hasattr(made, "out"):
            raise SpecError(
                f"{own} has no out: call its last linear map self.out, on which initialisations act, or say "
                "out = None in the class where there is none"
            )
    return made


# How a module is called, by its family or by the place where it acts.
_CALLED = {
    "norm": "forward(self, x)", "activation": "forward(self, x)", "mixer": "forward(self, x)",
    "feed_forward": "forward(self, x)", "residual": "forward(self, x, branch)",
    "embedding": "at(self, start, count)", "heads": "forward(self, x, start)",
    "scores": "bias(self, q, keys, offset, causal)",
}  # fmt: skip
# What stands in the base classes for a method that is not written.
_UNWRITTEN = (
    nn.Module.forward, contracts.Residual.forward, contracts.HeadPosition.forward,
    contracts.EmbeddingPosition.at, contracts.ScorePosition.bias, contracts.Mixer.mix, None,
)  # fmt: skip


def _lacking(own: Own) -> str | None:
    """The method by which the class would be called and which it lacks, with its parameters."""
    cls: Any = own.makes
    called = _CALLED.get(getattr(own.spec, "acts_on", own.family))
    if called is None or not issubclass(cls, nn.Module) or hasattr(cls, "products"):
        return None
    if getattr(cls, "forward", None) is contracts.Mixer.forward:
        called = "mix(self, x, mask)"
    return called if getattr(cls, called.partition("(")[0], None) in _UNWRITTEN else None


def complete(cls: type[nn.Module], family: str) -> type[nn.Module]:
    """``cls`` with what it lacks: the methods of its family, activations of 16 bits beside weights of 32, and
    initial weights that come from its own stream."""
    if (cls, family) in _COMPLETE:
        return _COMPLETE[cls, family]
    added: dict[str, Any] = {
        name: value
        for defaults in _DEFAULTS.get(family, ())
        for name, value in vars(defaults).items()
        if not name.startswith("__") and not hasattr(cls, name)
    }
    if family == "mixer":
        added |= _as_mixer(cls)
    for name in ("forward", "bias", "products"):
        run = added.get(name) or getattr(cls, name, None)
        if inspect.isfunction(run):
            added[name] = _in_type_of_input(run)
    added |= {"__module__": cls.__module__, "__doc__": cls.__doc__, "family": family}
    _COMPLETE[cls, family] = type(cls.__name__, (cls,), added)
    return _COMPLETE[cls, family]


_COMPLETE: dict[tuple[type, str], type[nn.Module]] = {}


def _as_mixer(cls: type[nn.Module]) -> dict[str, Any]:
    """A mixer whose ``forward`` knows no cache is asked as ``mix``."""
    run, mix = cls.forward, getattr(cls, "mix", contracts.Mixer.mix)
    names = inspect.signature(run).parameters
    if mix is not contracts.Mixer.mix or "cache" in names:
        return {}

    def mixing(self: nn.Module, x: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        return run(self, x, mask) if "mask" in names else run(self, x)

    return {"mix": mixing, "forward": contracts.Mixer.forward}


def _in_type_of_input(run: Callable[..., Any]) -> Callable[..., Any]:
    """A method that computes in the type of its first input, as PyTorch's autocast does, and returns it."""

    @functools.wraps(run)
    def wrapped(self: nn.Module, x: torch.Tensor, *more: Any) -> Any:
        if x.dtype not in LOW:
            return run(self, x, *more)
        if x.device.type == "meta":  # where autocast is not: costs are told as of float32
            return run(self, x.float(), *more).to(x.dtype)
        with torch.autocast(x.device.type, x.dtype):
            return run(self, x, *more).to(x.dtype)

    return wrapped


class _Any(nn.Module):
    """What every own part has."""

    _given: dict[str, Any]  # to the constructor
    _around: dict[str, Any]

    @torch.no_grad()
    def initialise_own(self) -> None:
        """What the constructor draws, drawn again from the stream that this part has by its place. Weights of
        danlu's linear maps and embeddings are the model's business."""
        fresh = type(self)(**self._given)
        drawn = tuple(
            f"{name}." for name, module in fresh.named_modules() if isinstance(module, Linear | nn.Embedding)
        )
        new = fresh.state_dict()
        for name, tensor in self.state_dict().items():
            if not name.startswith(drawn):
                tensor.copy_(new[name])


class _Branch(_Any):
    """What a mixer or a feed-forward layer may leave out; ``out`` may be None."""

    out: Linear | None

    def value_path(self) -> list[torch.Tensor]:
        return [] if self.out is None else [self.out.weight]

    def readers(self) -> None:
        return None


class _Mixer(_Branch):
    cache = contracts.Mixer.cache
    decoding_flops = contracts.Mixer.decoding_flops

    def cache_bytes(self, length: int, element: int) -> int:
        return length * int(self._around["width"]) * element

    def flops(self, batch: int, length: int) -> int:
        return contracts.count_flops(self, batch, length, self._around["width"])


class _FeedForward(_Branch):
    def flops(self, tokens: int) -> int:
        return contracts.count_flops(self, tokens, self._around["width"])


# Whose methods a class of a family gets where it has none of the name.
_DEFAULTS: dict[str, tuple[type[nn.Module], ...]] = {
    "norm": (_Any,),
    "position": (_Any,),
    "residual": (_Any,),
    "activation": (_Any,),
    "mixer": (_Any, _Branch, _Mixer),
    "feed_forward": (_Any, _Branch, _FeedForward),
}
