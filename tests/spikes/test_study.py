"""What ``danlu spikes`` finds of spikes whose cause was planted."""

from __future__ import annotations

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.cli.main import main
from danlu.files.errors import DanluError
from danlu.spikes.causes import Check, cause, slow_beta2
from danlu.spikes.replay import Replay, go
from danlu.spikes.study import study
from danlu.spikes.table import Cell, read
from danlu.spikes.trace import Moment, second_moment
from danlu.train.errors import Diverged
from tests.conftest import ROOT
from tests.train import small

FAST = ["optimizer=adamw", "optimizer.lr=1e-2", "schedule=constant", "train.log_every=1"]


def explained(folder: Path, **how: Any) -> dict[str, Any]:
    found = study(folder, told=lambda *_: None, **how)["explained"]
    assert found is not None
    return dict(found)


def check(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["checks"] if one["name"] == name)


# ---------------------------------------------------------------- what is read off numbers


@pytest.mark.parametrize(
    ("now", "before", "reading"),
    [
        ((9, 1), (9, 1), "data"),
        ((9, 9), (1, 1), "state"),
        ((9, 9), (9, 1), "both"),
        ((9, 1), (1, 1), "interaction"),
        ((math.inf, math.nan), (math.nan, 1), "interaction"),
        ((1, 9), (9, 9), "not repeated"),
    ],
)
def test_the_table(now: tuple[float, float], before: tuple[float, float], reading: str) -> None:
    first, second = (
        [Cell(8 + i, state, 1.0, z) for i, z in enumerate(cells)] for state, cells in ((7, now), (1, before))
    )
    assert read(first, second) == reading


@pytest.mark.parametrize("beta2", [0.95, 0.999])
def test_the_second_moment_is_the_mean_of_squares(beta2: float) -> None:
    """Of torch's Adam: v̂ = Σ β₂^(n−i) g_i² / Σ β₂^(n−i)."""
    weight = torch.zeros(3, requires_grad=True)
    rule = torch.optim.Adam([weight], betas=(0.9, beta2))
    gradients = torch.randn(7, 3)
    for gradient in gradients:
        weight.grad = gradient
        rule.step()
    far = beta2 ** torch.arange(6, -1, -1.0)[:, None]
    found = second_moment(rule.state[weight], rule.param_groups[0])
    torch.testing.assert_close(found, (far * gradients.square()).sum(0) / far.sum())


@pytest.mark.parametrize(("at", "found"), [(92, True), (99, True), (100, False), (91, False)])
def test_a_second_moment_is_slow_where_it_is_surprised_just_before_the_top(at: int, found: bool) -> None:
    """The first update whose surprise is above 2.3, among the eight before the top at 100."""
    moments = [Moment(step, 1.0, 1.0, surprise={"a": 1.0, "b": 2.0}) for step in range(80, 101)]
    for moment in moments:
        if moment.step >= at:
            moment.surprise["a"] = 3.0 + moment.step
    if at == 91:
        moments[-9:] = [Moment(step, 1.0, 1.0, surprise={"a": 1.0}) for step in range(92, 101)]
    one = slow_beta2(moments, 100)
    assert one.found is found
    if found:
        assert (one.where, one.step, one.value) == ("a", at, 3.0 + at)


def test_the_likely_cause() -> None:
    names = "data", "slow-beta2", "logits", "epsilon", "part", "numbers"

    def of(reading: str, *found: str, where: str = "x") -> str:
        return cause(reading, [Check(n, n in found, 1.0, 1.0, where, 1, n) for n in names])

    assert of("data", "slow-beta2", "numbers") == "data"
    assert of("state", "data", "logits", "slow-beta2") == "slow-beta2"
    assert of("state", "logits", "numbers") == "numbers"
    assert of("state", "logits", "numbers", where="the loss scale") == "logits"
    assert of("interaction") == "unknown"


# ---------------------------------------------------------------- runs


