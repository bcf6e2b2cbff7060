"""Training with weights in few bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.lab.quantized import Settings, quantize_folder
from danlu.quantization import FORMATS, named, quantize
from danlu.quantization.rounded import Rounded
from danlu.spec import resolve
from danlu.spec.errors import SpecError
from danlu.spec.quantize import FORMATS as NAMES
from danlu.train.assemble import assemble, network, objective_of
from danlu.train.errors import RunError
from danlu.train.load import load_run
from danlu.train.parallel import shard
from danlu.train.rounding import activate
from tests.train import small
from tests.train.small import assert_same, rows
from tests.train.test_averages import forget

STRAIGHT = "train.quantize={format: int3, group: 8, start: 0.5}"
LSQ = "train.quantize={format: int3, method: lsq, start: 0.5, activations: int8}"
PARETO = "train.quantize={format: int2-stretched, method: paretoq, start: 0.5}"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("text"))


def latent(folder: Path, step: int | None = None) -> dict[str, torch.Tensor]:
    return {n.removeprefix("model/"): t for n, t in small.left(folder, step)[0].items() if "model/" in n}


def test_the_specification_knows_the_formats() -> None:
    assert set(NAMES) == set(FORMATS)


def test_names_and_initial_weights_stay(text: Path) -> None:
    """Learned scales come in addition."""
    plain, straight, learned = (resolve(small.words(text, *more)) for more in ([], [STRAIGHT], [LSQ]))
    from danlu import data

    objective = objective_of(plain, data.prepare(plain.data))
    one, other, third = (assemble(e, objective).model.state_dict() for e in (plain, straight, learned))
    assert list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)
    assert all(torch.equal(one[n], third[n]) for n in one)
    added = third.keys() - one.keys()
    assert added and all(name.endswith(".rounding.scale") for name in added)


@pytest.mark.parametrize("how", [STRAIGHT, pytest.param(LSQ, marks=pytest.mark.slow), PARETO])
def test_it_begins_at_its_start_and_resumes_bit_for_bit(text: Path, tmp_path: Path, how: str) -> None:
    """Until then the run is the one without it; one that is cut off in the middle goes on as the other."""
    often = ("train.steps=6", "train.checkpoint_every=1", "train.keep=9")
    small.run(text, tmp_path / "plain", *often)
    small.run(text, tmp_path / "whole", how, *often)
    before, after = latent(tmp_path / "plain", 3), latent(tmp_path / "whole", 3)
    assert all(torch.equal(before[n], after[n]) for n in before)
    later = latent(tmp_path / "plain", 4), latent(tmp_path / "whole", 4)
    assert not all(torch.equal(later[0][n], later[1][n]) for n in before)
    from danlu.train import store
    from danlu.train.interrupt import Interrupt

    class Stops(Interrupt):
        """At the fourth update."""

        asked = 0

        @property
        def requested(self) -> str | None:
            self.asked += 1
            return "SIGTERM" if self.asked >= 6 else None

        @requested.setter
        def requested(self, value: Any) -> None: ...

    from danlu.train import run as runs

    experiment = resolve(small.words(text, how, *often))
    with small.quick():
        runs.train(experiment, tmp_path / "cut", small.Told(), interrupt=Stops())
    assert 0 < (store.latest_step(tmp_path / "cut") or 0) < 6
    small.go(experiment, tmp_path / "cut")
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_what_is_scored_and_loaded_is_rounded(text: Path, tmp_path: Path) -> None:
    """Also of the average, whose own weights are exact."""
    more = ("train.steps=4", "train.average=ema")
    small.run(text, tmp_path / "run", STRAIGHT, *more)
    run = load_run(tmp_path / "run", 4)
    average = small.left(tmp_path / "run")[0]
    format = named("int3", 8, torch.float16)
    for name, linear in run.model.named_modules():
        if isinstance(linear, Rounded):
            exact = average[f"average/{name}.weight"]
            assert torch.equal(linear.weight, quantize(exact, format).dequantize())
            assert not torch.equal(linear.weight, exact)
    found = quantize_folder(tmp_path / "run", Settings.of("int4"), tmp_path / "out", own=True, step=4)
    assert found["to"] == "int3-narrow" and found["delta"] == 0 == found["kl"] and found["by"] == "trained"
    scored = rows(tmp_path / "run")[-1]["bits_per_byte_average"]
    assert found["before"] == pytest.approx(scored, rel=1e-6)


@pytest.mark.parametrize("how", [LSQ, PARETO])
def test_learned_scales_are_written(text: Path, tmp_path: Path, how: str) -> None:
    small.run(text, tmp_path / "run", how, "train.steps=4")
    assert any(".rounding.scale" in name for name in latent(tmp_path / "run"))
    found = quantize_folder(tmp_path / "run", Settings.of("int4"), tmp_path / "out", own=True)
    assert found["kl"] == pytest.approx(0, abs=1e-9)
    run, written = load_run(tmp_path / "run"), load_run(tmp_path / "out")
    x = torch.arange(12)[None] % 7
    assert torch.equal(run.model(x), written.model(x))
    assert not any(".rounding" in name for name, _ in written.model.named_parameters())


def test_at_the_end_it_is_rounding_of_the_trained_weights(text: Path, tmp_path: Path) -> None:
    small.run(text, tmp_path / "plain", "train.steps=3")
    summary = small.run(text, tmp_path / "run", "train.steps=3", "train.quantize={format: int2, start: 1}")
    one, other = latent(tmp_path / "plain"), latent(tmp_path / "run")
    assert all(torch.equal(one[name], other[name]) for name in one)
    found = quantize_folder(tmp_path / "plain", Settings.of("int2"), tmp_path / "out")
    assert found["after"] == pytest.approx(summary["metric"]["value"], rel=1e-6)


def test_where_the_rate_falls(text: Path) -> None:
    from danlu.optim import Progress
    from danlu.train.rounding import begins

    now = Progress(0.3)
    for more, start in ((["+wsd"], 0.8), ([], 0.9), (["train.quantize.start=0.25"], 0.25)):
        experiment = resolve(small.words(text, "train.quantize={format: int4}", *more))
        assert begins(experiment, now) == pytest.approx(start)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("{format: int9}", "int9 is no format.*allowed: int2 to int8, ternary"),
        (
            "{format: int4-affine, method: lsq}",
            "method = lsq has no rule for .*format = int4-affine; allowed",
        ),
        ("{format: int4, method: paretoq}", "allowed: int3-full, int4-full, int2-stretched"),
        ("{start: 1.5}", "start"),
    ],
)
def test_refused(text: Path, how: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        resolve(small.words(text, f"train.quantize={how}"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [["train.average=ema", "train.microbatch=2"], ["train.quantize.start=0", "train.checkpoint_every=3"]],
    ids=["average", "from the start"],
)
def test_two_processes_that_share_the_weights_are_one(text: Path, tmp_path: Path, more: list[str]) -> None:
    """FSDP2: blocks are gathered whole and exact, so that groups and scales are those of one process. By
    gradient descent: what makes small differences large would let weights fall on other levels."""
    often = ("train.steps=6", "train.log_every=1", "train.evaluate_every=3", "train.parallel=fsdp")
    descent = "optimizer={kind: sgd, lr: 0.3, momentum: 0.9}"
    small.assert_two_are_one(small.words(text, STRAIGHT, descent, *often, *more), tmp_path, 1e-5)
    one = latent(tmp_path / "one")
    for name, tensor in latent(tmp_path / "two").items():
        torch.testing.assert_close(tensor, one[name], rtol=1e-4, atol=1e-5)
    if "train.quantize.start=0" not in more:
        return
    forget(tmp_path / "two", 6)  # and go on where weights are rounded already
    done = small.torchrun(small.words(text, STRAIGHT, descent, *often, *more), tmp_path / "two")
    assert done.returncode == 0 and "resuming after step 3" in done.stderr, done.stderr
    for name, tensor in latent(tmp_path / "two").items():
        torch.testing.assert_close(tensor, one[name], rtol=1e-4, atol=1e-5)


def test_sharded_weights_are_rounded_before_they_are_cast(text: Path, tmp_path: Path) -> None:
    """In bfloat16: what a map multiplies by is the exact weight rounded, not that of bfloat16 rounded."""
    from torch.distributed.device_mesh import init_device_mesh

    from danlu import data

    experiment = resolve(small.words(text, STRAIGHT))
    model = network(experiment, objective_of(experiment, data.prepare(experiment.data)), "bfloat16")
    activate(model)
    maps = {name: module for name, module in model.named_modules() if isinstance(module, Rounded)}
    wanted = {name: module.weight.detach().clone() for name, module in maps.items()}
    exact = {name: module._parameters["weight"].detach().clone() for name, module in maps.items()}
    seen: dict[str, tuple[torch.dtype, torch.Tensor]] = {}
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        shard(model, init_device_mesh("cpu", (1,)), "bfloat16")
        shards = {name: module._parameters["weight"] for name, module in maps.items()}
        for name, module in maps.items():
            module.register_forward_pre_hook(
                lambda m, x, n=name: seen.update({n: (x[0].dtype, m.weight.detach().clone())})
            )
        model(torch.arange(12)[None] % 7).logsumexp(-1).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert seen.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert seen[name][0] == torch.bfloat16 and torch.equal(seen[name][1], weight)
        shard_of = shards[name]  # of the exact weight, which the optimizer knows: its gradient is there
        assert maps[name]._parameters["weight"] is shard_of is not None and shard_of.is_leaf
        assert shard_of.grad is not None and shard_of.grad.to_local().dtype == torch.float32
        assert torch.equal(shard_of.to_local(), exact[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        "{format: int3, group: 8, start: 0.5}",
        "{format: int4-affine, group: 8, start: 0.5}",
        "{format: int3, method: lsq, start: 0.5, activations: int8}",
    ],
)
def test_compiled_it_is_as_it_is_without(text: Path, tmp_path: Path, how: str) -> None:
    """The same levels: scales are rounded to float16 there too. The graph is compiled anew when it begins."""
    descent = ("optimizer={kind: sgd, lr: 0.3, momentum: 0.9}", "train.steps=4", "train.log_every=1")
    for compile in ("true", "false"):
        told = small.Told()
        more = (f"train.quantize={how}", f"train.compile={compile}")
        small.run(text, tmp_path / compile, *descent, *more, told=told)
        assert not any("compiling failed" in message for message in told.messages)
    small.close(small.losses(tmp_path / "true"), small.losses(tmp_path / "false"), 1e-5)
    one, other = latent(tmp_path / "true"), latent(tmp_path / "false")
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([STRAIGHT, "train.parallel=fsdp"], r"compile = true with .*parallel = fsdp does not go with"),
        (["train.quantize={format: mxfp4}"], r"compile = true does not go with .* in an mx format"),
        (["train.quantize={format: int4, activations: mxfp8-e4m3}"], r"in an mx format"),
    ],
)
def test_what_does_not_compile_is_refused(text: Path, more: list[str], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        resolve(small.words(text, *more, "train.compile=true"))


def test_a_group_that_does_not_divide_and_a_model_without_blocks(text: Path) -> None:
    from danlu import data

    experiment = resolve(small.words(text, "train.quantize={format: int4, group: 24}"))
    with pytest.raises(RunError, match=r"train.quantize: blocks.0.mixer.qkv: groups of 24 do not divide"):
        network(experiment, objective_of(experiment, data.prepare(experiment.data)))
