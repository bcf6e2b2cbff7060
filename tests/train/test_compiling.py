"""Compiled passes: as many graphs as said, the numbers of the eager ones, nothing lost where it fails."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

import pytest
import torch

from danlu.data import prepare
from danlu.spec import resolve
from danlu.train import compiling
from danlu.train import trainer as trainers
from danlu.train.assemble import assemble, objective_of
from danlu.train.update import to_device
from tests.train import small

RUN = ["optimizer=adamw", "train.steps=4", "train.evaluate_every=2", "train.log_every=1"]
RUN += ["train.compile=true", "train.evaluate_tokens=200"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def experiment(steps: int | None, seconds: float | None = None):
    bounds = {"steps": steps, "seconds": seconds, "tokens": None}
    of = resolve("nano")
    return of.model_copy(update={"train": of.train.model_copy(update=bounds)})


@pytest.mark.parametrize(
    ("steps", "seconds", "known", "pays"),
    [
        # An update of 1e9 FLOPs at a quarter of 1e11 FLOP/s takes 0.04 s eagerly, of which .3 is saved.
        (1000, None, False, False),  # 12 s saved, and 50 wanted
        (4100, None, False, False),  # 49.2
        (4200, None, False, True),  # 50.4
        (490, None, True, False),  # 5.9 s saved, and 6 wanted
        (510, None, True, True),
        (None, 166.0, False, False),
        (None, 167.0, False, True),
    ],
)
def test_it_pays_where_it_saves_twice_what_it_costs(
    steps: int | None, seconds: float | None, known: bool, pays: bool
) -> None:
    assert compiling.pays(experiment(steps, seconds), 1e9, 1e11, known) is pays


def test_each_run_keeps_what_it_compiles_by_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user names a folder, it is that."""
    monkeypatch.delenv(compiling.INDUCTOR, raising=False)
    monkeypatch.setattr(compiling, "_ours", None)
    for name in ("one", "other"):
        compiling._keep_in(tmp_path / name)
        assert os.environ[compiling.INDUCTOR] == str(tmp_path / name)
    monkeypatch.setenv(compiling.INDUCTOR, "mine")
    compiling._keep_in(tmp_path / "one")
    assert os.environ[compiling.INDUCTOR] == "mine"


def test_a_graph_is_known_by_network_and_shapes_and_not_by_seeds_and_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))

    def known(*words: str, precision: str = "bfloat16") -> compiling.Known:
        of = resolve(["digits", *words])
        return compiling.Known(of, objective_of(of, prepare(of.data)), precision, "cpu")

    pytest.importorskip("sklearn")
    assert not known()
    known().remember()
    assert known()
    for word in ("train.seed=3", "optimizer.lr=1e-4", "optimizer=lion", "train.steps=7", "schedule=linear"):
        assert known(word), word
    for word in ("model.width=32", "train.batch=8", "train.microbatch=4", "objective.smoothing=0.1"):
        assert not known(word), word
    assert not known(precision="float32")