@pytest.mark.slow
def test_repeating_is_the_run_again_and_changes_nothing(tmp_path: Path) -> None:
    """From the start and from a checkpoint: losses to the last bit."""
    folder = tmp_path / "run"
    more = ["model.dropout=0.1", "train.steps=24", "train.checkpoint_every=12", "train.keep=3"]
    small.run(small.corpus(tmp_path), folder, *FAST, *more)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with Replay(folder) as replay:
        assert replay.before(24) == [0, 12]
        for start in (0, 12):
            moments = go(replay.at(replay.state(start)), 24)
            assert [moment.loss for moment in moments] == small.losses(folder)[start:]
            assert [moment.step for moment in moments] == list(range(start + 1, 25))
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.usefixtures("no_parts")
def test_a_planted_batch_is_found_as_data(tmp_path: Path, every: int) -> None:
    runpy.run_path(str(Path(__file__).parent / "planted.py"))
    more = ["objective=planted", "objective.at=225", "train.steps=236", "train.ring=100"]
    corpus = small.corpus(tmp_path, documents=400)
    small.run(corpus, tmp_path / "run", *FAST, *more, f"train.log_every={every}")
    found = explained(tmp_path / "run", at=None if every == 1 else 230)
    assert (found["step"], found["reading"], found["cause"]) == (226, "data", "data")
    assert found["earlier"] == 100
    assert "8 of 8 rows lie above 6" in check(found, "data")["says"]
    assert not any(one["cures"] for one in found["changes"])


@pytest.mark.slow
def test_what_is_not_finite_is_found_as_numbers(tmp_path: Path) -> None:
    """A decay that throws the weights to 1e34 in update 41: then no batch is of use."""
    vary = "vary=[{setting: weight_decay, pieces: [{until: 40 steps}, {until: 42 steps, to: 1e36}]}]"
    folder = tmp_path / "run"
    with pytest.raises(Diverged):
        small.run(small.corpus(tmp_path), folder, *FAST, "train.steps=60", vary)
    found = explained(folder)
    assert found["cause"] == "numbers" and found["reading"] in ("state", "interaction")
    assert check(found, "numbers")["found"] is True
    assert found["z"] == math.inf or not math.isfinite(found["loss"])


# ---------------------------------------------------------------- the verb


def test_what_the_verb_says_of_few_rows_and_of_numbers_out_of_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    small.run(small.corpus(tmp_path), folder, *FAST, "train.steps=8", "train.log_every=4")
    capsys.readouterr()
    for words, said in (
        ([], "3 rows of losses: too few to judge, as a loss is measured against at least 16 before it; set "
             "train.log_every=1, or train for more updates\n"),
        (["--most", "-1"], "danlu: --most = -1; allowed: 1 or more, or 0 to list"),
        (["--at", "0"], "danlu: --at = 0; allowed: 1 or more"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            main(["spikes", str(folder), *words])
        out = capsys.readouterr()
        assert (out.out + out.err).startswith(said)
    losses = "".join(json.dumps({"step": n, "loss": 2.0}) + "\n" for n in range(17))
    (folder / "metrics.jsonl").write_text(losses)
    with pytest.raises(SystemExit):
        main(["spikes", str(folder)])
    assert capsys.readouterr().out.startswith("no spike in 17 rows, each the mean of up to 4 updates:")


def test_what_cannot_be_explained(tmp_path: Path) -> None:
    with pytest.raises(DanluError, match=r"is not a run's folder: it is empty; danlu runs lists"):
        study(tmp_path, told=lambda *_: None)
    folder = tmp_path / "run"
    small.run(small.corpus(tmp_path), folder, *FAST, "train.steps=20")
    assert study(folder, told=lambda *_: None)["explained"] is None
    with pytest.raises(DanluError, match=r"step 8 is too early .* at least 8 updates older, .* step 9"):
        explained(folder, at=8)
    assert explained(folder, at=9)["earlier"] == 0
    with pytest.raises(DanluError, match=r"no checkpoint lies 8 to 10 .*train\.ring=100"):
        explained(folder, at=15, most=10)
    done = subprocess.run(
        [sys.executable, "-c", LISTS, str(folder)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert json.loads(done.stdout) == [20, False]


LISTS = """
import json, sys
from pathlib import Path
from danlu.spikes.listing import listed
found = listed(Path(sys.argv[1]))
print(json.dumps([len(found.losses), "torch" in sys.modules]))
"""
