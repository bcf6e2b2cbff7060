"""Initial weights.

Every module draws from a stream of its own, named by the model's seed and the module's place: two networks
of one seed that differ in one part start with equal weights everywhere else, so that runs can be compared in
pairs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn import Block, Linear
from danlu.nn.positions import Learned

Begin = Callable[[nn.Module], None]  # what the next numbers are drawn for


@contextmanager
def streams(model: nn.Module, seed: int) -> Iterator[Begin]:
    """Within it, ``begin(module)`` sets torch's generator to the stream of that module of ``model``; after it
    the generator stands where it stood."""
    names = {module: name for name, module in model.named_modules()}

    def begin(module: nn.Module) -> None:
        digest = hashlib.blake2b(f"{seed} {names[module]}".encode(), digest_size=8).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest) >> 1)

    with torch.random.fork_rng(devices=()):
        yield begin


@torch.no_grad()
def draw(
    modules: Collection[nn.Module],
    init: spec.Init,
    readout: nn.Module | None,
    begin: Begin,
    multiplier: float = 1.0,
    embedding: nn.Module | None = None,
) -> None:
    """Draw the weights of every linear map but the ``readout``, and of every embedding; parts with weights of
    their own kind draw those.

    ``multiplier``: how many times as wide as the model for which ``init.std`` is said (μP: ∝ 1/√fan-in);
    ``embedding``: the map of the input, whose fan-in is not of the width."""
    hidden = None if init.std is None else init.std * multiplier**-0.5
    for module in modules:
        begin(module)
        if isinstance(module, Linear) and module is not readout:
            std = init.std if module is embedding else hidden
            nn.init.normal_(module.weight, std=std or module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding | Learned):
            nn.init.normal_(module.weight, std=init.embedding)
    _draw_own(modules, begin)


def _draw_own(modules: Iterable[nn.Module], begin: Begin) -> None:
    for module in modules:
        own = getattr(module, "initialise_own", None)
        if callable(own):
            begin(module)
            own()


@torch.no_grad()
def scale_branches(blocks: Sequence[Block], init: spec.Init, depth: int) -> None:
    """Multiply the last map of every branch of ``blocks``, ``depth`` in all, by what ``init.branch`` says."""
    factor = {"same": 1.0, "depth": 1 / math.sqrt(2 * depth), "zero": 0.0}[init.branch]
    for block in blocks:
        for end in block.branch_ends():
            end.weight.mul_(factor)


@torch.no_grad()
def draw_deepnorm(blocks: Sequence[Block], beta: float, begin: Begin = lambda module: None) -> None:
    """Xavier's normal weights with gain β where values flow, 1 elsewhere (Wang et al. 2022, figure 2)."""
    for block in blocks:
        for module in block.modules():
            if isinstance(module, Linear):
                begin(module)
                for matrix in module.weight.split(module.rows):
                    nn.init.xavier_normal_(matrix)
        _draw_own(block.modules(), begin)
        for matrix in block.value_path():
            matrix.mul_(beta)
