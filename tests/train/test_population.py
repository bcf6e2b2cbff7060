"""Populations: a member is what it is alone, whatever happens to its neighbours, and resumes alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu import spec
from danlu.optim.rules.muon import orthogonalise
from danlu.spec import resolve
from danlu.spec.overrides import leaves
from danlu.train import store
from danlu.train.errors import Diverged, RunError
from danlu.train.machine import PRECISIONS
from danlu.train.population import refusal, train_together
from tests.conftest import ROOT
from tests.train import small
from tests.train.small import assert_close

NANO = ["optimizer=adamw", "schedule.warmup=0.1", "train.log_every=1"]
NANO += ["train.evaluate_tokens=400", "train.steps=4", "train.seconds=none"]
OWN = [  # what three members have of their own
    ["train.seed=1", "optimizer.lr=0.02", "optimizer.beta1=0.8", "train.clip=0.5"],
    ["train.seed=2", "optimizer.lr=0.005", "optimizer.weight_decay=0", "train.clip=0"],
    ["train.seed=1", "optimizer.lr=0.01", "schedule.floor=0.5", "model.init.std=0.05"],
]


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights, activations and moments in float64."""
    monkeypatch.setitem(PRECISIONS, "float32", torch.float64)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def members(folder: Path, *more: str, own: list[list[str]] = OWN) -> list[spec.Experiment]:
    words = small.words(small.corpus(folder), *NANO, *more)
    return [resolve([*words, *its]) for its in own]


def together(experiments: list[spec.Experiment], folder: Path) -> list[Any]:
    with small.quick():
        return train_together(experiments, [folder / str(k) for k in range(len(experiments))])


@pytest.mark.usefixtures("float64")
def test_members_are_what_they_are_alone(tmp_path: Path) -> None:
    """50 updates in float64: rows, evaluations, weights and moments to 1e-12."""
    more = ["train.steps=50", "train.evaluate_every=20", "train.checkpoint_every=20", "train.average=ema"]
    experiments = members(tmp_path, *more)
    summaries = together(experiments, tmp_path / "together")
    for k, experiment in enumerate(experiments):
        alone = small.go(experiment, tmp_path / f"alone {k}")
        here = tmp_path / "together" / str(k)
        assert_close(here, tmp_path / f"alone {k}", 1e-12)
        found, its = leaves(summaries[k]), leaves(alone)
        assert found.keys() == its.keys()
        for name in its.keys() - {"run", "wall_seconds", "tokens_per_second", "utilisation", "sample"}:
            if not name.startswith("active_seconds"):
                close = pytest.approx(its[name], rel=1e-12) if isinstance(its[name], float) else its[name]
                assert found[name] == close, name
        assert json.loads((here / "environment.json").read_text())["population"] == {"members": 3}
        assert json.loads((here / "summary.json").read_text())["steps"] == 50
        code = json.loads((here / "environment.json").read_text())["code"]
        assert {"train/members.py", "nn/stacked.py", "optim/rules/adam.py"} <= code["files"].keys()
    assert len({summary["metric"]["value"] for summary in summaries}) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_order_and_neighbours_change_nothing(tmp_path: Path) -> None:
    first, second, third = members(tmp_path, "train.steps=8")
    for name, those in {"all": [first, second, third], "turned": [third, first], "one": [first]}.items():
        together(those, tmp_path / name)
    assert_close(tmp_path / "all" / "0", tmp_path / "turned" / "1", 1e-13)
    assert_close(tmp_path / "all" / "0", tmp_path / "one" / "0", 1e-13)
    assert_close(tmp_path / "all" / "2", tmp_path / "turned" / "0", 1e-13)


