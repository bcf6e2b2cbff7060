"""Two nodes of torchrun on one machine; and which numbers of processes a run may go on with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from danlu.files.json import read_object
from danlu.lab.queue.group import free_port
from danlu.spec import resolve
from danlu.train import store
from danlu.train.errors import RunError
from danlu.train.parallel import Processes
from danlu.train.plan import check_counts
from tests.conftest import LIMIT, ROOT
from tests.lab.queue.moments import at_a_checkpoint
from tests.lab.queue.test_groups import KILLS_ANOTHER
from tests.train import small

RUN = [
    "optimizer=adamw", "train.steps=8", "train.log_every=1", "train.evaluate_every=4", "model.dropout=0.1",
    "train.checkpoint_every=2", "train.evaluate_tokens=400",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
def test_a_process_of_another_node_dies_and_the_run_goes_on(tmp_path: Path) -> None:
    """kill -9 of one process while the other puts a checkpoint in place: torchrun starts both again, and the
    run is bit for bit that of two processes which nothing disturbed."""
    words = small.words(small.corpus(tmp_path), *RUN)
    done = small.torchrun(words, tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    hooks = at_a_checkpoint(tmp_path, KILLS_ANOTHER)
    paths = os.pathsep.join([str(hooks), str(ROOT)])
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1",
        "--max-restarts=2", "--rdzv_backend=c10d", f"--rdzv_endpoint=localhost:{free_port()}",
        "-m", "danlu", "--", "train", *words, "--processes", "2", "--run", str(tmp_path / "killed"),
    ]  # fmt: skip
    pipe = subprocess.PIPE
    nodes = [
        subprocess.Popen(
            command,
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": paths},
        )
        for _ in range(2)
    ]
    try:
        said = [node.communicate(timeout=LIMIT)[1] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], said
    assert (hooks / "taken").is_dir() and any("resuming after step" in text for text in said)
    small.assert_same(tmp_path / "killed", tmp_path / "whole")


# The first process asks torchrun to end, and waits for the signal that torchrun hands on.
ASKS_TO_END = """
import os, signal

def deed():
    come, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    os.kill(os.getppid(), signal.SIGTERM)
    os.read(come, 1)
    signal.set_wakeup_fd(-1)
"""


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
def test_torchrun_is_asked_to_end_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM, as a scheduler sends it: the processes end with what they have saved, and the run is bit for
    bit one that nothing disturbed."""
    words = small.words(small.corpus(tmp_path), *RUN)
    done = small.torchrun(words, tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    hooks = at_a_checkpoint(tmp_path, ASKS_TO_END)
    monkeypatch.setattr(small, "ROOT", os.pathsep.join([str(hooks), str(ROOT)]))
    cut = small.torchrun(words, tmp_path / "cut")
    assert cut.returncode != 0 and (hooks / "taken").is_dir()
    assert "SIGTERM: saved step 4" in cut.stderr and cut.stderr.count("SIGTERM: saved step") == 1
    assert store.latest_step(tmp_path / "cut") == 4
    assert read_object(tmp_path / "cut" / "summary.json", {})["stopped"] == "SIGTERM"
    done = small.torchrun(words, tmp_path / "cut")
    assert done.returncode == 0 and "resuming after step 4" in done.stderr, done.stderr
    small.assert_same(tmp_path / "cut", tmp_path / "whole")


def of(count: int) -> Processes:
    return Processes(0, count, torch.device("cpu"))


@pytest.mark.parametrize(
    ("words", "counts", "now", "said"),
    [
        (["train.batch=8"], {2, 4, 3}, 2, "with 3 processes: train.batch = 8 cannot be shared among 3"),
        (["train.batch=8", "train.microbatch=4"], {2, 4}, 2, "with 4 processes: train.microbatch = 4 does"),
        (["train.batch=8"], {2, 4}, 1, "there is 1 process; allowed: 2 or 4"),
        (["train.batch=8"], {2, 4}, 8, "there are 8 processes; allowed: 2 or 4"),
        (
            ["train.batch=8", "train.parallel=fsdp", "train.mesh.replicate=2"], {2, 3}, 2,
            "with 3 processes: train.mesh.replicate = 2 does not divide",
        ),
        (["train.ramp=[{batch: 2, until: 0.5}]"], {2, 4}, 2, "with 4 processes: train.ramp.0.batch = 2"),
    ],
)  # fmt: skip
def test_counts_that_cannot_be_are_told_before(
    words: list[str], counts: set[int], now: int, said: str
) -> None:
    with pytest.raises(RunError) as caught:
        check_counts(resolve(["nano", *words]), counts, of(now))
    assert str(caught.value).startswith(said)


def test_counts_that_can_be() -> None:
    for now in (1, 2, 8):
        check_counts(resolve(["nano", "train.batch=8"]), {1, 2, 8}, of(now))
        check_counts(resolve(["nano", "train.batch=8"]), (), of(now))
