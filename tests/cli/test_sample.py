"""``danlu sample``: the same seed, the same text; a mistake, one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_train import danlu
from tests.train import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sample")
    more = ["train.steps=3", "data.tokenizer=characters", "train.checkpoint_every=1", "train.keep=1"]
    small.run(small.corpus(folder), folder / "run", *more)
    return str(folder / "run")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert danlu("sample", *words) == 0
    return capsys.readouterr().out


def test_the_seed_decides(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [run, "--prompt", "the ", "--tokens", "30"]
    first = said(capsys, *options, "--seed", "1")
    assert first.startswith("the ") and first == said(capsys, *options, "--seed", "1")
    assert first != said(capsys, *options, "--seed", "2")
    greedy = [said(capsys, *options, "--temperature", "0", "--seed", seed) for seed in "12"]
    assert greedy[0] == greedy[1]


def test_masked_diffusion_writes_in_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one step every token is written alone, so that another text comes of the same seed."""
    small.run(small.corpus(tmp_path), tmp_path / "run", "+masked-diffusion", "train.steps=2")
    options = [str(tmp_path / "run"), "--prompt", "the ", "--tokens", "30"]
    first = said(capsys, *options, "--steps", "1")
    assert first.startswith("the ") and first == said(capsys, *options, "--steps", "1")
    assert first != said(capsys, *options)


def test_json(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, run, "--prompt", "the ", "--tokens", "5", "--json"))
    assert set(found) == {"schema", "run", "step", "prompt", "text"}
    assert (found["run"], found["step"], found["prompt"]) == (run, 3, "the ")


def test_a_prompt_the_tokenizer_does_not_know(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("sample", run, "--prompt", "Ω cat", "--tokens", "5") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Ω cat")
    assert captured.err == "the run's tokenizer does not know 'Ω'; the model saw a placeholder there\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step", "2"], "step-2 is missing; steps with a checkpoint: 3"),
        (["--tokens", "0"], "--tokens"),
        (["--tokens", "many"], "--tokens"),
        (["--temperature", "-1"], "--temperature"),
        (["--top-k", "0"], "--top-k"),
        (["--top-p", "0"], "top_p = 0.0 keeps no token"),
        (["--top-p", "1.1"], "--top-p"),
        (["--seed", str(2**64)], "does not fit 64 bits"),
        (["--seed", "x"], "--seed"),
        (["--prompt", "\udcff"], "the prompt is not UTF-8 at character 0"),
        (["--colour"], "No such option"),
    ],
)
def test_a_mistake_is_one_sentence(
    run: str, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert danlu("sample", run, "--tokens", "3", *words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and captured.err.count("danlu: ") == 1


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("sample", str(tmp_path)) == 2
    told = capsys.readouterr().err
    assert told.count("danlu: ") == 1 and "run's folder" in told
    assert danlu("sample") == 2
