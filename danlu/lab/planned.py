"""A plan of ``danlu.laws.plan`` as a run of a recipe: shape, batch, rate, memory, GPUs and the command.

The shape is the recipe's at the nearest size that whole heads and layers permit
(``danlu.lab.ladder.shapes``). Without ``memory`` nothing here loads PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from danlu.data import vocabulary_of
from danlu.lab.errors import LabError
from danlu.lab.ladder.shapes import Counted, Shapes, Sized
from danlu.lab.ladder.target import command
from danlu.laws.errors import Warned
from danlu.spec.base import MOST
from danlu.spec.errors import SpecError
from danlu.spec.experiment import Experiment
from danlu.spec.rates import like_adam
from danlu.spec.shrink import count
from danlu.spec.words import resolve, validate

if TYPE_CHECKING:
    from danlu.laws.plan import Plan

# Recipes of decoders with today's parts, by their size. Where none is named, the largest is taken that is at
# most ABOVE times as large as planned: a small model of a large recipe would be little but its embedding.
RECIPES = {
    "nano": 1.8e5, "llama-15m": 15e6, "llama-42m": 42e6, "llama-110m": 110e6, "llama-7b": 6.7e9,
    "llama-13b": 13e9, "llama-33b": 32.5e9, "llama-65b": 65.2e9,
}  # fmt: skip
ABOVE = 2.5
OFF = 0.1  # the share by which a shape may miss the planned size before this is said
STATES = 4 + 4 + 8 + 2  # bytes of a weight, its gradient, Adam's two moments and the copy in 16 bits


@dataclass(frozen=True)
class Memory:
    """Bytes. ``states``: weights, gradients, what the rule keeps, and copies of weights in 16 bits.
    ``activations``: of one sequence, kept for the backward pass; None: not counted. ``gpus``: the fewest over
    which the states, in equal shares, and one sequence each fit."""

    states: int
    activations: int | None
    gpus: int
    room: float

    @property
    def of_one(self) -> int:
        """What each of ``gpus`` holds."""
        return math.ceil(self.states / self.gpus) + (self.activations or 0)


@dataclass(frozen=True)
class Planned:
    """``sized``: the model. ``experiment``: the run. ``command``: what starts it."""

    words: tuple[str, ...]
    sized: Sized
    experiment: Experiment
    command: str
    memory: Memory
    notes: list[Warned] = field(default_factory=list)


def recipe_for(parameters: float) -> str:
    """The recipe of ``RECIPES`` for a model of this size."""
    return [name for name, size in RECIPES.items() if size <= ABOVE * parameters or name == "nano"][-1]


def planned(plan: Plan, words: Sequence[str], room: float = 80e9) -> Planned:
    """The run of ``plan`` by the recipe that ``words`` mean; none: the nearest of ``RECIPES``, and then the
    activations are not counted. ``room``: bytes of memory of one GPU.

    Raises SpecError or LabError where the recipe is no transformer on text, or cannot be so large.
    """
    if not 1 <= room < math.inf:
        raise LabError(f"gpu-memory = {room:g} is not a number of bytes such as 80e9")
    named = bool(words)
    words = tuple(words) if named else (recipe_for(float(plan.run.n)),)
    base = resolve(words)
    shapes = Shapes(base, counted=_counted(base))
    sized = shapes.of_size(float(plan.run.n))
    experiment = _run(sized.experiment, plan)
    if named:
        sized, memory, experiment = _counted_in_full(experiment, sized, room)
    else:
        memory = _states(sized, room)
    notes = list[Warned]()
    miss = sized.parameters / float(plan.run.n) - 1
    if abs(miss) > OFF:
        text = (
            f"the nearest shape of {words[0]} has {sized.parameters:,} parameters, {miss:+.0%} of the planned"
        )
        notes.append(Warned("shape-off", text))
    gpus = plan.asked.gpus
    if memory.gpus > (gpus or math.inf):
        text = f"{gpus:g} GPUs of {room / 1e9:g} GB do not hold the model; it takes {memory.gpus} at least"
        notes.append(Warned("memory", text))
    experiment = _shared(experiment, memory, int(gpus or memory.gpus))
    return Planned(words, sized, experiment, command(words, experiment), memory, notes)


def _counted(base: Experiment) -> Counted | None:
    """``danlu.spec.shrink.count`` where it knows the recipe's parts; None: the network itself is counted."""
    ids = base.text.vocabulary or vocabulary_of(base.text)[0]

    def counted(experiment: Experiment) -> tuple[int, int]:
        context = experiment.text.context
        parameters = count(experiment.network, ids, context)
        return parameters, 2 * parameters * context

    try:
        counted(base)
    except SpecError:
        return None
    return counted


