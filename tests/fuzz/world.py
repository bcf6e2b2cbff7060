"""A folder with one of everything that danlu reads, small: what a case then damages a copy of."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from danlu.cli.main import main
from danlu.lab.queue import queue
from danlu.lab.statistics import Interval
from danlu.lab.trial import timing
from danlu.lab.trial.timing import Ratio
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from tests.lab.queue.here import Here
from tests.lab.reading.folders import make_run
from tests.train import small

SHORT = ["train.steps=2", "train.evaluate_tokens=200", "train.log_every=1"]
OURS = ("runs", "studies", "ledger.yaml", "cache")  # where danlu may write; all else is a person's
CLAIM = """\
statement: A claim
source: nobody
rows: [A1]
on: base.yaml
arms: {one: "", other: optimizer.lr=0.01}
measure: bits_per_byte
contrast: {other: 1, one: -1}
unit: bits per byte
holds: {below: 0}
seeds: 2
sd: 0.1
margin: {value: 0.5, why: half a bit}
premises: [{name: some layers, arm: one, measure: kurtosis, rule: {above: -9}}]
timeless: it is for tests
note: a claim to be damaged
"""


@contextmanager
def quick() -> Iterator[None]:
    """Without other processes, and without what is measured of the machine."""
    with ExitStack() as stack:
        stack.enter_context(small.quick())
        stack.enter_context(patch.object(queue, "make", lambda *_: Here()))
        ratio = Ratio(Interval(1.0, 0.99, 1.01), "not measured")
        stack.enter_context(patch.object(timing, "measure", lambda *_: ratio))
        yield


def danlu(*words: str) -> int:
    """The exit code of a command, in this process."""
    try:
        main(list(words))
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    raise AssertionError("main does not return")


@contextmanager
def closed_pipe() -> Iterator[None]:
    """Whoever reads what is printed has gone, as ``| head -1`` does."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as pipe, patch.object(sys, "stdout", pipe):
        yield


def build(folder: Path) -> None:
    """Fill ``folder``; the process's current folder is it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with quick(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            _fill()
    finally:
        os.chdir(before)


def _fill() -> None:
    here = Path()
    corpus = small.corpus(here)
    Path("corpus.txt").write_text(
        "".join(json.loads(line)["text"] for line in corpus.read_text().splitlines())
    )
    Path("base.yaml").write_text(to_yaml(resolve([*small.SIZE, "data.corpus=corpus.jsonl", *SHORT])))
    Path("idea.yaml").write_text("statement: A rate.\npatch: {optimizer.lr: 0.01}\n")
    Path("claim.yaml").write_text(CLAIM)
    Path("parts.py").write_text("raise RuntimeError('a part that does not load')\n")
    Path("characters.json").write_text('{"danlu": 1, "kind": "characters", "characters": "abc def"}')
    sizes = [(k, 1e5 * 2**i) for i in range(8) for k in range(2)]
    rows = [f"{n:.0f},{20 * n:.0f},{120 * n * n:.0f},{1.7 + (1e5 / n) ** 0.3 + k / 50}" for k, n in sizes]
    Path("points.csv").write_text("n,d,c,loss\n" + "\n".join(rows) + "\n")
    names = ("n", "d", "c", "loss")
    told = [dict(zip(names, map(float, row.split(",")), strict=True)) for row in rows]
    Path("points.jsonl").write_text("".join(json.dumps(one) + "\n" for one in told))
    equal = [(1e7 * 2.0**k, 1e18 * 4.0**j / (6e7 * 2.0**k)) for j in range(4) for k in range(9)]
    sums = [1.7 + 400 / n**0.34 + 400 / d**0.28 for n, d in equal]
    rows = [
        f"{n!r},{d!r},{loss + i % 3 / 1000}" for i, ((n, d), loss) in enumerate(zip(equal, sums, strict=True))
    ]
    Path("profiles.csv").write_text("n,d,loss\n" + "\n".join(rows) + "\n")
    rows = [
        f"{n!r},{d!r},{loss!r},{0.25 + 0.7 / (1 + 2.7 ** (2 * (loss - 3)))}"
        for (n, d), loss in zip(equal, sums, strict=True)
    ]
    Path("tasks.csv").write_text("n,d,loss,accuracy\n" + "\n".join(rows) + "\n")
    parameters = {"E": 1.7, "A": 400.0, "B": 400.0, "α": 0.34, "β": 0.28}
    Path("fit.json").write_text(json.dumps({"law": "chinchilla", "parameters": parameters, "draws": []}))
    mine = Path("mine")
    mine.mkdir()
    for name in ("book.txt", "report.html", "tokenizer.json", "notes.md"):
        (mine / name).write_text(f"{name}, which danlu did not write\n")
    often = ["train.average=ema", "train.checkpoint_every=1"]
    assert danlu("train", "base.yaml", *often, "--run", "runs/one") == 0
    half = Path("runs/half")  # killed after its second update
    assert danlu("train", "base.yaml", *often, "train.keep=9", "train.steps=4", "--run", str(half)) == 0
    for step in (3, 4):
        shutil.rmtree(half / "checkpoints" / f"step-{step}")
    (half / "summary.json").unlink()
    assert danlu("train", "base.yaml", "data.tokenizer=bpe:300", "--run", "bpe") == 0
    bpe = json.loads(Path("bpe/tokenizer.json").read_text())["tokenizer"]
    Path("bpe.json").write_text(json.dumps(bpe))
    shutil.rmtree("bpe")
    make_run(Path("runs/two"), "nano optimizer.lr=0.01", {1: 3.0, 2: 2.5})
    make_run(Path("runs/three"), "nano", {1: 3.0}, finished=False)
    assert danlu("sweep", "base.yaml", "optimizer.lr=0.01,0.02", "--study", "sweep") == 0
    assert danlu("try", "optimizer.lr=0.01", "--on", "base.yaml", "--seeds", "2") == 0
    assert danlu("prove", "claim.yaml", "--ledger", "ledger.yaml") in (0, 1)
    _hugging_face(Path("hf"))
    _saved_dataset(Path("saved"))


def _hugging_face(folder: Path) -> None:
    """A GPT-2 as transformers keeps one."""
    from danlu.interop import to_huggingface
    from tests.interop.test_folder import small as gpt2

    to_huggingface(gpt2(), folder)
    shutil.copy("characters.json", folder / "tokenizer.json")


def _saved_dataset(folder: Path) -> None:
    """A dataset as Hugging Face's datasets keeps one."""
    import pyarrow as arrow

    folder.mkdir()
    texts = arrow.table({"text": [f"text number {i} " * 9 for i in range(40)]})
    with (
        arrow.OSFile(str(folder / "data.arrow"), "wb") as file,
        arrow.ipc.new_stream(file, texts.schema) as out,
    ):
        out.write_table(texts)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
