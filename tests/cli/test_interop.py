"""The verbs import and export, as a person meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from danlu.cli.main import main
from danlu.interop import Imported, from_huggingface, to_huggingface
from danlu.interop.folder import CONFIG, read_tensors
from danlu.lab.measures import of_run
from danlu.models import build
from danlu.spec import resolve, to_yaml, validate
from danlu.train.load import generate_text, load_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small GPT-2 with a tokenizer of as many tokens as it knows."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = {letter: i for i, letter in enumerate("abcdefgh ")} | {"<|endoftext|>": 9}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    experiment = validate(
        {
            "model.layers": 2,
            "model.width": 32,
            "model.norm": {"kind": "layer", "bias": True},
            "model.position": "learned",
            "model.bias": True,
            "data.context": 24,
        }
    )
    path = tmp_path / "theirs"
    to_huggingface(Imported(build(experiment.model, 10, 24), experiment), path)
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_in_sampled_and_out(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", folder, "--to", tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert "kind: decoder" in said and "written as a run" in said
    loaded = load_run(tmp_path / "run")
    assert (loaded.step, loaded.tokenizer.vocabulary) == (0, 10)
    assert torch.equal(loaded.model.embedding.weight, from_huggingface(folder).model.embedding.weight)
    assert run("sample", tmp_path / "run", "--prompt", "bad cab ", "--tokens", "5") == 0
    assert capsys.readouterr().out.startswith("bad cab ")
    assert run("export", tmp_path / "run", "--to", tmp_path / "back") == 0
    assert "written as gpt2" in capsys.readouterr().out
    before, after = read_tensors(folder), read_tensors(tmp_path / "back")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "back" / CONFIG).read_text())["eos_token_id"] == 9
    assert (tmp_path / "back" / "tokenizer.json").is_file()


def test_more_ids_than_the_tokenizer_has(folder: Path, tmp_path: Path) -> None:
    """An embedding filled up to a round number is kept whole."""
    experiment = from_huggingface(folder).experiment
    to_huggingface(Imported(build(experiment.model, 16, 24), experiment), tmp_path / "wide")
    (folder / "tokenizer.json").rename(tmp_path / "wide" / "tokenizer.json")
    assert run("import", tmp_path / "wide", "--to", tmp_path / "run") == 0
    assert load_run(tmp_path / "run").model.embedding.weight.shape[0] == 16


def test_mistakes_are_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", tmp_path / "nowhere") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run("export", tmp_path, "--to", tmp_path / "x") == 2
    assert "is not a run's folder" in capsys.readouterr().err
    assert run("import", folder, "--to", tmp_path / "run") == 0
    capsys.readouterr()
    assert run("import", folder, "--to", tmp_path / "run") == 2
    assert "holds a run with checkpoints already" in capsys.readouterr().err
    (folder / "tokenizer.json").unlink()
    assert run("import", folder, "--to", tmp_path / "other") == 2
    assert "came without a tokenizer.json" in capsys.readouterr().err
    assert run("import", folder) == 0


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", folder, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"]["layers"] == 2 and said["notes"] == []


def test_an_imported_model_ends_its_text(folder: Path, tmp_path: Path) -> None:
    """Sampling stops at an end of ``generation_config.json``, here the third token that it would write."""
    assert run("import", folder, "--to", tmp_path / "free") == 0
    free = load_run(tmp_path / "free")
    letters = generate_text(free, "bad ", count=12, seed=3)[::2]  # this tokenizer puts a space between tokens
    (third,) = free.tokenizer.encode(letters[2]).tolist()
    assert letters[2] not in letters[:2]
    settings = {"eos_token_id": [third, 100], "top_p": 0.5}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    assert run("import", folder, "--to", tmp_path / "run") == 0
    assert generate_text(load_run(tmp_path / "run"), "bad ", count=12, seed=3)[::2] == letters[:2]
    assert run("export", tmp_path / "run", "--to", tmp_path / "back") == 0
    assert json.loads((tmp_path / "back" / "generation_config.json").read_text()) == settings


def test_an_imported_model_can_be_measured_and_trained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before its first step it has no environment.json; after it, text still ends where it ended."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a bad cab had a bag of beef\n" * 400)
    assert run("import", folder, "--to", tmp_path / "run") == 0
    assert of_run(tmp_path / "run", ["weight_rms"])["weight_rms"] > 0
    words = [f"data.corpus={corpus}", "train.steps=2", "train.batch=2", "train.evaluate_tokens=200"]
    settings = resolve([str(tmp_path / "run" / "experiment.yaml"), *words])
    (tmp_path / "run" / "experiment.yaml").write_text(to_yaml(settings))
    capsys.readouterr()
    for other in ([], ["--run", tmp_path / "other"]):  # would begin with random weights
        assert run("train", tmp_path / "run", *other) == 2
        assert f"cp -r {tmp_path / 'run'} COPY" in capsys.readouterr().err
        assert not (tmp_path / "other").exists()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert run("train", tmp_path / "run", "--run", tmp_path / "copy") == 0  # which has the weights
    assert load_run(tmp_path / "copy").step == 2
    assert run("train", tmp_path / "run", "--run", tmp_path / "run") == 0
    loaded = load_run(tmp_path / "run")
    assert loaded.step == 2 and loaded.tokenizer.ends == {2}
