"""Trainings of some updates in float64, by one process and by several: a script, and what starts it.

One start of the processes trains many cases, each of them as ``(words, mesh)``; of a list of meshes the next
goes on from the checkpoint of the one before, and None is one process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.many import group, together
from tests.train import small

BATCH = 8
BOUND = 1e-10
EXACT = {"float64": torch.float64}


def prepare() -> None:
    """Networks and rules of this process compute in float64: Muon too, whose products are short as a rule."""
    from danlu.optim.rules import muon
    from danlu.train import assemble, machine

    machine.PRECISIONS.update(EXACT)
    muon.orthogonalise.__defaults__ = (5, torch.float64)
    initial = assemble.initial

    def exact(experiment: Any, objective: Any, precision: str) -> Any:
        model = initial(experiment, objective, "float32").double()
        model.compute = torch.float64
        return model

    assemble.initial = exact


def assembled(words: list[str], group: Any) -> Any:
    from danlu import data
    from danlu.spec import resolve
    from danlu.train.assemble import assemble, objective_of

    experiment = resolve(words)
    return assemble(experiment, objective_of(experiment, data.prepare(experiment.data)), "float64", group)


def updated(made: Any, begin: int, end: int) -> list[list[float]]:
    """Loss and norm of each update."""
    from danlu.train.trainer import seed_of
    from danlu.train.update import Update

    update, found = Update(made), []
    for step in range(begin, end):
        torch.manual_seed(seed_of(made.experiment.train.seed, step, made.group.stream))
        read = update.gradients(step, step * BATCH, BATCH)
        assert update.apply(step, read)
        update.clear()
        found.append([read.loss, read.norm])
    return found


def weights(made: Any) -> dict[str, torch.Tensor]:
    return {
        name: t.full_tensor() if hasattr(t, "full_tensor") else t.clone()
        for name, t in made.model.state_dict().items()
    }


def tensors(made: Any) -> dict[str, dict[str, torch.Tensor]]:
    """What a checkpoint holds of it."""
    from danlu import optim

    for rule in made.rules:
        rule.prepare()
    return {"model": made.model.state_dict(), "optimizer": optim.state_tensors(made.rules)}


def put_back(made: Any, folder: Path) -> None:
    """Stand where the checkpoint in ``folder`` is, which any mesh may have written."""
    from danlu import optim
    from danlu.train import checkpoint, sharded

    if any(hasattr(p, "full_tensor") for _, p in made.named):
        sharded.load_sharded(folder, sharded.flatten(tensors(made)))
        return
    kept, _ = checkpoint.load(folder)
    checkpoint.fill(made.model, kept["model"], str(folder))
    optim.load_state_tensors(made.rules, kept["optimizer"])


def alone(place: Path, every: list[list[str]], updates: int) -> dict[str, Path]:
    """What one process does, losses and norms, and the weights in the end: by the words, the file that has
    it. Each process trains some of them, before it joins the others."""
    from danlu.train.parallel import ALONE

    keys = list(dict.fromkeys(" ".join(words) for words in every))
    files = {key: place / f"alone-{number}.pt" for number, key in enumerate(keys)}
    for key in keys[int(os.environ["RANK"]) :: int(os.environ["WORLD_SIZE"])]:
        words = next(words for words in every if " ".join(words) == key)
        one = assembled([word for word in words if "gradient_sync" not in word], ALONE)  # it has no shards
        torch.save((torch.tensor(updated(one, 0, updates), dtype=torch.float64), weights(one)), files[key])
    return files


def close(found: torch.Tensor, wanted: torch.Tensor, what: str, bound: float = BOUND) -> None:
    torch.testing.assert_close(found, wanted, rtol=bound, atol=bound, msg=lambda said: f"{what}: {said}")


def work(place: Path, cases: list[Any], updates: int) -> None:
    from danlu.spec import Mesh
    from danlu.train import sharded
    from danlu.train.mesh import axes_of
    from danlu.train.parallel import ALONE, Processes

    torch.set_num_threads(1)
    prepare()
    known = alone(place, [words for words, _ in cases], updates)
    wrong = []
    with group() as rank:
        dist.barrier()  # all are known
        count = dist.get_world_size()

        def on(words: list[str], mesh: dict[str, int]) -> Any:
            axes = axes_of(Mesh(**mesh), "cpu") if mesh else None
            given = [f"train.mesh.{name}={size}" for name, size in mesh.items()]
            kind = "fsdp" if "replicate" in mesh else "ddp"
            processes = Processes(rank, count, torch.device("cpu"), axes)
            return assembled([*words, f"train.parallel={kind}", *given], processes)

        for number, (words, meshes) in enumerate(cases):
            said, found = f"{' '.join(words[-3:])} on {meshes}", []
            meshes = meshes if isinstance(meshes, list) else [meshes]
            try:
                for part, mesh in enumerate(meshes):  # one goes on from the other's checkpoint
                    made = on(words, mesh) if mesh is not None else assembled(words, ALONE)
                    folder = place / f"{number}"
                    if part:
                        put_back(made, folder)
                    end = updates * (part + 1) // len(meshes)
                    found += updated(made, updates * part // len(meshes), end)
                    if part + 1 < len(meshes):
                        sharded.save_sharded(folder, end, sharded.flatten(tensors(made)), {})
                numbers, whole = torch.load(known[" ".join(words)])
                close(torch.tensor(found, dtype=torch.float64), numbers, said)
                for name, tensor in weights(made).items():
                    close(tensor, whole[name].to(tensor.dtype), f"{said}: {name}")
            except (AssertionError, ValueError) as error:  # the same on all processes, which go on together
                wrong.append(f"{said}: {type(error).__name__} {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)


def check(folder: Path, count: int, cases: list[tuple[list[str], Any]], updates: int = 10) -> None:
    """Train ``cases`` by ``count`` processes, each of which compares with one."""
    path = small.corpus(folder)
    size = ["optimizer=adamw", f"train.batch={BATCH}", "train.steps=10", "model.layers=2"]
    given = [(small.words(path, *size, *words), mesh) for words, mesh in cases]
    (folder / "cases.json").write_text(json.dumps(given))
    together(__file__, count, folder, str(folder), str(updates))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    work(folder, json.loads((folder / "cases.json").read_text()), int(sys.argv[2]))
