"""Runs with batch norms made ready for use: ``danlu export --fold --precise-bn``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn
from typer.testing import CliRunner

from danlu import spec
from danlu.cli.main import app
from danlu.files.errors import DanluError
from danlu.lab.deployed.batch_norms import deploy
from danlu.lab.errors import LabError
from danlu.lab.measures import of_run
from danlu.models import Encoder, Patches
from danlu.models.folded import FIELDS, fold_norms
from danlu.nn import BatchNorm, NoNorm
from danlu.train.load import load_run
from danlu.train.precise import precise_statistics
from tests.conftest import ROOT

BATCH = {"kind": "batch"}
SMALL = {"layers": 2, "width": 16, "mixer": {"kind": "attention", "heads": 2}, "norm": BATCH}
MODELS = {
    "pre": {},
    "double": {"placement": "double"},
    "output": {"placement": "output"},
    "parallel": {"placement": "parallel"},
    "parallel-two": {"placement": "parallel-two"},
    "glu, no bias, tied": {"feed_forward": {"kind": "glu"}, "bias": False, "tied": True},
    "transform": {"transform": "gelu", "bias": True},
    "narrow embedding": {"embedding_width": 8},
    "gate": {"mixer": {"kind": "attention", "heads": 2, "gate": {"kind": "elements"}}},
}


def trained(model: nn.Module) -> nn.Module:
    """The model with numbers as of training: nothing is zero or one, some gains are below zero."""
    for tensor in model.parameters():
        nn.init.normal_(tensor, std=0.4)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            nn.init.normal_(module.mean)
            nn.init.uniform_(module.variance, 0.2, 3)
    model.compute = torch.float64  # type: ignore[assignment]
    return model.double().eval()


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_a_folded_encoder_is_the_same_function(settings: dict[str, Any]) -> None:
    """In float64 to 1e-10 of the logits' size, over two layers; and no batch norm is left."""
    model = trained(Encoder(12, 8, **(SMALL | settings)))
    tokens = torch.randint(12, (3, 8))
    before = model(tokens)
    fold_norms(model)  # type: ignore[arg-type]
    assert not any(isinstance(module, BatchNorm) for module in model.modules())
    assert isinstance(model.norm, NoNorm)
    torch.testing.assert_close(model(tokens), before, rtol=1e-10, atol=1e-10)


def test_a_folded_patch_network_is_the_same_function() -> None:
    model = trained(Patches((1, 4, 4), 3, **SMALL))
    images = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    before = model(images)
    fold_norms(model)  # type: ignore[arg-type]
    torch.testing.assert_close(model(images), before, rtol=1e-10, atol=1e-10)


def test_what_cannot_be_folded_is_refused_untouched() -> None:
    for settings, said in (
        ({"placement": "post"}, "blocks.0.mixer_norm stands where no linear map alone reads it"),
        ({"embedding_norm": True}, "embedding_norm stands where"),
        ({"norm": {"kind": "layer"}}, "the network has no batch norm"),
    ):
        model = Encoder(12, 8, **(SMALL | settings)).eval()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(ValueError, match=said):
            fold_norms(model)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_precise_statistics_are_those_of_all_batches_together() -> None:
    """To the rounding of float32, in which they are kept: mean and biased variance of the batches laid end to
    end, where batches differ in their means; a mean of their variances is far off."""
    norm = BatchNorm(5).double()
    batches = [3 * torch.randn(1, 1, 5).double() + torch.randn(4, 6, 5).double() for _ in range(20)]
    assert precise_statistics(norm, (lambda x=x: norm(x) for x in batches)) == 20
    whole = torch.cat(batches)
    torch.testing.assert_close(norm.mean, whole.mean((0, 1)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.variance, whole.var((0, 1), correction=0), rtol=1e-12, atol=1e-12)
    within = torch.stack([x.var((0, 1), correction=0) for x in batches]).mean(0)
    assert (norm.variance > 2 * within).all()
    assert norm.training and not norm._forward_pre_hooks


def test_precise_statistics_ask_for_norms_and_batches() -> None:
    with pytest.raises(ValueError, match="no batch norm"):
        precise_statistics(nn.Linear(2, 2), [lambda: None])
    with pytest.raises(ValueError, match="no batch was given"):
        precise_statistics(BatchNorm(2), [])


def run(folder: Path, *words: str) -> Path:
    made = CliRunner().invoke(
        app, ["train", *words, "train.device=cpu", "--run", str(folder), "--json"], catch_exceptions=False,
        standalone_mode=False,
    )  # fmt: skip
    assert json.loads(made.stdout)
    return folder


TINY = ["tiny", "+masked-lm", "model.norm=batch", "corpus=synthetic:reverse-3", "data.context=32"]
TINY += ["model.layers=1", "model.width=16", "model.mixer.heads=2", "train.batch=4", "train.steps=3"]
TINY += ["train.evaluate_tokens=1000", "train.precision=float32"]


def test_a_run_is_written_folded(tmp_path: Path) -> None:
    """The folder is a run of the folded specification, and computes what the run computes."""
    before = run(tmp_path / "before", *TINY)
    done = CliRunner().invoke(
        app, ["export", str(before), "--to", str(tmp_path / "after"), "--fold", "--precise-bn", "6"],
        catch_exceptions=False, standalone_mode=False,
    )  # fmt: skip
    lines = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()[:4]]
    assert "folded into linear maps" in done.stdout and lines[2][1] == lines[3][1]
    gain = of_run(before, ["precise-statistics", "metric"])
    assert len(lines) == 4 and all(value.replace(".", "").isdigit() for _, value in lines)
    folded = load_run(tmp_path / "after")
    wanted = load_run(before).experiment.model.model_copy(update=FIELDS)
    assert folded.experiment.model == wanted and folded.experiment.network.norm == spec.NoNorm()
    found = deploy(before, tmp_path / "precise", precise=200)
    values = found["values"]
    assert values["precise"] - values["running"] == pytest.approx(gain["precise-statistics"], abs=1e-5)
    assert values["running"] == pytest.approx(gain["metric"], rel=1e-5)
    precise = load_run(Path(deploy(before, tmp_path / "few", precise=6)["run"]))
    tokens = torch.randint(5, (2, 32))
    torch.testing.assert_close(folded.model(tokens), precise.model(tokens), rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, BatchNorm) for module in precise.model.modules())
    with pytest.raises(DanluError, match="is there already"):
        deploy(before, tmp_path / "after", fold=True)


def test_a_run_without_batch_norm_is_refused(tmp_path: Path) -> None:
    words = [word for word in TINY if word != "model.norm=batch"]
    with pytest.raises(LabError, match="has no batch norm"):
        deploy(run(tmp_path / "before", *words), tmp_path / "after", fold=True)


def test_the_python_of_the_page_runs() -> None:
    page = (ROOT / "docs" / "batch-norm.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(program, {})
    commands = re.findall(r"^(danlu .*?) +#", page, flags=re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["train", "export", "export"]
    assert spec.resolve(commands[0].split()[2:4]).network.norm.kind == "batch"
