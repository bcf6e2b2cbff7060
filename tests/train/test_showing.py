"""What a run makes on its way lies in its folder as pictures, and is what its checkpoints make."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.files.errors import FileError
from danlu.spec import resolve
from danlu.train import sample_files
from danlu.train.folder import RunFolder
from danlu.train.interrupt import Interrupt
from danlu.train.load import load_run
from danlu.train.run import train
from danlu.train.sample_files import put
from tests.train import small
from tests.train.test_flows import COMMON

POINTS = ["flow-8gaussians", *COMMON, "train.checkpoint_every=4", "train.keep=9"]
TONE = [
    "siren-chirp", "model.width=8", "data.points=64", "train.batch=32", "train.steps=4",
    "train.evaluate_every=4", "train.precision=float32", "train.device=cpu",
]  # fmt: skip


@pytest.mark.parametrize("words", [[*POINTS, "train.average=ema"], TONE], ids=["points", "tone"])
def test_a_picture_is_what_the_checkpoint_of_its_step_makes(tmp_path: Path, words: list[str]) -> None:
    """Of the average of the weights, where a run keeps one."""
    folder = tmp_path / "run"
    small.go(resolve(words), folder)
    steps = [4, 8] if words[0] == "flow-8gaussians" else [4]
    found = RunFolder(folder).pictures()
    assert [path.name for path in found] == [f"step-{step}.svg" for step in steps]
    for step, path in zip(steps, found, strict=True):
        loaded = load_run(folder, step)
        shown = loaded.objective.sample(loaded.model)
        assert shown is not None
        (tmp_path / "again").mkdir(exist_ok=True)
        again = put(shown, tmp_path / "again", step)
        assert again is not None and again.read_bytes() == path.read_bytes()
    if len(found) == 2:
        assert found[0].read_bytes() != found[1].read_bytes()


def test_a_study_draws_nothing(tmp_path: Path) -> None:
    train(resolve(TONE), tmp_path / "run", small.Told(), interrupt=Interrupt(), sample=False)
    assert RunFolder(tmp_path / "run").pictures() == [] and not (tmp_path / "run" / "samples").exists()


def test_a_place_that_takes_no_picture_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise FileError("disk full")

    monkeypatch.setattr(sample_files, "write_atomically", full)
    told = small.Told()
    assert small.go(resolve(TONE), tmp_path / "run", told)["steps"] == 4
    assert [m for m in told.messages if "disk full" in m] == [
        "warning: disk full; the run goes on without a picture of this step"
    ]
