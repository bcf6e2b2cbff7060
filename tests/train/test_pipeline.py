"""Stages of a pipeline, and sequences over several processes: in float64 they train as one process does."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch.distributed import fsdp

from danlu import data, spec
from danlu.files.json import read_object
from danlu.optim.rules import muon
from danlu.spec import resolve
from danlu.train import assemble
from danlu.train.errors import Diverged
from danlu.train.evaluate import evaluate
from danlu.train.mesh import axes_of
from danlu.train.parallel import ALONE, Processes, ToldElsewhere
from danlu.train.update import Update
from tests.many import group, together
from tests.train import small
from tests.train.test_parallel import agree

SIZE = [
    "model.layers=4", "model.mixer.heads=4", "train.batch=8", "train.microbatch=1", "train.clip=0.3",
    "train.evaluate_tokens=300",
]  # fmt: skip
PLAIN, FSDP = "train.parallel=ddp", "train.parallel=fsdp"
# By number of processes, and a name: what is divided, and of which networks.
CASES: dict[str, list[tuple[str, list[str]]]] = {
    "2": [
        ("pipeline=2", ["optimizer=adamw", "model.tied=true"]),
        ("pipeline=2", ["optimizer=muon", "model.tied=false", "objective.z_loss=0.01"]),
        # Sides of one gradient that are longer than its rank have equal eigenvalues, and rounding turns them.
        ("pipeline=2", ["optimizer=soap", "optimizer.longest=16"]),
        ("context=2", ["optimizer=adamw", "data.documents=separate"]),
        ("context=2", ["optimizer=adamw", "+qk-norm-width"]),
    ],
    "2 rules": [
        *(("pipeline=2", [f"optimizer={rule}"]) for rule in ("sgd", "adam", "tiger", "schedule-free")),
        ("pipeline=2", ["optimizer=amos", "optimizer.lr=0.01", "schedule=constant"]),
    ],
    "3": [
        ("pipeline=3", ["optimizer=lamb", "model.tied=true", "data.documents=separate"]),
        ("pipeline=3", ["optimizer=adamw", "model.position=learned", "model.norm=layer"]),
    ],
    "4": [
        ("pipeline=2", ["optimizer=muon", "model.tied=true"]),
        ("pipeline=2", ["optimizer=adafactor", "model.tied=true", FSDP]),
        ("pipeline=4", ["optimizer=lion", "train.microbatch=2"]),
        ("context=2", ["optimizer=muon", "model.mixer.kv_heads=1", "model.mixer.window=5"]),
        ("context=2", ["optimizer=adamw", "objective={kind: prefix, length: 6}", FSDP]),
        ("context=4", ["optimizer=adamw", "model.position=alibi", "objective.z_loss=0.01"]),
        ("context=2 pipeline=2", ["optimizer=adamw", "model.tied=true", FSDP]),
        ("replicate=2 context=2", ["optimizer=adamw", "model.mixer=latent", FSDP]),
        ("replicate=2 pipeline=2", ["optimizer=adamw", "model.tied=true", FSDP]),
    ],
    "4 tensor": [
        ("pipeline=2 tensor=2", ["optimizer=adamw", "model.tied=true", "objective.z_loss=0.01"]),
        ("pipeline=2 tensor=2", ["optimizer=muon", "model.tied=false", "objective.smoothing=0.1", FSDP]),
        ("context=2 tensor=2", ["optimizer=adamw", "model.position=alibi", "model.mixer.kv_heads=2"]),
        ("context=2 tensor=2", ["optimizer=muon", "model.position=t5", "objective.z_loss=0.01", FSDP]),
    ],
    "8": [
        ("replicate=2 pipeline=2", ["optimizer=muon", "model.tied=true", FSDP]),
        ("pipeline=2 context=2 tensor=2", ["optimizer=adamw", "model.tied=true"]),
    ],
}


@contextmanager
def double() -> Iterator[None]:
    """Networks in float64 whatever an experiment says, so that sums in another order agree to 1e-10."""
    initial, policy = assemble.initial, fsdp.MixedPrecisionPolicy

    def made(*given: Any) -> Any:
        model = initial(*given).double()
        model.compute = torch.float64
        return model

    def exact(**said: Any) -> Any:
        return policy(**(said | {"param_dtype": None, "reduce_dtype": None}))

    with (
        patch.object(assemble, "initial", made),
        patch.object(fsdp, "MixedPrecisionPolicy", exact),
        patch.object(muon, "orthogonalise", partial(muon.orthogonalise, dtype=torch.float64)),
    ):
        yield


def train(experiment: spec.Experiment, source: Any, processes: Processes) -> tuple[list[float], Any]:
    """Losses and norms of ten updates and a held-out metric after them; what was trained."""
    objective = assemble.objective_of(experiment, source)
    made = assemble.assemble(experiment, objective, "float32", processes)
    for rule in made.rules:
        rule.state_dtype = torch.float64
    update, batch, found = Update(made), experiment.train.batch, []
    for step in range(10):
        read = update.gradients(step, step * batch, batch)
        found += [read.loss, read.norm]
        assert update.apply(step, read)
        update.clear()
    held_out = objective.held_out(experiment.train.evaluate_tokens)
    metrics = evaluate(made.wrapped, objective, held_out, processes, rows=2, score=made.score)
    return [*found, *metrics.values()], made


def compare(mesh: str, words: list[str], rank: int, count: int) -> None:
    said = [*words, *(f"train.mesh.{axis}" for axis in mesh.split())]
    experiment, one = resolve(said), resolve(words)
    source = data.prepare(one.data)
    axes = axes_of(experiment.train.mesh, "cpu")
    with double():
        found, made = train(experiment, source, Processes(rank, count, torch.device("cpu"), axes))
        wanted, alone = train(one, source, ALONE)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10, msg=lambda m: f"{said}: {m}")
    weights = dict(alone.model.named_parameters())
    for name, p in made.named:
        whole = p.full_tensor() if hasattr(p, "full_tensor") else p
        torch.testing.assert_close(
            whole.detach(),
            weights[name].detach(),
            rtol=1e-10,
            atol=1e-10,
            msg=lambda m, n=name: f"{said}: {n}: {m}",
        )
    if "pipeline" in mesh:
        assert len(made.named) < len(alone.named)


def tell_what_is_not_finite(words: list[str], rank: int) -> None:
    """The first process names the tensor, though another has it."""
    experiment = resolve([*words, "train.mesh.pipeline=2"])
    objective = assemble.objective_of(experiment, data.prepare(experiment.data))
    axes = axes_of(experiment.train.mesh, "cpu")
    made = assemble.assemble(experiment, objective, "float32", Processes(rank, 2, torch.device("cpu"), axes))
    if rank == 1:
        made.model.blocks[3].mixer.out.weight.data[0, 0] = torch.nan
    update = Update(made)
    read = update.gradients(0, 0, experiment.train.batch)
    said = "the weight blocks.3.mixer.out.weight is NaN at 1 of 256 places" if rank == 0 else "^$"
    with pytest.raises(Diverged if rank == 0 else ToldElsewhere, match=said):
        update.apply(0, read)


def main(corpus: str, name: str) -> None:
    torch.set_num_threads(1)
    count = int(name.split()[0])
    with group() as rank:
        for mesh, words in CASES[name]:
            compare(mesh, small.words(Path(corpus), *SIZE, *words), rank, count)
        if name == "2":
            tell_what_is_not_finite(small.words(Path(corpus), *SIZE), rank)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_processes_train_as_one(tmp_path: Path, name: str) -> None:
    together(__file__, int(name.split()[0]), tmp_path, str(small.corpus(tmp_path)), name)


RUN = [
    "optimizer=adamw", "train.steps=6", "train.log_every=1", "train.evaluate_every=3",
    "train.checkpoint_every=3", "train.evaluate_tokens=400", "train.keep=5",
    "train.microbatch=2", "model.layers=2",
    "train.average={kind: ema, decay: 0.5}",
]  # fmt: skip


@pytest.mark.slow
def test_a_run_goes_on_with_another_mesh(tmp_path: Path) -> None:
    """Begun in stages and ended by one process, begun by one and ended over stretches of positions or in
    stages: metrics of one run."""
    words = small.words(small.corpus(tmp_path), *RUN)
    small.go(resolve(words), tmp_path / "one")
    for mesh in ("train.mesh.pipeline=2", "train.mesh.context=2"):
        done = small.torchrun([*words, mesh], tmp_path / mesh)
        assert done.returncode == 0, done.stderr
        agree(tmp_path / mesh, tmp_path / "one")
        one, other = (read_object(tmp_path / run / "summary.json", {}) for run in ("one", mesh))
        assert all(one[name] == other[name] for name in ("parameters", "flops", "steps"))
    for run in ("one", "train.mesh.pipeline=2"):
        (tmp_path / run / "summary.json").unlink()
        shutil.rmtree(tmp_path / run / "checkpoints" / "step-6")
    done = small.torchrun([*words, "train.mesh.pipeline=2"], tmp_path / "one")
    assert done.returncode == 0 and "resuming after step 3" in done.stderr, done.stderr
    small.go(resolve(words), tmp_path / "train.mesh.pipeline=2")
    agree(tmp_path / "train.mesh.pipeline=2", tmp_path / "one")


if __name__ == "__main__":
    main(*sys.argv[1:])
