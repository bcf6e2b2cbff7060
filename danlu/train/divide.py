"""What a process has of a network and of its examples that ``train.mesh`` divides."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn as nn

from danlu.models.ends import Ends
from danlu.models.stages import keep_stage, stages_of
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.shares import Share, divide
from danlu.objectives import Example, Objective
from danlu.objectives.language import Language
from danlu.train.errors import RunError
from danlu.train.parallel import Processes, kept_buffers


def divide_network(model: Any, objective: Objective, group: Processes) -> None:
    """Let each block of ``model`` compute this process's share of its mixer and its feed-forward layer, and
    where the loss is of predicted tokens, the readout and the loss those of its positions. What learns by
    counting hears of other rows once. Or let ``model`` have a stage of the blocks alone, or take a stretch of
    the positions. Raises ``RunError`` where no part can be divided, or one cannot."""
    axes = group.axes
    if axes is None:
        return
    _set_apart(model, objective, group)
    divided: set[nn.Module] = set()
    if axes.tensor.count > 1:
        share = Share(axes.tensor.rank, axes.tensor.count, axes.tensor.group)
        try:
            done = divide_parts(model, share)
        except ValueError as error:
            raise group.once(RunError(str(error))) from None
        divided = {module for part in done for module in part.modules()}
        if isinstance(model, Ends) and _plainly_scored(objective):
            model.share = share
    for module in model.modules():  # HeadNorm has an ``over`` of another kind
        if getattr(type(module), "over", "said") is None:
            module.over = (axes.stage if module in divided else axes.tokens).group


def divide_parts(model: Any, share: Share) -> list[nn.Module]:
    """Let the parts of the blocks of ``model`` compute their ``share``, and return those that do. Raises
    ValueError where one cannot be divided so, or none can be divided."""
    parts = [part for block in getattr(model, "blocks", ()) for part in _parts(block)]
    done = [part for part in parts if divide([part], share)]
    if not done:
        raise ValueError(
            f"train.mesh.tensor = {share.count}: no part of a {type(model).__name__} says how it can be "
            "divided; leave it out"
        )
    return done


def _parts(block: Any) -> list[nn.Module]:
    return list(block.parts()) if hasattr(block, "parts") else []


def _plainly_scored(objective: Objective) -> bool:
    """Whether loss and score come from the logits by ``Language`` itself, which knows of shares."""
    own = type(objective)
    return isinstance(objective, Language) and all(
        getattr(own, name) is getattr(Language, name) for name in ("loss", "score", "logits")
    )


def _set_apart(model: Any, objective: Objective, group: Processes) -> None:
    """Let ``model`` have a stage of the blocks alone, or take a stretch of the positions."""
    context, stage = group.context, group.pipeline
    try:
        said = f"train.mesh.context = {context.count}"
        if context.count > 1:
            _check(model, objective)
            if not objective.along:
                raise ValueError("terms of the loss belong to more than one position")
            model.divide(ContextParallel(context.rank, context.count, context.group))
        if stage.count > 1:
            said = f"train.mesh.pipeline = {stage.count}"
            _check(model, objective)
            keep_stage(model, stages_of(model, objective.lengths[0], stage.count)[stage.rank])
    except ValueError as error:
        raise group.once(RunError(f"{said}: {error}; leave it out")) from None


def _check(model: nn.Module, objective: Objective) -> None:
    for name, module in model.named_modules():
        kind = f"{name} ({type(module).__name__})"
        if hasattr(module, "auxiliary"):
            raise ValueError(f"{kind} has a loss of its own, over all positions and layers")
        if getattr(module, "across_positions", False):
            raise ValueError(f"{kind} normalises over all positions")
    if kept := kept_buffers(model):
        raise ValueError(f"{kept[0]} is gathered from all rows and positions")
    if not hasattr(model, "divide") or type(objective).inputs_of is Objective.inputs_of:
        what = type(objective if hasattr(model, "divide") else model).__name__
        raise ValueError(f"{what} cannot be divided so")


def own_positions(example: Example, objective: Objective, group: Processes) -> Example:
    """What this process computes of an example."""
    context = group.context
    if context.count == 1:
        return example
    own = {n: np.split(example[n], context.count, 1)[context.rank] for n in objective.along}
    return example | {name: np.ascontiguousarray(part) for name, part in own.items()}
