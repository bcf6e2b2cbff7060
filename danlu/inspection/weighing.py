"""Statistics of weights and gradients, by the part of the network that they belong to."""

from __future__ import annotations

import re

import torch
import torch.nn as nn

from danlu.inspection.numbers import effective_rank, rms, singular_values, stable_rank
from danlu.nn import Linear

Values = dict[str, float]

_IN_BLOCK = re.compile(r"(.*\bblocks\.\d+\.(?:mixer|cross|feed_forward))")
_AT_THE_START = re.compile(r"\b(embedding|position|segments)")
_AT_THE_END = re.compile(r"(decoder\.)?(norm|readout|transform)(_|\b)")


def part(name: str) -> str:
    """The part of the model that the parameter ``name`` belongs to, norms and gains with what they serve:
    ``embedding``, ``blocks.0.mixer``, ``blocks.0.feed_forward``, ``readout`` (with the last norm), and in an
    encoder-decoder ``encoder.norm``. In networks of other blocks each module that holds parameters is one."""
    if found := _IN_BLOCK.match(name):
        return found[1]
    if _AT_THE_START.search(name):
        return "embedding"
    return "readout" if _AT_THE_END.match(name) else name.rpartition(".")[0] or name


def by_part(model: nn.Module, *, frozen: bool = False) -> dict[str, list[nn.Parameter]]:
    """The parameters that learn (``frozen``: the others too), by the part that they belong to."""
    found: dict[str, list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad or frozen:
            found.setdefault(part(name), []).append(p)
    return found


@torch.no_grad()
def weights(model: nn.Module) -> Values:
    """Root mean square and largest of the weights of each part, and the ranks of its matrices (means over
    the part's linear maps; what stands one above another in a map counts as several)."""
    found: Values = {}
    for name, ps in by_part(model, frozen=True).items():
        flat = torch.cat([p.detach().float().flatten() for p in ps])
        found |= {f"weight/{name}": float(rms(flat)), f"weight-max/{name}": float(flat.abs().max())}
    ranks: dict[str, list[tuple[float, float]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Linear) and (name := part(name + ".weight")) not in ("embedding", "readout"):
            for matrix in module.weight.detach().split(module.rows):
                values = singular_values(matrix)
                if values.max() > 0:
                    ranks.setdefault(name, []).append(
                        (float(effective_rank(values)), float(stable_rank(values)))
                    )
    for name, of_part in ranks.items():
        for i, what in enumerate(("weight-rank", "weight-stable-rank")):
            found[f"{what}/{name}"] = sum(one[i] for one in of_part) / len(of_part)
    return found


@torch.no_grad()
def gradients(model: nn.Module) -> Values:
    """Of the gradients that are there: norm, norm over that of the weights, share that is exactly zero."""
    found: Values = {}
    for name, ps in by_part(model).items():
        grads = [p.grad.float().flatten() for p in ps if p.grad is not None]
        if not grads:
            continue
        g, w = torch.cat(grads).double(), torch.cat([p.float().flatten() for p in ps]).double()
        found[f"gradient/{name}"] = float(g.norm())
        found[f"gradient-to-weight/{name}"] = float(g.norm() / w.norm())
        found[f"gradient-zero/{name}"] = float((g == 0).double().mean())
    return found


@torch.no_grad()
def changes(before: nn.Module, after: nn.Module) -> Values:
    """‖w′ − w‖/‖w‖ by part, of two models of one shape."""
    found: Values = {}
    there = by_part(before, frozen=True)
    for name, ps in by_part(after, frozen=True).items():
        olds = there[name]
        old = torch.cat([p.float().flatten() for p in olds]).double()
        new = torch.cat([p.float().flatten() for p in ps]).double()
        found[f"change/{name}"] = float((new - old).norm() / old.norm())
    return found
