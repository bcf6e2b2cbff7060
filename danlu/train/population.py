"""Experiments of one graph trained at once as one job, each into its own folder as if it had run alone.

Their networks are one network with the members in a first dimension (``danlu.nn.stacked``); how they go
through their updates together is in ``danlu.train.lockstep``. Importing this module does not import torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu import spec
from danlu.spec.replay import difference
from danlu.train.batched import unbatched
from danlu.train.errors import RunError

if TYPE_CHECKING:
    from danlu.train.interrupt import Interrupt
    from danlu.train.reporter import Reporter

# In what the members of a population may differ: numbers that each has of its own.
OWN = ("train.seed", "train.clip", "optimizer.", "schedule.", "vary", "model.init.")


def refusal(experiments: Sequence[spec.Experiment]) -> str | None:
    """Why ``experiments`` cannot be trained as one population, in a sentence; None where they can."""
    first = experiments[0]
    said = next(_refused(first), None)
    if said is not None:
        return f"{said}; train these runs one by one"
    for other in experiments[1:]:
        for field, here, there in difference(first, other):
            if not field.startswith(OWN) or field.endswith("kind"):
                return (
                    f"{field} is {here} in one experiment and {there} in another: members of a population "
                    "may differ in train.seed, train.clip, model.init, and numbers of optimizer and schedule"
                )
    return None


def _refused(experiment: spec.Experiment) -> Iterator[str]:
    """What of an experiment has no batched form, or no meaning for a member."""
    train = experiment.train
    if (said := unbatched(experiment)) is not None:
        yield said
    if train.seconds is not None:
        yield f"train.seconds = {train.seconds:g} would bound a member by the time of its neighbours"
    if train.outer is not None:
        yield f"train.outer.kind = {train.outer.kind} has several networks in one run"
    if experiment.optimizer.kind == "tiger" and train.microbatch is not None and not train.clip:
        yield "optimizer.kind = tiger folds the gradients of microbatches into its momentum"


def train_together(
    experiments: Sequence[spec.Experiment],
    folders: Sequence[Path],
    *,
    interrupt: Interrupt | None = None,
    reporter: Reporter | None = None,
) -> list[dict[str, Any] | Exception]:
    """Carry out ``experiments``, each in its folder of ``folders``, as one population; resume what is there.

    Returns for each its summary (``danlu.train.run.train``, without a sample), or the error that ended it,
    such as ``Diverged``: the others go on. The seconds of a member are those of the population divided by
    those at work, and ``environment.json`` says ``population: {members: K}``. A member's folder is a run's as
    any other: it can be resumed alone, or among other members.

    Raises ``RunError`` for experiments that are no population (``refusal``), and among several processes.
    """
    if len(experiments) != len(folders) or not experiments:
        raise RunError(f"{len(experiments)} experiments and {len(folders)} folders; give each its own")
    if said := refusal(experiments):
        raise RunError(said)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError("a population is trained by one process, and torchrun started several")
    from danlu.train.lockstep import carry_out

    return carry_out(experiments, folders, interrupt, reporter)
