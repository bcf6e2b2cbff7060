"""A run measured in few bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu.lab.errors import LabError
from danlu.lab.measures import of_run
from danlu.lab.measures.rounded import plant
from danlu.lab.quantized import Settings, quantize_folder
from danlu.train.load import load_run
from tests.train import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    small.run(small.corpus(made), made / "one", "train.steps=3")
    return made / "one"


def test_it_is_what_danlu_quantize_says(run: Path, tmp_path: Path) -> None:
    found = quantize_folder(run, Settings.of("int2"), tmp_path / "out")
    measured = of_run(run, ["rounded:int2"])
    assert measured["rounded:int2"] == pytest.approx(found["after"], rel=1e-6)


def test_a_planted_outlier_keeps_the_function_and_breaks_rounding(run: Path) -> None:
    loaded, text = load_run(run), torch.arange(12)[None] % 7
    before = loaded.model(text)
    plant(loaded.model)
    torch.testing.assert_close(loaded.model(text), before, rtol=1e-4, atol=1e-4)
    assert loaded.model.blocks[0].mixer_norm.gain[0].abs() > 50
    how = "int8/{}/channel/int4"
    names = [f"rounded:{how.format('rtn')}", *(f"rounded:planted/{how.format(m)}" for m in ("rtn", "rotate"))]
    plain, planted, turned = of_run(run, names).values()
    exact = of_run(run, ["metric"])["metric"]
    assert abs(turned - exact) < abs(planted - exact) and abs(plain - exact) < abs(planted - exact)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rounded:", "needs a name"),
        ("rounded:int9", "int9 is no format"),
        ("rounded:int8/rtn/channel/int8/x", "too many parts"),
        ("rounded:int4/rtn/24", "groups of 24 do not divide"),
    ],
)
def test_mistakes(run: Path, name: str, sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        of_run(run, [name])
