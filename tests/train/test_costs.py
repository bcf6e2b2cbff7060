"""The costs of experiments: what is told of a run is what the run would have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from danlu import data, objectives, spec
from danlu.cli.main import app
from danlu.models import build
from danlu.models import costs as of_model
from danlu.spec import catalog, resolve
from danlu.spec.errors import DanluError
from danlu.train import kernels
from danlu.train.assemble import outlined
from danlu.train.costs import costs, vocabulary_of

SIZE = ("model.layers=1", "model.width=16", "data.context=16", "train.microbatch=4", "train.device=cpu",
        "train.precision=float32")  # fmt: skip
PLAIN = ("train.device=cpu", "train.precision=float32")


@pytest.mark.parametrize("idea", ["tiny", "+prefix-lm", "+masked-lm", "+span-corruption"])
@pytest.mark.parametrize("recompute", [False, True])
def test_activations_are_those_of_a_real_pass(idea, recompute):
    """Of the run's own model, objective and example."""
    words = ["tiny", *([idea] if idea != "tiny" else []), *SIZE]
    if idea == "+prefix-lm":
        words.append("objective.length=5")
    experiment = resolve([*words, f"train.recompute={str(recompute).lower()}"])
    objective = objectives.build(experiment.objective, outlined(experiment))
    model = build(experiment.model, *objective.inputs)
    rows = np.random.default_rng(0).integers(256, size=(4, 17))
    example = objective.make(rows[:, :-1], rows[:, 1:], objectives.training_keys(0, 0, 0, 4))
    example = {name: torch.from_numpy(array.copy()) for name, array in example.items()}
    real = of_model.kept(model, lambda: objective.loss(model, example))
    told = costs(experiment)
    assert told["vocabulary"]["ids"] == objective.vocabulary
    assert told["memory"]["activations"] == (real.recomputed_activations if recompute else real.activations)
    assert told["memory"]["copies"] == 0
    assert told["memory"]["weights"] == sum(4 * p.numel() for p in model.parameters())
    assert told["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert sum(told["flops"]["forward"].values()) == pytest.approx(
        model.flops(1, *objective.lengths) / 16, rel=1e-12
    )
    assert told["flops"]["training"] == pytest.approx(3 * model.flops(1, *objective.lengths) / 16, rel=1e-12)


def test_intensity_is_flops_over_the_bytes_it_says():
    experiment = resolve(["tiny", *PLAIN])
    told = costs(experiment)
    total, kept = told["parameters"]["total"], told["memory"]["activations"]
    flops = told["flops"]["training"] * 8 * 128
    assert told["intensity"]["training"] == pytest.approx(flops / (total * (4 + 4 + 4) + 2 * kept), rel=1e-12)
    one = sum(told["flops"]["forward"].values())  # of the last token, which sees the whole context
    weights, cache = 4 * (total - 257 * 128), told["cache"]["bytes"]["float32"]
    for batch, value in told["intensity"]["decoding"].items():
        bytes_ = weights + int(batch) * cache
        assert value == pytest.approx(int(batch) * one / bytes_, rel=1e-12)


def test_what_a_cache_grows_by():
    context = 128
    by = {idea: costs(resolve(["tiny", *idea, *PLAIN]))["cache"] for idea in [(), ("+window",), ("+lru",)]}
    assert by[()]["per_token"] == {"bfloat16": 4 * 2 * 128 * 2, "float32": 4 * 2 * 128 * 4}
    assert by[()]["bytes"]["bfloat16"] == context * by[()]["per_token"]["bfloat16"]
    assert by[()]["bytes"] == by[()]["full"] == by[("+window",)]["full"]
    assert set(by[("+window",)]["per_token"].values()) == set(by[("+lru",)]["per_token"].values()) == {0}
    assert costs(resolve(["tiny", "+masked-lm", *PLAIN]))["cache"] is None


def test_a_network_of_its_ends_alone_has_no_n() -> None:
    """A SIREN of one layer: an input map, which counts as an embedding, and a readout."""
    told = costs(resolve(["siren-chirp", "model.layers=1", *PLAIN]))
    assert told["parameters"]["without_embeddings"] == 0 and told["flops"]["over_6n"] is None
    assert CliRunner().invoke(app, ["show", "siren-chirp", "model.layers=1", "--costs"]).exit_code == 0


# Larger ones are the same parts more often.
SMALL = [name for name in catalog.names("recipes") if getattr(resolve([name]).model, "layers", 0) <= 12]
SMALL += ["llama-7b", "palm-8b"]


@pytest.mark.parametrize("recipe", SMALL)
def test_every_kind_of_recipe_can_be_told_as_json(recipe):
    found = {"costs": costs(resolve([recipe])), "kernels": kernels.report(resolve([recipe]))}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_gpt_3_is_told_without_being_held():
    words = ["gpt2-124m", "model.layers=96", "model.width=12288", "model.mixer.heads=96", "data.context=2048"]
    told = costs(resolve([*words, "train.batch=8", "train.microbatch=1", "train.device=cuda"]))
    assert 174e9 < told["parameters"]["total"] < 176e9
    assert (told["device"], told["precision"]) == ("cuda", "bfloat16")
    on_cpu = costs(resolve([*words, "train.batch=8", "train.microbatch=1", "train.device=cpu"]))
    # Of 96 layers of 96 heads a CPU's kernel keeps the weights, in blocks of 128 queries: more than half.
    weights = 96 * 96 * 2048**2 * 2 // 2
    assert told["memory"]["activations"] < on_cpu["memory"]["activations"] - weights


def test_a_gpu_is_told_apart_from_a_cpu_that_keeps_weights_of_attention():
    words = ["tiny", "data.context=512", "train.precision=bfloat16"]
    on = {device: costs(resolve([*words, f"train.device={device}"])) for device in ("cpu", "cuda")}
    assert kernels.report(resolve([*words, "train.device=cpu"]))[0]["kernel"] == "plain"
    numbers = 4 * 8 * 512 * 128  # layers, rows, positions, width
    weights = 4 * 8 * 4 * 512 * 512 * 10 // 16 * 2  # the blocks at and below the diagonal, in bfloat16
    # The fused kernel keeps its output and a normaliser for each query, and with the values the queries and
    # keys before they were turned, which are of one tensor with them.
    fused = numbers * 2 + 4 * 8 * 4 * 512 * 4 + 2 * numbers * 2
    apart = on["cpu"]["memory"]["activations"] - on["cuda"]["memory"]["activations"]
    assert apart == weights - fused
    assert on["cpu"]["parameters"] == on["cuda"]["parameters"]


def test_vocabularies(tmp_path: Path):
    assert vocabulary_of(spec.Text())[0] == data.tokenizers.Bytes().vocabulary
    assert vocabulary_of(spec.Text(tokenizer="bpe:4096"))[0] == 4096
    ids, said = vocabulary_of(spec.Text(tokenizer="characters"))
    assert ids > 0 and "assumed" in said
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"danlu": 1, "kind": "characters", "characters": "abc"}))
    assert vocabulary_of(spec.Text(tokenizer=str(path)))[0] == 5
    with pytest.raises(DanluError, match="is missing"):
        vocabulary_of(spec.Text(tokenizer=str(tmp_path / "none.json")))
    assert costs(resolve(["tiny", *PLAIN]), vocabulary=1000)["vocabulary"] == {"ids": 1000, "known": "given"}