RULES = {
    "adam": ["optimizer.weight_decay=0.1"],
    "adamw": [],
    "sgd": ["optimizer.weight_decay=0.1", "optimizer.nesterov=true"],
    "lion": ["optimizer.lazy_rows=true"],
    "muon": ["optimizer.weight_decay=0.1"],
    "tiger": [],
    "schedule-free": [],
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("kind", "batched"),
    [(kind, True) for kind in ("adam", "adamw", "sgd", "lion", "muon")]
    + [("adamw", False)]
    + [pytest.param(kind, False, marks=pytest.mark.slow) for kind in ("muon", "tiger", "schedule-free")],
)
def test_any_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, batched: bool) -> None:
    """With microbatches, a ramp of the batch, and an update of the first member left out as a spike."""
    from danlu.train import members as one
    from danlu.train.skipping import Spikes

    def spikes(self: Spikes, run: Any) -> None:
        run.skip = run.experiment.train.seed == 1 and run.state.step == 3

    monkeypatch.setattr(one, "BATCHED", {"cpu"} if batched else set())
    monkeypatch.setattr(Spikes, "after_gradients", spikes)
    monkeypatch.setattr(orthogonalise, "__defaults__", (5, torch.float64))  # not to 8 bits
    more = [f"optimizer={kind}", *RULES[kind], "train.steps=6", "train.microbatch=4",
            "train.ramp=[{batch: 4, until: 3 steps}]", "train.evaluate_every=3"]  # fmt: skip
    words = small.words(small.corpus(tmp_path), *NANO, *more)
    own = (["train.seed=1", "optimizer.lr=0.003"], ["train.seed=2", "optimizer.lr=0.001", "train.clip=0.3"])
    experiments = [resolve([*words, *its]) for its in own]
    # Muon's momentum is kept in float32; as one it is rounded when it is written, alone before it is used.
    bound = 1e-6 if batched and kind == "muon" else 1e-12
    together(experiments, tmp_path / "together")
    for k, experiment in enumerate(experiments):
        small.go(experiment, tmp_path / f"alone {k}")
        assert_close(tmp_path / "together" / str(k), tmp_path / f"alone {k}", bound)


OBJECTIVES = {
    "penalties": ["objective.z_loss=0.01", "objective.smoothing=0.1"],
    "prefix": ["objective={kind: prefix, length: 4}"],
    "documents": ["data.documents=separate", "model.position=kerple"],
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_any_objective(tmp_path: Path, name: str) -> None:
    """With evaluations, and looks inside the members."""
    more = ["train.steps=3", "train.evaluate_every=2", "train.internals_every=2", *OBJECTIVES[name]]
    experiments = members(tmp_path, *more, own=OWN[:2])
    together(experiments, tmp_path / "together")
    for k, experiment in enumerate(experiments):
        small.go(experiment, tmp_path / f"alone {k}")
        for where in ("together/" + str(k), f"alone {k}"):
            assert any("inside" in row for row in small.rows(tmp_path / where))
        assert small.losses(tmp_path / "together" / str(k)) == pytest.approx(
            small.losses(tmp_path / f"alone {k}"), rel=1e-12
        )
        (here, _), (there, _) = (
            small.left(tmp_path / "together" / str(k)),
            small.left(tmp_path / f"alone {k}"),
        )
        assert all(torch.allclose(tensor, there[n], rtol=1e-12, atol=1e-12) for n, tensor in here.items())


@pytest.mark.usefixtures("float64")
def test_a_member_that_diverges_ends_alone(tmp_path: Path) -> None:
    wild = [*OWN[0][:1], "optimizer.lr=1e300"]
    experiments = members(tmp_path, "train.steps=6", own=[OWN[0], wild, OWN[2]])
    first, error, third = together(experiments, tmp_path / "together")
    assert first["steps"] == third["steps"] == 6
    assert isinstance(error, Diverged)
    with pytest.raises(Diverged) as alone:
        small.go(experiments[1], tmp_path / "alone 1")
    assert str(error) == str(alone.value)
    assert small.rows(tmp_path / "together" / "1")[-1]["diverged"] == str(error)
    for k in (0, 2):
        small.go(experiments[k], tmp_path / f"alone {k}")
        assert_close(tmp_path / "together" / str(k), tmp_path / f"alone {k}", 1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "as one"])
