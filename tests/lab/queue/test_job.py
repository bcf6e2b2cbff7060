"""A job's name, and what is read of its run from the folder alone."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

from danlu.lab.queue import Job
from danlu.lab.queue.job import failed_outcome, outcome, torch_build, write_failure
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from tests.lab.summaries import summary

NANO = resolve(["nano"])


def test_the_name_is_the_content() -> None:
    text = f"{to_yaml(NANO)}\n{torch_build()}"
    assert Job(NANO, name="a b/c").id == "a-b-c-" + hashlib.sha256(text.encode()).hexdigest()[:16]
    assert Job(NANO).id == Job(resolve(["nano", "optimizer.lr=6e-3"]), measures=("kurtosis",)).id
    others = {Job(resolve(["nano", word])).id for word in ("train.seed=1", "train.steps=301", "+swiglu")}
    assert len({Job(NANO).id, *others}) == 4


def test_the_build_is_that_of_the_torch_that_is_imported() -> None:
    import torch

    assert torch_build().startswith(f"torch __version__ {torch.__version__!r}, cuda {torch.version.cuda!r}")


def write(folder: Path, **files: object) -> None:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


def test_a_run_has_ended_when_all_that_was_asked_is_there(tmp_path: Path) -> None:
    plain, measured = Job(NANO), Job(NANO, measures=("kurtosis",))
    assert outcome(plain, tmp_path, 1) is None
    write(tmp_path, summary=summary(stopped="SIGTERM", steps=3))
    assert outcome(plain, tmp_path, 1) is None
    write(tmp_path, summary=summary(steps=9))
    ended = outcome(plain, tmp_path, 2)
    assert ended is not None and ended.summary == summary(steps=9)
    assert (ended.measures, ended.error, ended.diverged, ended.tries) == ({}, None, False, 2)
    assert outcome(measured, tmp_path, 1) is None
    write(tmp_path, measures={"kurtosis": "NaN", "other": 1.0})
    ended = outcome(measured, tmp_path, 1)
    assert ended is not None and ended.measures.keys() == {"kurtosis"}
    assert math.isnan(ended.measures["kurtosis"])


def test_divergence_is_an_end_and_a_failure_is_none(tmp_path: Path) -> None:
    job = Job(NANO)
    write_failure(tmp_path, "no such corpus", "failed", 1)
    assert outcome(job, tmp_path, 0) is None  # somebody may have mended it
    failed = failed_outcome(job, tmp_path, 1)
    assert (failed.error, failed.diverged, failed.summary) == ("no such corpus", False, None)
    write_failure(tmp_path, "the loss is nan", "diverged", 1)
    diverged = outcome(job, tmp_path, 0)
    assert diverged is not None and diverged.diverged and diverged.error == "the loss is nan"
    assert diverged.summary is None


def test_nothing_here_imports_torch() -> None:
    code = "import sys, danlu.lab.queue, danlu.lab.queue.local; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
