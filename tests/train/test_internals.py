"""A look inside changes nothing, and what it sees is what it says."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu import spec
from danlu.inspection.watching import activations
from danlu.inspection.weighing import part
from danlu.models import build
from danlu.train import metrics
from tests.conftest import LIMIT, ROOT
from tests.models.small import CAUSAL, CONTEXT, NONE, VOCABULARY, attention, tokens
from tests.models.small import small as network
from tests.train import small

RUN = ["train.steps=5", "train.log_every=1", "train.evaluate_tokens=200", "train.evaluate_every=3"]
LOOKS = "train.internals_every=2"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def inside(folder: Path) -> dict[int, dict[str, float]]:
    rows = metrics.read(folder / "metrics.jsonl")
    return {row["step"]: row["inside"] for row in rows if "inside" in row}


def without_inside(folder: Path) -> None:
    rows = [row for row in metrics.read(folder / "metrics.jsonl") if "inside" not in row]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


WAYS = {
    "decoder": ["model.dropout=0.2", "train.microbatch=4", "data.documents=separate"],
    "recompute": ["train.recompute=true", "optimizer=adamw", "train.average=ema"],
    "encoder": ["+masked-lm"],
    "encoder-decoder": ["+span-corruption", "data.context=32"],
    "latent": ["+mla"],
    "codebook": ["+vq-attention"],
    "lru": ["+lru"],
    "batch-norm": ["+masked-lm", "model.norm=batch"],
    "folded": ["optimizer=tiger", "train.microbatch=4", "train.clip=0"],
    "half": ["train.weights=bfloat16-stochastic", "optimizer=adamw"],
    "averaging": ["optimizer=schedule-free", "schedule=constant"],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_looked_at_is_the_run_that_is_not(tmp_path: Path, corpus: Path, way: str) -> None:
    small.run(corpus, tmp_path / "plain", *RUN, *WAYS[way])
    small.run(corpus, tmp_path / "seen", *RUN, *WAYS[way], LOOKS)
    seen = inside(tmp_path / "seen")
    assert list(seen) == [1, 2, 4]
    for values in seen.values():
        kinds = {key.split("/")[0] for key in values}
        # Tiger's gradients are in its momentum; a recurrence and far codes have no scores of all pairs.
        scores = {"logits-rms", "entropy", "attention-to-first", "sink-rate", "value-drain"}
        missing = {"folded": {"gradient"}, "lru": scores, "codebook": scores}.get(way, set())
        every = {"gradient", "update", "logits", "kurtosis", "stream", "stream-max", "peak", "dead", "logz"}
        every |= {"kurtosis-rest", "stream-max-rest", "logits-max"} | scores
        assert kinds == every - missing
        assert all(math.isfinite(value) for value in values.values())
    without_inside(tmp_path / "seen")
    small.assert_same(tmp_path / "plain", tmp_path / "seen")


def test_an_interrupted_run_has_every_look_once(tmp_path: Path, corpus: Path) -> None:
    kept = [*RUN, "train.checkpoint_every=2", "train.keep=5", LOOKS]
    small.run(corpus, tmp_path / "whole", *kept)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").unlink()
    for step in (3, 4, 5):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / f"step-{step}")
    small.run(corpus, tmp_path / "cut", *kept)
    assert list(inside(tmp_path / "cut")) == [1, 2, 4]
    assert inside(tmp_path / "cut") == inside(tmp_path / "whole")


def test_gradients_of_the_parts_add_up(tmp_path: Path, corpus: Path) -> None:
    """Their squares to the square of the norm that is logged, though the gradients are clipped after."""
    small.run(
        corpus, tmp_path / "run", *RUN, "optimizer=adamw", "train.microbatch=2", "train.clip=0.1", LOOKS
    )
    norms = {row["step"]: row["grad_norm"] for row in small.rows(tmp_path / "run") if "grad_norm" in row}
    for step, values in inside(tmp_path / "run").items():
        squares = sum(value**2 for key, value in values.items() if key.startswith("gradient/"))
        assert math.sqrt(squares) == pytest.approx(norms[step], rel=1e-4)


def test_an_update_of_plain_descent_is_rate_times_gradient(tmp_path: Path, corpus: Path) -> None:
    more = [
        "optimizer={kind: sgd, lr: 0.05, momentum: 0, weight_decay: 0}",
        "schedule={kind: constant, warmup: 0}",
        "train.clip=0",
    ]
    small.run(corpus, tmp_path / "run", *RUN, *more, "train.steps=1", LOOKS)
    values = inside(tmp_path / "run")[1]
    torch.manual_seed(0)
    experiment = small.resolve(small.words(corpus))
    model = build(experiment.model, 257, experiment.data.context)
    weights: dict[str, float] = {}
    for name, p in model.named_parameters():
        weights[part(name)] = weights.get(part(name), 0.0) + float(p.detach().double().square().sum())
    assert set(weights) == {key.removeprefix("update/") for key in values if key.startswith("update/")}
    for name, squares in weights.items():
        moved = 0.05 * values[f"gradient/{name}"] / math.sqrt(squares)
        assert values[f"update/{name}"] == pytest.approx(moved, rel=1e-3)


# ------------------------------------------------------------ what is seen in a pass


def test_scores_are_those_of_the_queries_and_keys() -> None:
    model = network(**attention(kv_heads=1, scale=0.7), position=NONE)
    shown, given = tokens(), []
    hook = model.blocks[0].mixer.qkv.register_forward_hook(lambda module, x, out: given.append(out))
    values = activations(model, lambda: model(shown))
    hook.remove()
    out = model(shown).detach()
    q, k, _ = given[0].unflatten(-1, (-1, 8)).transpose(1, 2).split((2, 1, 1), dim=1)
    visible = torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).tril()
    scores = (0.7 * q @ k.mT)[..., visible]
    assert values["logits/blocks.0"] == pytest.approx(float(scores.max()), rel=1e-5)
    assert values["logits-rms/blocks.0"] == pytest.approx(float(scores.square().mean().sqrt()), rel=1e-5)
    assert values["logits/out"] == pytest.approx(float(out.square().mean().sqrt()), rel=1e-5)


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_capped_scores_stay_below_the_cap(bound: float) -> None:
    model = network(**attention(softcap=bound, scale=100.0))
    values = activations(model, lambda: model(tokens()))
    assert 0.9 * bound < values["logits/blocks.1"] <= bound


def test_the_model_is_left_as_it_was() -> None:
    model = network(**CAUSAL["lru-attention"], dropout=0.5).train()
    before = torch.get_rng_state()
    activations(model, lambda: model(tokens()))
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert model.training and all(m.training for m in model.modules()) and not hooks
    tokens()  # the only thing that drew
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    tokens(), tokens()
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.slow  # imports the compiler
def test_what_is_compiled_is_neither_watched_nor_compiled_again() -> None:
    from torch._dynamo.utils import counters

    model = network(**attention(softcap=2.0))
    shown = tokens()
    expected = activations(model, lambda: model(shown))
    for block in model.blocks:
        block.compile(backend="eager", fullgraph=True)
    before = model(shown)
    graphs = counters["stats"]["unique_graphs"]
    assert activations(model, lambda: model(shown)) == expected
    assert torch.equal(model(shown), before) and counters["stats"]["unique_graphs"] == graphs


@pytest.mark.parametrize("kind", [spec.Decoder, spec.Encoder, spec.EncoderDecoder])
def test_parts_have_few_names(kind: Any) -> None:
    model = network(kind, **attention(qk_norm=spec.QKNorm(gain=True)), position=spec.T5Buckets(), tied=False)
    found = {part(name) for name, _ in model.named_parameters()}
    sides = {"": ("mixer", "feed_forward")}
    if kind is spec.EncoderDecoder:
        sides = {"encoder.": ("mixer", "feed_forward"), "decoder.": ("mixer", "cross", "feed_forward")}
    expected = {f"{side}blocks.{i}.{name}" for side, names in sides.items() for name in names for i in (0, 1)}
    ends = {"embedding", "readout"} | ({"encoder.norm"} if kind is spec.EncoderDecoder else set())
    assert found <= expected | ends and found >= expected | {"embedding", "readout"}
    assert model.readout.weight.shape[0] == VOCABULARY


# ------------------------------------------------------------ two processes


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_see_what_one_sees(tmp_path: Path, corpus: Path, parallel: str) -> None:
    run = [*RUN, "optimizer=adamw", "train.microbatch=4", LOOKS]
    small.run(corpus, tmp_path / "one", *run)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "danlu", "--", "train", *small.words(corpus, *run, f"train.parallel={parallel}"),
        "--run", str(tmp_path / "two"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    one, two = inside(tmp_path / "one"), inside(tmp_path / "two")
    assert one.keys() == two.keys()
    for step, values in one.items():
        assert two[step] == pytest.approx(values, rel=1e-3)