def test_half_of_the_members_gone_the_rest_are_a_smaller_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batched: bool
) -> None:
    from danlu.train import lockstep
    from danlu.train import members as one

    sizes, made, models = [], list[weakref.ref[one.Stacked]](), list[weakref.ref[Any]]()

    class Counted(one.Stacked):
        def __init__(self, trainers: Any) -> None:
            assert all(stack() is None for stack in made)  # there is memory for one
            sizes.append(len(trainers))
            super().__init__(trainers)
            made.append(weakref.ref(self))
            assert sum(model() is not None for model in models) in (0, len(trainers))  # the rest is free
            models.extend(weakref.ref(trainer.model) for trainer in trainers)

    monkeypatch.setattr(one, "BATCHED", {"cpu"} if batched else set())
    monkeypatch.setattr(lockstep, "Stacked", Counted)
    wild = [["train.seed=1", "optimizer.lr=1e300"], ["train.seed=2", "optimizer.lr=1e300"]]
    experiments = members(tmp_path, "train.steps=6", own=[wild[0], OWN[0], wild[1], OWN[2]])
    ended = together(experiments, tmp_path / "together")
    assert sizes == [4, 2]
    assert [isinstance(end, Diverged) for end in ended] == [True, False, True, False]
    for k in (1, 3):
        small.go(experiments[k], tmp_path / f"alone {k}")
        assert_close(tmp_path / "together" / str(k), tmp_path / f"alone {k}", 1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_members_resume_alone_and_runs_resume_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A population ends in the middle, with members at different steps; one goes on alone, the others
    together, with a run that began alone."""
    from danlu.train.trainer import Trainer

    experiments = members(tmp_path, "train.steps=9", "train.checkpoint_every=2")
    save = Trainer.save

    def dying(trainer: Trainer) -> None:
        if trainer.state.step == 4 and trainer.folder.path.name == "1":
            raise KeyboardInterrupt
        save(trainer)

    monkeypatch.setattr(Trainer, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        together(experiments, tmp_path / "together")
    monkeypatch.setattr(Trainer, "save", save)
    assert [store.latest_step(tmp_path / "together" / str(k)) for k in range(3)] == [4, 2, 2]
    small.go(experiments[1], tmp_path / "together" / "1")
    with small.quick():
        train_together(experiments[::2], [tmp_path / "together" / k for k in "02"])
    for k, experiment in enumerate(experiments):
        small.go(experiment, tmp_path / f"alone {k}")
        assert_close(tmp_path / "together" / str(k), tmp_path / f"alone {k}", 1e-12)
    again = together(experiments, tmp_path / "together")
    assert [summary["steps"] for summary in again] == [9, 9, 9]


def test_where_a_graph_fails_the_gradients_are_those_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that ends in the middle of a backward pass leaves gradients behind."""
    from danlu.train import members as one

    class Fails:
        def __init__(self, run: Any, example: Any, weights: Any) -> None:
            run(example)
            raise RuntimeError("out of memory")

    model = torch.nn.Linear(3, 1)
    told = small.Told()

    class Losses:
        def __init__(self, value: torch.Tensor) -> None:
            self.minimised = self.total = value

    def loss(model: Any, example: Any) -> Losses:
        return Losses(model(example["x"]).sum(1))

    first: Any = SimpleNamespace(
        objective=SimpleNamespace(loss=loss),
        group=SimpleNamespace(device=SimpleNamespace(type="cuda")),
        reporter=told,
    )
    stacked = one.Stacked.__new__(one.Stacked)
    stacked.model, stacked.weights, stacked._graphs = model, dict(model.named_parameters()), {}
    monkeypatch.setattr(one, "Captured", Fails)
    x = torch.randn(2, 3)
    for _ in range(2):  # the second time without a try
        stacked._pass(first, {"x": x}, 1, whole=True)
        assert model.weight.grad is not None and torch.equal(model.weight.grad[0], x.sum(0))
        model.zero_grad()
    assert told.messages == ["no CUDA graph of the population (out of memory); it goes on without one"]


def test_a_signal_ends_all_with_a_checkpoint(tmp_path: Path) -> None:
    import signal

    from danlu.train.interrupt import Interrupt

    experiments = members(tmp_path, "train.steps=9")
    interrupt = Interrupt()

    class Asks(small.Told):
        def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
            if row["step"] == 3:
                interrupt.request(signal.SIGTERM)

    folders = [tmp_path / str(k) for k in range(3)]
    with small.quick():
        ended = train_together(experiments, folders, interrupt=interrupt, reporter=Asks())
    assert [summary["stopped"] for summary in ended] == ["SIGTERM"] * 3  # type: ignore[call-overload]
    assert [store.latest_step(folder) for folder in folders] == [3, 3, 3]


REFUSED = {
    "model.mixer.kind = vq has no batched form": ["model.mixer=vq", "model.position=none"],
    "model.dropout = 0.1": ["model.dropout=0.1"],
    "train.noise_every = 2": ["train.noise_every=2", "train.microbatch=4"],
    "train.weights = bfloat16": ["train.weights=bfloat16"],
    "objective.kind = masked": ["objective=masked", "model.kind=encoder"],
    "train.seconds = 5": ["train.seconds=5"],
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_refused(tmp_path: Path, sentence: str) -> None:
    experiments = members(tmp_path, *REFUSED[sentence])
    assert (refusal(experiments) or "").startswith(sentence)
    with pytest.raises(RunError, match="one by one"):
        together(experiments, tmp_path)


def test_members_have_one_graph(tmp_path: Path) -> None:
    path = small.corpus(tmp_path)
    one, wider = (resolve(small.words(path, *NANO, f"model.width={width}")) for width in (16, 32))
    assert refusal([one, one.seeded(7)]) is None
    assert (refusal([one, wider]) or "").startswith("model.width is 16 in one experiment and 32 in another")
    other = resolve(small.words(path, *NANO, "optimizer=muon"))
    assert (refusal([one, other]) or "").startswith("optimizer.kind is ")


def test_the_reason_needs_no_torch() -> None:
    code = "import sys, danlu.train.population; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_page_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of docs/populations.md, on a small corpus."""
    from danlu import spec as specs

    text = (ROOT / "docs" / "populations.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    words, real = small.words(small.corpus(tmp_path), *NANO), specs.resolve
    monkeypatch.setattr(specs, "resolve", lambda given: real([*words, *given[2:]]))
    monkeypatch.chdir(tmp_path)
    with small.quick():
        exec(compile(code, "docs/populations.md", "exec"), {})
    assert all((tmp_path / "runs" / f"member-{k}" / "summary.json").is_file() for k in range(6))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_cpu_members_are_what_they_are_alone_to_the_bit(tmp_path: Path, precision: str) -> None:
    """Rows, weights and moments, whoever the neighbours are; at sizes as small networks have them."""
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{n} times {n} makes {n * n}, " for n in range(900)))
    words = [
        "bed",
        f"data.corpus={text}",
        "data.context=64",
        "model.layers=2",
        f"train.precision={precision}",
    ]
    words += ["train.steps=12", "train.evaluate_every=6", "train.evaluate_tokens=2048", "train.log_every=1"]
    words += ["train.clip=0.1", "train.checkpoint_every=6"]
    experiments = [
        resolve([*words, f"train.seed={seed}", f"optimizer.lr={0.01 / seed}"]) for seed in (1, 2, 3)
    ]
    pairs = [(experiments, "three"), (experiments[1::-1], "two"), (experiments[:1], "one")]
    for some, name in pairs:
        together(some, tmp_path / name)
    small.go(experiments[0], tmp_path / "alone")
    for here in (tmp_path / "three" / "0", tmp_path / "two" / "1", tmp_path / "one" / "0"):
        small.assert_same(here, tmp_path / "alone")
