"""What an experiment asks of devices (``danlu.planning.Demand``), counted on PyTorch's meta device."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.models import costs as of_model
from danlu.nn.fused import META
from danlu.objectives import Language, Objective
from danlu.objectives.chunks import FLOAT, LARGE, positions_at_once
from danlu.optim.base import Rule
from danlu.optim.build import build
from danlu.optim.rules.muon import Muon, orthogonalise
from danlu.optim.rules.soap import SOAP
from danlu.planning import Demand
from danlu.spec.devices import Device
from danlu.spec.mixers import LRU, NoMixer
from danlu.train.assemble import outline, outlined, training_flops
from danlu.train.costs import example_of
from danlu.train.errors import RunError
from danlu.train.machine import PRECISIONS
from danlu.train.teacher import sketch

ALIKE = 4  # numbers of the stream's width that a block keeps whole: what goes into its two norms, and out


def demand_of(experiment: spec.Experiment, device: Device, vocabulary: int | None = None) -> Demand:
    """The demand of ``experiment`` where it trains on ``device``, in bfloat16 where that has it (``auto``);
    of one worker, where there are several that train apart. Raises ``RunError`` where the network has no
    blocks."""
    precision = experiment.train.precision
    if precision == "auto":
        precision = device.type
    train = experiment.train.model_copy(update={"device": device.processor, "precision": precision})
    experiment = experiment.model_copy(update={"train": train})
    objective, model, place, _ = outline(experiment, outlined(experiment, vocabulary))
    sketch(experiment, objective)
    element = PRECISIONS[precision].itemsize
    standing_for = META.set(place)
    try:
        kept = of_model.kept(model, lambda: objective.loss(model, example_of(objective, 1)))
        parts, in_parts, part = _parts(objective, model, place, element, kept.outside)
    finally:
        META.reset(standing_for)
    blocks: list[torch.nn.Module] = list(model.blocks)
    if not blocks or not kept.blocks:
        raise RunError(
            "a plan divides the blocks of a network, and this one has none; see danlu show --costs"
        )
    sizes = [sum(p.numel() for p in block.parameters()) for block in blocks]
    first, last, shared = _ends(model, blocks)
    flops = of_model.flops(model, *objective.lengths)
    ends = ("embedding", "readout", "other", "bottleneck")
    rules = build(experiment.optimizer, model, 1)
    state, whole, products = _rules(rules)
    dealt, deals = _dealt(rules)
    total = sum(sizes) + first + last - shared
    if train.average is not None:
        state += 4 * total
    if train.outer is not None:
        state += 8 * total  # the global weights, and their velocity
    stream = kept.inputs / len(blocks)
    heads, keys = _heads(experiment)
    return Demand(
        unit=objective.unit,
        units=objective.size,
        batch=train.batch // train.shares(1),
        blocks=sizes,
        first=first,
        last=last,
        shared=shared,
        flops=training_flops(objective, model),
        forward=sum(count for part, count in flops.items() if part not in ends),
        precision=train.products if train.products in device.peak and train.products else precision,
        element=element,
        stored=4 if train.weights == "float32" else 2,
        state=state,
        whole=whole,
        update_flops=products,
        dealt=dealt,
        deals=deals,
        activations=kept.blocks,
        alike=ALIKE * stream,
        outside=kept.outside,
        stream=stream,
        copies=kept.copies,
        logits=_logits(objective, element, kept.outside),
        parts=parts,
        outside_in_parts=in_parts,
        part=part,
        heads=heads,
        keys=keys,
        recompute=train.recompute,
    )


def _ends(model: Any, blocks: list[torch.nn.Module]) -> tuple[int, int, int]:
    """Parameters before the blocks, behind them, and those that both have."""
    inside = {id(p) for block in blocks for p in block.parameters()}
    behind = (
        {id(p): p for p in model.readout.parameters()} if isinstance(model.readout, torch.nn.Module) else {}
    )
    before = {id(p): p for name, p in model.named_parameters(remove_duplicate=False)
              if id(p) not in inside and not name.startswith("readout")}  # fmt: skip
    sizes = [sum(p.numel() for p in group.values()) for group in (before, behind)]
    both = sum(p.numel() for key, p in before.items() if key in behind)
    return sizes[0], sizes[1], both


def _rules(rules: list[Rule]) -> tuple[float, float, float]:
    """Bytes of state that is sharded as its parameter is, and of the rest; FLOPs of Muon's products."""
    alike = whole = products = 0.0
    known: dict[tuple[int, ...], int] = {}
    for rule in rules:
        rule.prepare()
        for group in rule.param_groups:
            for p in group["params"]:
                for value in rule.state[p].values():
                    size = value.numel() * value.element_size()
                    # One number for each row, or a matrix (SOAP's bases): its rows are sharded.
                    rows = value.ndim == p.ndim or value.shape[:1] == p.shape[:1]
                    alike, whole = (alike + size, whole) if rows else (alike, whole + size)
                if isinstance(rule, Muon):
                    if (shape := tuple(p.shape)) not in known:
                        known[shape] = _products(shape, group["steps"])
                    products += known[shape]
    return alike, whole, products


