"""Pages on what is not the next token, as they are written: all of a page's commands and programs, in their
order, in one folder; training is cut short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danlu.cli.main import main
from danlu.lab import queue
from danlu.lab.queue.job import Job, Outcome
from danlu.lab.statistics import Interval
from danlu.lab.trial import study as trial
from danlu.lab.trial import timing
from danlu.lab.trial.timing import Ratio
from tests.conftest import ROOT
from tests.lab.trial.cases import InProcess
from tests.train import small

SHORT = ["train.steps=3", "train.evaluate_every=3", "train.device=cpu"]
FEW = ["objective.samples=64", "objective.draws=2", "objective.prior=4"]  # of an autoencoder
TEXT = ["data.tokenizer=bytes", "context=16", "train.evaluate_tokens=400"]
PAIRS = ["--budget", "3 steps", "--seeds", "2", "--tune", "none"]
PAGES = {"bottlenecks": 14, "coordinates": 8, "maximum-entropy": 6, "distances": 0}  # and their commands


class Here(InProcess):
    """Takes runs one by one, as a sweep gives them."""

    def submit(self, job: Job) -> None:
        self.ended = [*getattr(self, "ended", []), self._one(job)]

    def next(self) -> Outcome:
        return self.ended.pop(0)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_all_of_it_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's runs are carried out here, one after another. What is a user's own lies in the folder."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for module in (queue, trial):
        monkeypatch.setattr(module, "Queue", lambda studies, **_: Here(studies))
    monkeypatch.setattr(timing, "measure", lambda *_: Ratio(Interval(1.0, 0.99, 1.01), "not measured"))
    corpus = _own(tmp_path)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    count = 0
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if kind == "python":
            with small.quick():
                exec(compile(block, f"docs/{page}.md", "exec"), {"__name__": "__main__"})
        for line in block.replace("\\\n", " ").splitlines() if kind == "sh" else ():
            _call(shlex.split(line, comments=True)[1:], corpus)
            count += 1
    assert count == PAGES[page]


def _own(folder: Path) -> Path:
    """Files as the pages take them for a user's: a picture, a table, a text."""
    Image.fromarray(np.random.default_rng(0).integers(256, size=(80, 90, 3), dtype=np.uint8)).save("me.jpg")
    rows = [f"{i % 7},{'red' if i % 2 else 'blue'},{'iris' if i % 3 else 'rose'}" for i in range(60)]
    Path("flowers.csv").write_text("\n".join(["length,colour,species", *rows]) + "\n")
    Path("mytext.txt").write_text("the cat sat on the mat and then ran away from the dog. " * 60)
    return small.corpus(folder)


def _call(words: list[str], corpus: Path) -> None:
    verb = words[0]
    if verb in ("train", "sweep"):
        words = [*words, *SHORT]
        if words[1] in ("vae-digits", "vq-digits"):
            words += FEW
        if words[1] == "tiny":
            words += [f"data.corpus={corpus}", *TEXT]
    elif verb == "try":
        words = [*words, *PAIRS]
    with small.quick(), pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0, words
