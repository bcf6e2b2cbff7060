"""A network whose layers are computed by tensor parallel processes together."""

from __future__ import annotations

from typing import Any

import torch.nn as nn

from danlu.models.ends import Ends
from danlu.nn.shares import Share, divide
from danlu.objectives import Objective
from danlu.objectives.language import Language
from danlu.train.errors import RunError
from danlu.train.parallel import Processes


def divide_network(model: Any, objective: Objective, group: Processes) -> None:
    """Let each block of ``model`` compute this process's share of its mixer and its feed-forward layer, and
    where the loss is of predicted tokens, the readout and the loss those of its positions. What learns by
    counting hears of other rows once. Raises ``RunError`` where no part can be divided, or one cannot."""
    axes = group.axes
    if axes is None:
        return
    divided: set[nn.Module] = set()
    if axes.tensor.count > 1:
        share = Share(axes.tensor.rank, axes.tensor.count, axes.tensor.group)
        parts = [part for block in getattr(model, "blocks", ()) for part in _parts(block)]
        try:
            done = [part for part in parts if divide([part], share)]
        except ValueError as error:
            raise group.once(RunError(str(error))) from None
        if not done:
            raise group.once(
                RunError(
                    f"train.mesh.tensor = {share.count}: no part of a {type(model).__name__} says how it can "
                    "be divided; leave it out"
                )
            )
        divided = {module for part in done for module in part.modules()}
        if isinstance(model, Ends) and _plainly_scored(objective):
            model.share = share
    for module in model.modules():
        if hasattr(module, "over"):
            module.over = (axes.stage if module in divided else axes.tokens).group


def _parts(block: Any) -> list[nn.Module]:
    return list(block.parts()) if hasattr(block, "parts") else []


def _plainly_scored(objective: Objective) -> bool:
    """Whether loss and score come from the logits by ``Language`` itself, which knows of shares."""
    own = type(objective)
    return isinstance(objective, Language) and all(
        getattr(own, name) is getattr(Language, name) for name in ("loss", "score", "logits")
    )