def _dealt(rules: list[Rule]) -> tuple[float, int]:
    """Bytes of an update that go to those who work on whole matrices and back, and in how many collectives,
    one for each shape: Muon's momenta and updates; SOAP's gradients, moments, updates, products and bases.
    Of rules that are prepared."""
    size, calls, shapes = 0.0, 0.0, set()
    for rule in rules:
        for group in rule.param_groups:
            for p in group["params"]:
                new = (type(rule), p.shape) not in shapes
                shapes.add((type(rule), p.shape))
                if isinstance(rule, Muon):
                    size, calls = size + 8 * p.numel(), calls + 2 * new
                elif isinstance(rule, SOAP):
                    sides = [
                        rule.state[p][name].numel() for name in ("left", "right") if name in rule.state[p]
                    ]
                    again = 1 / group["every"]  # bases are turned
                    size += (24 + 8 * again) * p.numel() + 12 * (1 + again) * sum(sides)
                    calls += new * (6 + 2 * again + 3 * (1 + again) * len(sides))
    return size, round(calls)


def _products(shape: tuple[int, ...], steps: int) -> int:
    """FLOPs of making a matrix of this shape orthogonal, counted by PyTorch."""
    with FlopCounterMode(display=False) as counter:
        orthogonalise(torch.empty(1, *shape, device="meta"), steps)
    return counter.get_total_flops()


def _logits(objective: Objective, element: int, outside: int) -> float:
    """Bytes of the gradient of one example's logits, in float32 and in the activations' type; none where
    they are never there together (a loss in pieces), which is seen by what is kept ``outside`` of blocks."""
    if not isinstance(objective, Language):
        return 0.0
    numbers = objective.lengths[0] * objective.vocabulary
    return float(numbers * (4 + element)) if outside >= numbers * element else 0.0


def _parts(
    objective: Objective, model: Any, place: str, element: int, outside: int
) -> tuple[int | None, float, float]:
    """From how many examples of a pass on logits are made in parts (None: never), what an example keeps
    outside of blocks then, and the bytes of one part, its gradient included."""
    if not isinstance(objective, Language):
        return None, 0.0, 0.0
    numbers = objective.lengths[0] * objective.vocabulary
    rows = LARGE[place] // (numbers * FLOAT) + 1
    found = of_model.kept(model, lambda: objective.loss(model, example_of(objective, rows))).outside / rows
    if found > outside - numbers * element:
        return None, 0.0, 0.0
    at_once = positions_at_once(place, rows * objective.lengths[0], objective.vocabulary) or 0
    return rows, found, float(at_once * objective.vocabulary * 2 * (FLOAT + element))


def _heads(experiment: spec.Experiment) -> tuple[int, int]:
    """What divides the heads of every layer (an LRU's states), and those of its keys and values; 1 where a
    layer has none."""
    network = experiment.model
    if not isinstance(network, spec.Network):
        return 1, 1
    mixers = [one.mixer for one in network.parts() if not isinstance(one.mixer, NoMixer)]
    counts = []
    for mixer in mixers:
        count = (mixer.state or network.width) if isinstance(mixer, LRU) else getattr(mixer, "heads", 1)
        counts.append((count, getattr(mixer, "kv_heads", None) or count))
    if not counts:
        return 1, 1
    heads, keys = zip(*counts, strict=True)
    return math.gcd(*heads), math.gcd(*keys)
