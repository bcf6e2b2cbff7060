"""Passes through PyTorch's compiler: loss and gradients are one graph, an evaluation another.

What the compiler makes stands in danlu's cache, by graph: seeds, rates and decays are inputs and not part of
it, so that a second run of the same network, in whatever process, takes it from there. Compiling pays where
a run is long enough (``pays``); where there is no compiler, or it fails, the run goes on eagerly and says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn as nn

from danlu import spec
from danlu.code import loaded, together
from danlu.files.paths import cache_folder
from danlu.objectives import Objective
from danlu.parts import own_files
from danlu.spec.replay import to_yaml
from danlu.train.evaluate import Score
from danlu.train.plan import Plan
from danlu.train.update import Loss

# Measured on one core of a server CPU; see bench/README.md.
SAVED = 0.3  # of the time of eager updates, at the least
COLD, WARM = 25.0, 3.0  # seconds to compile, and to take what was compiled from the cache
EAGER = 0.25  # share of the ceiling that eager updates reach
PAYS = 2.0  # times what it costs
INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"
_ours: str | None = None  # what a run of this process set it to
GRAPHS = 64  # of one function that may stand beside each other: a batch that grows has several


class Compiled(NamedTuple):
    """The objective's ``loss`` and ``score`` as compiled functions."""

    loss: Loss
    score: Score


def casts_as_written(experiment: spec.Experiment) -> None:
    """Let what is compiled from now on round to short types where the code says so, if ``experiment`` rounds
    weights: the compiler would leave float16 out of the scales, and the levels would be others."""
    import torch._inductor.config as inductor

    inductor.emulate_precision_casts = experiment.train.quantize is not None


def _begin(experiment: spec.Experiment) -> None:
    """How all is compiled from now on, and where it is kept."""
    _keep_in(_folder(experiment) / "inductor")
    casts_as_written(experiment)
    import torch._dynamo
    import torch._functorch.config as autograd

    torch._dynamo.config.recompile_limit = GRAPHS
    # Backward passes of danlu's own are cached too: the folder is that of the code that they stand in.
    if hasattr(autograd, "autograd_cache_allow_custom_autograd_functions"):
        autograd.autograd_cache_allow_custom_autograd_functions = True


def compile_blocks(experiment: spec.Experiment, blocks: Iterable[nn.Module], **how: Any) -> None:
    """Let each block compile at its first call, as several processes do, whose hooks stand between them.
    Layers that differ in a number, such as a window, have a graph each. ``how``: as ``torch.compile`` takes
    it."""
    _begin(experiment)
    for block in blocks:
        block.compile(**{"dynamic": False, **how})


def compiled(experiment: spec.Experiment, objective: Objective, **how: Any) -> Compiled:
    """What compiles at its first call; artefacts are kept in danlu's cache. ``how``: for
    ``torch.compile``."""
    _begin(experiment)
    # Shapes are those of the experiment: a graph for each is faster than one for all.
    loss: Any = torch.compile(objective.loss, **{"dynamic": False, **how})
    score: Any = torch.compile(objective.score, **{"dynamic": False, **how})
    return Compiled(loss, score)


def _keep_in(folder: Path) -> None:
    """Let what is compiled from now on be kept in ``folder``, unless the user has named one."""
    global _ours
    if os.environ.get(INDUCTOR) in (None, _ours):
        os.environ[INDUCTOR] = _ours = os.path.abspath(folder)  # as the compiler will have it


def _folder(experiment: spec.Experiment) -> Path:
    """The cache of what this code, danlu's and that of own parts, was compiled to."""
    code = together({"danlu": loaded().tier_a, **own_files(experiment)})
    return cache_folder() / "compiled" / code[:16]


def missing(device: str) -> str | None:
    """What keeps the compiler from running here; None: nothing."""
    wanted = os.environ.get("CXX")
    names = (
        [wanted] if wanted else ["g++", "clang++", "cl"] if sys.platform == "win32" else ["g++", "clang++"]
    )
    if device == "cpu" and not any(shutil.which(name) for name in names):
        return f"there is no C++ compiler here ({', '.join(names)})"
    return None


def pays(experiment: spec.Experiment, flops: float, ceiling: float, known: bool) -> bool:
    """Whether compiling saves at least ``PAYS`` times what it costs. ``flops``: of an update; ``ceiling``:
    FLOP/s; ``known``: whether the graph is in the cache."""
    train = experiment.train
    updates = Plan(train, experiment.data.size).updates
    seconds = train.seconds if updates is None else updates * flops / (EAGER * ceiling)
    assert seconds is not None
    return SAVED * seconds >= PAYS * (WARM if known else COLD)


class Known:
    """Whether the graph of an experiment was compiled before, by what it depends on: network, objective,
    shapes and precision, PyTorch, processor, danlu's own code and that of own parts."""

    def __init__(
        self, experiment: spec.Experiment, objective: Objective, precision: str, device: str
    ) -> None:
        train = experiment.train
        shapes = spec.Train(
            steps=1, batch=train.batch, microbatch=train.microbatch,
            weights=train.weights, recompute=train.recompute,
        )  # fmt: skip
        others = {"optimizer": spec.AdamW(), "schedule": spec.Constant(), "vary": ()}
        alike = experiment.model_copy(update={"train": shapes, **others})
        capability = torch.backends.cpu.get_cpu_capability()
        parts = [to_yaml(alike), objective.inputs, precision, device, capability]
        parts += [torch.__version__, sys.version_info[:2]]
        name = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]
        self._path: Path = _folder(experiment) / "graphs" / name

    def __bool__(self) -> bool:
        return self._path.exists()

    def remember(self) -> None:
        """It has been compiled now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Leaves the buffers of ``model`` as they were found."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def warm_up(
    functions: Compiled, model: nn.Module, parameters: Iterable[nn.Parameter], training: Any, held_out: Any
) -> None:
    """Compile both functions on an example each; nothing of the model changes."""
    with as_it_was(model):
        whole = functions.loss(model, training).minimised
        # Not backward(): hooks that take gradients in, as Tiger's, are not to see these.
        torch.autograd.grad(whole, list(parameters), allow_unused=True)
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                functions.score(model, held_out)
        finally:
            model.train(was_training)


def run_eagerly(model: nn.Module, forward: Callable[[], object]) -> None:
    """``forward`` as Python, with nothing compiled, so that a recording sees which functions a compiled one
    is made of; nothing of the model changes."""
    with as_it_was(model), torch.compiler.set_stance("force_eager"):
        forward()
