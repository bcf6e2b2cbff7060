import copy
import os
import subprocess
from types import SimpleNamespace

import pytest
import torch

from danlu.files.json import from_json, to_json
from danlu.train import environment as module
from danlu.train.environment import differs, environment, git


@pytest.fixture
def record():
    return environment({"shakespeare": {"sha256": "ab"}}, {"kernel": "sdpa", "betas": (0.9, 0.95)})


def test_it_is_json_and_resumes_without_a_warning(record):
    assert record["versions"]["torch"] == torch.__version__
    assert record["cpu"]["threads"] == torch.get_num_threads()
    read = from_json(to_json(record))
    assert differs(read, record) == []


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("versions", "torch"), "1.0", "torch: 1.0 before"),
        (("cpu", "threads"), 77, "the number of threads: 77 before"),
        (("devices",), ["H100"], "the devices: ['H100'] before, none now"),
        (("cuda",), {"version": "12.9", "cudnn": None}, "CUDA: 12.9 before, none now"),
        (("choices", "kernel"), "plain", "the choice of kernel: plain before, sdpa now"),
        (("choices", "compile"), True, "the choice of compile: True before, none now"),
        (("data", "shakespeare"), {"sha256": "cd"}, "the data: "),
    ],
)
def test_what_breaks_a_bitwise_resume_is_said(record, place, value, said):
    old = copy.deepcopy(record)
    inner = old
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (sentence,) = differs(old, record)
    assert sentence.startswith(said) and sentence.endswith("not bit for bit")


def test_an_old_or_damaged_record_is_compared_too(record):
    assert differs({}, record)
    assert differs({"cpu": None, "choices": None}, record)


def test_git(tmp_path, monkeypatch):
    assert git(tmp_path) is None

    def call(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    call("init")
    (tmp_path / "a").write_text("1")
    call("add", "a")
    call("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "a")
    (tmp_path / "inner").mkdir()
    clean = git(tmp_path / "inner")
    assert clean is not None and len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert git(tmp_path) == {**clean, "dirty": True}
    monkeypatch.setenv("PATH", os.devnull)
    assert git(tmp_path) is None

    def slow(*_, **__):
        raise subprocess.TimeoutExpired("git", 1)

    monkeypatch.setattr(module.subprocess, "run", slow)
    assert git(tmp_path) is None


@pytest.mark.parametrize(
    ("setting", "attributes"),
    [
        ("core.fsmonitor", ""),
        ("filter.mine.clean", "* filter=mine"),
        ("filter.mine.process", "* filter=mine"),
        ("filter.a=b.clean", "* filter=a=b"),
        ("core.hooksPath", ""),
    ],
)
def test_a_checkout_runs_nothing(tmp_path, setting, attributes):
    def call(*words):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    trap = tmp_path / "trap" / "post-index-change"
    trap.parent.mkdir()
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    call("init")
    (tmp_path / ".gitattributes").write_text(attributes)
    (tmp_path / "a").write_text("1")
    call("add", "a", ".gitattributes")
    call("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "a")
    call("config", setting, str(trap.parent if setting == "core.hooksPath" else trap))
    (tmp_path / "a").write_text("2")
    found = git(tmp_path)
    assert found is not None and found["dirty"] is True
    assert not (tmp_path / "sprung").exists()
    call("status")  # the trap is one
    (tmp_path / "a").write_text("3")
    subprocess.run(["git", "-C", str(tmp_path), "diff"], capture_output=True)
    assert (tmp_path / "sprung").exists()


def test_either_way_of_setting_float32_products_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's older question raises where a program answered by the newer one."""

    def refuses() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuses)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision="tf32"))
    assert environment({}, {})["settings"]["float32_precision"] == "tf32"
