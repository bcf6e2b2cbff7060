"""A run read back: which checkpoint, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu.train import callbacks, checkpoint
from danlu.train.errors import RunError
from danlu.train.load import generate_text, load_run, unknown_characters
from tests.train import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps 3, 6 and 9 are kept, 6 is the best; characters are the tokens."""
    folder = tmp_path_factory.mktemp("load")
    more = ["train.steps=9", "train.evaluate_every=3", "train.checkpoint_every=3", "train.keep=5"]
    scores = iter([3.0, 2.0, 2.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "evaluate", lambda *_, **__: {"bits_per_byte": next(scores)})
        small.run(small.corpus(folder), folder / "run", *more, "data.tokenizer=characters")
    return folder / "run"


def test_the_best_step_or_the_one_asked_for(run: Path) -> None:
    assert load_run(run).step == 6
    for step in (3, 6, 9):
        loaded = load_run(run, step)
        assert loaded.step == step and not loaded.model.training
        saved = checkpoint.load(run, step, only={"model"})[0]["model"]
        assert all(torch.equal(saved[name], tensor) for name, tensor in loaded.model.state_dict().items())
        assert not any(p.requires_grad for p in loaded.model.parameters())


def test_a_best_checkpoint_that_was_deleted_is_replaced_by_the_latest(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-6")
    assert load_run(tmp_path / "run").step == 9


def test_a_step_that_is_not_there_is_answered_with_those_that_are(run: Path) -> None:
    with pytest.raises(RunError, match=r"step-4 is missing; steps with a checkpoint: 3, 6, 9"):
        load_run(run, 4)


def test_a_folder_that_is_no_run(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match=r"run's folder"):
        load_run(tmp_path / "nowhere")
    for name in ("experiment.yaml", "tokenizer.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(RunError, match="holds no checkpoint; run the experiment first"):
        load_run(tmp_path)


def test_text_follows_the_seed(run: Path) -> None:
    loaded = load_run(run)
    text = [generate_text(loaded, "the cat", count=40, seed=seed) for seed in (1, 1, 2, -1)]
    assert text[0] == text[1] and len({*text}) == 3
    assert len(text[0]) <= 40
    greedy = [generate_text(loaded, "the cat", count=30, temperature=0, seed=seed) for seed in (1, 2)]
    assert greedy[0] == greedy[1] == generate_text(loaded, "the cat", count=30, top_k=1)
    assert greedy[0] == generate_text(loaded, "the cat", count=30, top_p=1e-9)


def test_a_prompt_longer_than_the_context(run: Path) -> None:
    loaded = load_run(run)
    assert loaded.experiment.data.context == 16
    long = "the cat sat on the mat and then ran away"
    assert generate_text(loaded, long, count=5, seed=3) == generate_text(loaded, long[-16:], count=5, seed=3)


def test_unknown_characters(run: Path) -> None:
    loaded = load_run(run)
    assert unknown_characters(loaded, "the cat") == []
    assert unknown_characters(loaded, "Ω the Ω 丹") == ["Ω", "丹"]
    assert len(generate_text(loaded, "Ω", count=5)) <= 5  # told, not refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_p": 0.0}, r"top_p = 0\.0 keeps no token; allowed: above 0, at most 1"),
        ({"top_p": 1.5}, r"top_p = 1\.5"),
        ({"seed": 2**63}, r"seed = \d+ does not fit 64 bits"),
        ({"prompt": "a\udcff"}, "the prompt is not UTF-8 at character 1"),
    ],
)
def test_what_cannot_be_done_is_said(run: Path, options: dict[str, object], words: str) -> None:
    given = {"prompt": "a", **options}
    with pytest.raises(RunError, match=words):
        generate_text(load_run(run), count=3, **given)  # type: ignore[arg-type]