def _run(experiment: Experiment, plan: Plan) -> Experiment:
    """``experiment`` on the plan's tokens, with Step Law's batch and, for rules like Adam, its rate."""
    tokens, context = float(plan.run.d), experiment.text.context
    if tokens > MOST:
        raise LabError(f"tokens = {tokens:.3g} are more than a run may have; allowed: at most {MOST:g}")
    batch = max(1, round(min(plan["batch_step_law"].value, tokens) / context))
    said = experiment.model_dump()
    said["train"] |= {
        "tokens": max(1, round(float(f"{tokens:.4g}"))), "steps": None, "seconds": None, "batch": batch,
        "ramp": (), "microbatch": None,
    }  # fmt: skip
    if like_adam(experiment.optimizer, "the Step Law says Adam's rates"):
        said["optimizer"]["lr"] = float(f"{plan['lr_step_law'].value:.3g}")
    return validate(said)


def _shared(experiment: Experiment, memory: Memory, gpus: int) -> Experiment:
    """The batch as a multiple of what the GPUs take at once; the largest power of two that fits into each."""
    batch, said = experiment.train.batch, experiment.model_dump()
    each = max(1, batch // gpus)
    if memory.activations is not None:
        room = (memory.room - memory.states / gpus) / memory.activations
        fits = 2 ** int(math.log2(max(1.0, min(room, each))))
        each = max(fits, round(each / fits) * fits)
        said["train"]["microbatch"] = fits if fits < each else None
    said["train"]["batch"] = each * gpus if gpus <= batch else batch
    if gpus > 1 and memory.states + (memory.activations or 0) > memory.room:
        said["train"]["parallel"] = "fsdp"
        if said["train"]["microbatch"] is not None:  # what is shared here are gradients, too
            said["train"]["gradient_sync"] = "pass"
    return validate(said)


def _states(sized: Sized, room: float) -> Memory:
    states = STATES * sized.parameters
    return Memory(states, None, max(1, math.ceil(states / room)), room)


def _counted_in_full(experiment: Experiment, sized: Sized, room: float) -> tuple[Sized, Memory, Experiment]:
    """Parameters and memory as ``danlu show --costs`` counts them, one sequence at a time. Where its
    activations take more than half of a GPU, blocks are recomputed, and then the experiment says so."""
    from danlu.optim.build import build, state_tensors
    from danlu.train.assemble import outline
    from danlu.train.costs import costs

    for recompute in (experiment.train.recompute, True):
        change = {"microbatch": 1, "recompute": recompute}
        tried = experiment.model_copy(update={"train": experiment.train.model_copy(update=change)})
        found = costs(tried)
        held = found["memory"]
        if held["activations"] < room / 2:
            break
    if held["activations"] >= room:
        raise LabError(
            f"one sequence of {experiment.text.context} tokens takes {held['activations'] / 1e9:.3g} GB of a "
            f"GPU's {room / 1e9:g} GB even with blocks recomputed; give more, or a shorter data.context"
        )
    rules = build(experiment.optimizer, outline(experiment)[1], 1)
    for rule in rules:
        rule.prepare()
    kept = sum(tensor.numel() * tensor.element_size() for tensor in state_tensors(rules).values())
    states = held["weights"] + held["gradients"] + held["copies"] + kept
    gpus = max(1, math.ceil(states / (room - held["activations"])))
    train = experiment.train.model_copy(update={"recompute": recompute})
    sized = replace(sized, parameters=found["parameters"]["total"])
    memory = Memory(states, held["activations"], gpus, room)
    return sized, memory, experiment.model_copy(update={"train": train})
