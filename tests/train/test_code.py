"""A run's record of the code that it was made by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.code import Code, loaded, verdict
from danlu.files.json import read_json, write_json
from danlu.train.environment import differs
from tests.train import small


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


def code(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / "environment.json")["code"]
    return found


def edited(name: str) -> Code:
    return Code({**loaded().files, name: "edited"})


def test_the_manifest_holds_what_ran_and_nothing_else(tmp_path: Path, corpus: Path) -> None:
    for rule in ("lion", "adamw"):
        small.run(corpus, tmp_path / rule, "train.steps=3", f"optimizer={rule}", "optimizer.lr=1e-3")
    lion, adamw = code(tmp_path / "lion")["files"], code(tmp_path / "adamw")["files"]
    apart = {"optim/rules/lion.py", "optim/rules/adam.py"}
    assert {name for name in apart if name in lion} == {"optim/rules/lion.py"}
    assert {name for name in apart if name in adamw} == {"optim/rules/adam.py"}
    assert {name.split("/")[0] for name in lion.keys() ^ adamw.keys()} == {"optim"}
    common = {"nn/block.py", "nn/norms.py", "models/decoder.py", "objectives/causal.py", "data/batches.py",
              "optim/schedules.py", "train/trainer.py", "train/evaluate.py", "train/whole.py",
              "catalog/kernels.yaml"}  # fmt: skip
    assert common <= lion.keys() & adamw.keys()
    assert not {"nn/lru.py", "models/encoder.py", "objectives/masked.py", "train/profile.py"} & adamw.keys()
    assert all(loaded().of(name) == digest for name, digest in lion.items())
    assert code(tmp_path / "lion")["tier_a"] == code(tmp_path / "adamw")["tier_a"] == loaded().tier_a


def test_what_was_edited_meanwhile_is_written_down(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nn/block.py", "nn/lru.py"):
        monkeypatch.setattr(verdict, "now", lambda name=name: edited(name))
        told = small.Told()
        small.run(corpus, tmp_path / Path(name).stem, "train.steps=1", told=told)
        warned = [message for message in told.messages if "edited meanwhile" in message]
        assert len(warned) == (name == "nn/block.py") and all(name in message for message in warned)
    assert code(tmp_path / "block")["edited"] == ["nn/block.py"]
    assert "edited" not in code(tmp_path / "lru")


def test_a_run_that_diverges_says_what_it_used(tmp_path: Path, corpus: Path) -> None:
    from danlu.train.errors import Diverged

    wild = ["train.steps=9", "train.clip=0", "optimizer=sgd", "optimizer.lr=1e30"]
    with pytest.raises(Diverged):
        small.run(corpus, tmp_path / "wild", *wild)
    assert "optim/rules/sgd.py" in code(tmp_path / "wild")["files"]


def test_a_resumed_run_names_the_files_that_changed(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "run", "train.steps=2")
    old = read_json(tmp_path / "run" / "environment.json")
    assert differs(old, old) == []
    old["code"]["files"] |= {"nn/block.py": "another"}
    old["source"], old["versions"]["danlu"] = {"commit": "another"}, "another"
    (sentence,) = differs(old, read_json(tmp_path / "run" / "environment.json"))
    assert sentence.startswith("the code of nn/block.py was changed since the run began")
    del old["code"]
    assert len(differs(old, read_json(tmp_path / "run" / "environment.json"))) == 2


def test_a_run_goes_on_under_other_code_with_a_mark(tmp_path: Path, corpus: Path) -> None:
    folder = tmp_path / "run"
    told = small.Told()
    with pytest.raises(KeyboardInterrupt):
        small.run(corpus, folder, "train.steps=4", "train.checkpoint_every=2", told=Interrupting())
    environment = read_json(folder / "environment.json")
    environment["code"]["files"]["nn/block.py"] = "another"
    write_json(folder / "environment.json", environment)
    small.run(corpus, folder, "train.steps=4", "train.checkpoint_every=2", told=told)
    assert code(folder)["edited"] == ["nn/block.py"]
    assert any("the code of nn/block.py was changed" in message for message in told.messages)


class Interrupting(small.Told):
    """Ends the run at its third update, after the first checkpoint."""

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
        if progress >= 0.75 or row["step"] >= 3:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_compiled_run_depends_on_what_an_eager_one_does(tmp_path: Path, corpus: Path) -> None:
    for compiled in ("true", "false"):
        small.run(
            corpus, tmp_path / compiled, "train.steps=2", f"train.compile={compiled}", "optimizer=adamw"
        )
    same = code(tmp_path / "false")["files"].keys()
    more = code(tmp_path / "true")["files"].keys() - same
    assert "train/compiling.py" in more and more <= {"train/compiling.py", "parts/runs.py"}
    assert same <= code(tmp_path / "true")["files"].keys()