def test_without_a_compiler_auto_is_eager(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module("torch._inductor.config")  # reads CXX when it is imported, once for the whole process
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    assert "no-compiler" in str(compiling.missing("cpu"))
    monkeypatch.setattr(compiling, "pays", lambda *_: True)
    told = small.Told()
    small.run(corpus, tmp_path / "run", *RUN, "train.compile=auto", told=told)
    (said,) = [text for text in told.messages if "without compiling" in text]
    assert said.startswith("there is no C++ compiler here (") and "no-compiler" in said
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["choices"]["compile"] is False


def test_where_compiling_fails_the_run_goes_on_and_says_so(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the compiler broke\nand more")

    monkeypatch.setattr(trainers, "warm_up", fails)
    told = small.Told()
    small.run(corpus, tmp_path / "run", *RUN, told=told)
    said = [text for text in told.messages if text.startswith("compiling")]
    assert said == ["compiling failed (the compiler broke); the run continues without it"]
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["choices"]["compile"] is False
    monkeypatch.undo()
    small.run(corpus, tmp_path / "eager", *RUN, "train.compile=false")
    assert small.rows(tmp_path / "run") == small.rows(tmp_path / "eager")


WINDOWS = [f"{{window: {3 + i}}}" for i in range(9)]  # more than PyTorch compiles of one function by itself


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_layers_of_different_windows_and_evaluations_make_no_more_graphs(corpus: Path, whole: bool) -> None:
    """One for training and one for evaluation, whose last pass is filled up; block by block as many for each
    layer, and none of them runs without one."""
    import torch._dynamo
    from torch._dynamo.testing import CompileCounter

    pattern = f"model.pattern=[{', '.join(WINDOWS)}]"
    of = resolve(small.words(corpus, "model.layers=9", "model.width=16", "model.mixer.heads=2", pattern))
    objective = objective_of(of, prepare(of.data))
    made = assemble(of, objective)
    torch._dynamo.reset()
    counter, loss, score = CompileCounter(), objective.loss, objective.score
    compiling.compiled(of, objective)  # says how
    if whole:
        loss, score = (
            torch.compile(f, dynamic=False, backend=counter, fullgraph=True) for f in (loss, score)
        )
    else:
        compiling.compile_blocks(of, made.model.blocks, backend=counter)
    held_out = objective.held_out(500)
    rows = 5
    assert held_out.count % rows
    from danlu.objectives import Draw
    from danlu.train.evaluate import evaluate

    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for step in range(2):
            draw = Draw(0, step, 8 * step, 0, 8)
            example = to_device(objective.example(draw), torch.device("cpu"))
            loss(made.model, example).minimised.backward()
            evaluate(made.model, objective, held_out, made.group, rows=rows, score=score, padded=True)
    assert counter.frame_count == (2 if whole else 2 * len(WINDOWS))


@pytest.mark.slow
@pytest.mark.parametrize("idea", ["", "+vq-attention", "+masked-lm"])
def test_warming_up_changes_nothing_and_makes_two_graphs(corpus: Path, idea: str) -> None:
    """Weights, buffers and gradients stay; further passes, of other numbers, make no graph."""
    from torch._dynamo.testing import CompileCounterWithBackend

    words = [word for word in (idea, "model.position=none" if idea == "+vq-attention" else "") if word]
    of = resolve(small.words(corpus, *words))
    objective = objective_of(of, prepare(of.data))
    made = assemble(of, objective)
    backends = [CompileCounterWithBackend("aot_eager") for _ in range(2)]
    torch._dynamo.reset()
    loss, score = (
        torch.compile(f, dynamic=False, backend=b)
        for f, b in zip((objective.loss, objective.score), backends, strict=True)
    )
    held_out = objective.held_out(200)
    from danlu.objectives import Draw

    def training(step: int) -> dict[str, torch.Tensor]:
        return to_device(objective.example(Draw(0, step, 8 * step, 0, 8)), torch.device("cpu"))

    def evaluation(place: int) -> dict[str, torch.Tensor]:
        return to_device(held_out.example([place], 4), torch.device("cpu"))

    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    functions = compiling.Compiled(loss, score)
    parameters = [p for _, p in made.named]
    compiling.run_eagerly(made.model, lambda: objective.loss(made.model, training(0)))  # fills caches
    compiling.warm_up(functions, made.model, parameters, training(0), evaluation(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.model.state_dict().items())
    assert all(p.grad is None for p in parameters) and made.model.training
    assert [backend.frame_count for backend in backends] == [1, 1]
    for step in range(1, 4):
        torch.testing.assert_close(
            loss(made.model, training(step)).total, objective.loss(made.model, training(step)).total
        )
    made.model.eval()
    with torch.no_grad():
        score(made.model, evaluation(1))
    assert [backend.frame_count for backend in backends] == [1, 1]
