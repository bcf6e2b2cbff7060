"""kill -9 at random moments, the same command again: the run that was never interrupted, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LIMIT, ROOT
from tests.train import small

KILLS = 20
RUN = [
    "train.steps=12", "train.checkpoint_every=4", "train.evaluate_every=3", "train.evaluate_tokens=400",
    "train.log_every=2", "train.microbatch=4", "model.dropout=0.1", "train.precision=bfloat16",
    "data.documents=separate", "optimizer=muon", "train.average=ema", "train.weights=bfloat16-stochastic",
]  # fmt: skip
RAMP = [  # batches, rates and a setting that change at almost every update
    "train.ramp=[{batch: 4, until: 640 tokens, by: 4}]", "train.batch=16", "schedule.warmup=400 tokens",
    "vary=[{setting: momentum, start: 0.5, pieces: [{to: 0.95, until: 9 steps}]}]",
]  # fmt: skip


# ------------------------------------------------------------ the child: dies by its own hand, anywhere


class Death:
    """Counts the calls that move a run on or touch the disk, and ends the process at the chosen one."""

    def __init__(self, at: int | None, half: bool) -> None:
        self.at, self.half, self.count = at, half, 0
        self.places: set[str] = set()

    def here(self, place: str) -> None:
        self.places.add(place)
        self.count += 1
        if self.count == self.at:
            print(place, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.here(f"before {name}")
            if name == "write" and self.half and self.count + 1 == self.at:
                real(args[0], bytes(args[1])[: len(args[1]) // 2])  # a torn line
                self.here("in write")
            result = real(*args, **kwargs)
            self.here(f"after {name}")
            return result

        setattr(owner, name, call)


def child(words: list[str], folder: Path, at: int | None, half: bool) -> None:
    """Train, and die at event ``at`` if it comes. ``$BESIDE``: checkpoints are written in a thread. A first
    word ``members=K`` makes it a population, of so many seeds, in float64."""
    import torch

    from danlu import data
    from danlu.files import write
    from danlu.spec import resolve
    from danlu.train import assemble, evaluate, metrics, run, saving, store, whole
    from danlu.train.apart import Apart
    from danlu.train.members import Stacked
    from danlu.train.trainer import Trainer
    from danlu.train.update import Update

    assert torch.get_num_threads() == 1
    metrics.MetricsFile.__init__.__defaults__ = (0.0, *metrics.MetricsFile.__init__.__defaults__[1:])
    death = Death(at, half)
    if "BESIDE" in os.environ:
        saving.beside = lambda device: True
    places = [
        (data, "prepare"), (assemble, "build"), (run, "write_json"), (run, "load_run"),
        (Update, "gradients"), (Update, "apply"), (Apart, "gradients"), (Apart, "apply"),
        (Stacked, "gradients"), (Trainer, "report"), (Trainer, "resume"),
        (evaluate, "to_device"), (metrics.MetricsFile, "flush"), (metrics.MetricsFile, "truncate_after"),
        (whole, "as_bytes"), (store, "begin"), (store, "publish"), (store, "prune"),
        (write, "write_atomically"), (os, "fsync"), (os, "replace"), (os, "write"), (os, "ftruncate"),
    ]  # fmt: skip
    for owner, name in places:
        death.around(owner, name)
    if words[0].startswith("members="):
        together(words[1:], folder, int(words[0].partition("=")[2]))
    else:
        run.train(resolve(words), folder, small.Told())
    print(json.dumps({"events": death.count, "places": sorted(death.places)}), flush=True)


def together(words: list[str], folder: Path, count: int) -> None:
    import torch

    from danlu.spec import resolve
    from danlu.train.machine import PRECISIONS
    from danlu.train.population import train_together

    PRECISIONS["float32"] = torch.float64
    torch.set_default_dtype(torch.float64)
    experiment = resolve(words)
    folders = [folder / str(seed) for seed in range(count)]
    found = train_together([experiment.seeded(seed) for seed in range(count)], folders)
    assert all(isinstance(one, dict) for one in found), found


def fork(words: list[str], folder: Path, at: int | None, half: bool) -> tuple[bool, str]:
    """Whether a forked child lived to the end, and what it said."""
    said, saying = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(said)
            os.dup2(saying, 1)
            child(words, folder, at, half)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(saying)
    with os.fdopen(said) as file:
        text = file.read()
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return False, text
    assert os.waitstatus_to_exitcode(status) == 0, f"a child of seed {folder} failed: {text}"
    return True, text


def driver(folder: Path, seed: int, kills: int, words: list[str]) -> None:
    """Fork one child after another from a process that has one thread and PyTorch loaded."""
    draw = random.Random(seed)
    _, text = fork(words, folder / "whole", None, False)
    whole = json.loads(text)
    deaths: list[str] = []
    finished, done = 0, False
    while len(deaths) < kills or not done:
        at = draw.randint(1, whole["events"] // 2)
        done, text = fork(words, folder / f"killed-{finished}", at, draw.random() < 0.5)
        if done:
            finished += 1
        else:
            deaths.append(text.strip())
    print(json.dumps({"deaths": deaths, "finished": finished, **whole}))


@pytest.mark.parametrize(
    ("kills", "more"),
    [(KILLS, []), pytest.param(8, RAMP, marks=pytest.mark.slow)],
    ids=["plain", "ramp"],
)
def test_deaths_leave_no_trace(tmp_path: Path, kills: int, more: list[str]) -> None:
    told = killed(tmp_path, kills, small.words(small.corpus(tmp_path), *RUN, *more))
    for place in ("prepare", "gradients", "to_device", "as_bytes", "publish", "replace", "write", "report"):
        assert f"before {place}" in told["places"]  # a kill can come there
    assert len(set(told["deaths"])) >= kills // 3, told["deaths"]


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
def test_deaths_of_a_population_leave_no_trace(tmp_path: Path) -> None:
    """Members whose checkpoints are of different steps, since death came between them, meet again: each as in
    the population that was never interrupted, as far as a batch of other members is rounded alike."""
    run = [*RUN[:4], "train.log_every=1", "train.microbatch=4", "optimizer=adamw", "train.average=ema"]
    told = driven(tmp_path, 8, ["members=3", *small.words(small.corpus(tmp_path), *run)])
    assert {"before gradients", "before publish", "before report", "before replace"} <= set(told["places"])
    for number in range(told["finished"]):
        for seed in "012":
            small.assert_close(tmp_path / "whole" / seed, tmp_path / f"killed-{number}" / seed, 1e-10)


FAMILIES = {  # an objective of each, as small as it still draws, evaluates and keeps what it has of its own
    "flow": ["flow-8gaussians", "objective.samples=64", "train.evaluate_tokens=256", "+ot-coupling"],
    "denoise": ["denoise-8gaussians", "objective.samples=64", "train.evaluate_tokens=256", "+pfgm"],
    "autoencode": [
        "vq-digits", "model.width=16", "objective.samples=64", "objective.prior=4",
        "objective.bottleneck.restart=0.5",
    ],
    "fit": ["siren-photograph", "data={kind: signed-distance, pixels: 16}", "width=16"],
    "maxent": ["maxent-digits", "optimizer=lbfgs"],
    "classify": ["digits", "data.shift=1", "train.evaluate_tokens=128"],
    "masked-diffusion": ["mdlm", *small.SIZE[1:4], "data.context=16", "train.evaluate_tokens=400"],
}  # fmt: skip
SHORT = ["train.steps=8", "train.evaluate_every=3", "train.checkpoint_every=2", "train.log_every=1"]
SHORT += ["train.device=cpu", "train.precision=float32", "train.compile=false"]


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("family", FAMILIES)
def test_deaths_leave_no_trace_of_any_objective(tmp_path: Path, family: str) -> None:
    pytest.importorskip("sklearn")
    own = [f"data.corpus={small.corpus(tmp_path)}"] if family == "masked-diffusion" else []
    batch = [] if family == "maxent" else ["train.batch=16"]
    told = killed(tmp_path, 4, [*FAMILIES[family], *own, *SHORT, *batch])
    assert {"before gradients", "before publish", "before report"} <= set(told["places"])


def killed(folder: Path, kills: int, words: list[str]) -> dict[str, Any]:
    """What the driver tells of a run that is killed so often; each that was finished is the one that was
    not."""
    told = driven(folder, kills, words)
    for number in range(told["finished"]):
        small.assert_same(folder / "whole", folder / f"killed-{number}")
    return told


def driven(folder: Path, kills: int, words: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.train.test_kill", str(folder), "7", str(kills), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr + result.stdout
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert len(told["deaths"]) >= kills and told["finished"] >= 1
    return told


# ------------------------------------------------------------ the command itself, by the clock


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
def test_the_command_killed_at_random_times(tmp_path: Path) -> None:
    corpus = small.corpus(tmp_path)
    run = [word for word in RUN if not word.startswith("train.steps")]
    words = small.words(corpus, *run, "train.steps=300", "train.keep=1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def command(folder: str) -> list[str]:
        return [sys.executable, "-m", "danlu", "train", *words, "--run", str(tmp_path / folder), "--json"]

    def start(folder: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command(folder), stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path
        )

    whole = start("whole")
    _, errors = whole.communicate(timeout=LIMIT)
    assert whole.returncode == 0, errors
    draw = random.Random(3)
    kills = 0
    while True:
        process = start("killed")
        try:
            _, errors = process.communicate(timeout=draw.uniform(0.2, 4.5) if kills < KILLS else LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, errors
        small.assert_same(tmp_path / "whole", tmp_path / "killed")
        if kills >= KILLS:
            break
        for path in sorted((tmp_path / "killed").rglob("*"), reverse=True):  # done too soon: once more
            path.rmdir() if path.is_dir() else path.unlink()


if __name__ == "__main__":
    driver(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
