"""The first contact with a GPU: no section stops another, and every section runs on a CPU."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.gpu import __main__ as gpu
from bench.gpu.place import Place
from tests.conftest import LIMIT
from tests.lab.queue import studies

ROOT = Path(gpu.ROOT)


def section(name: str, limit: float = LIMIT) -> gpu.Section:
    return gpu.Section(name, f"tests.bench.sections.{name}", limit, "a test")


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "gpu.jsonl").read_text().splitlines()]


def carry_out(monkeypatch: pytest.MonkeyPatch, out: Path, sections: list[gpu.Section], *words: str) -> Any:
    monkeypatch.setattr(gpu, "SECTIONS", tuple(sections))
    return gpu.run(gpu.parse(["--device", "cpu", "--tiny", "--out", str(out), *words]))


def alive(process: int) -> bool:
    """Whether it is there and not only waits for its parent to ask how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for a process in /proc")
def test_no_section_stops_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, wait = section("hangs", 12), subprocess.Popen.wait

    def wait_for_the_row(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        """The time of the section that hangs is up when it has said its row, however slowly it started."""
        if timeout == hangs.limit:
            command: Any = self.args
            said = Path(command[command.index("--rows") + 1])
            studies.until(said.read_text)
            raise subprocess.TimeoutExpired(command, timeout)
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_for_the_row)
    sections = [hangs, *map(section, ("raises", "dies", "says_what_is_wrong", "right"))]
    results = {
        r["section"]: r for r in carry_out(monkeypatch, tmp_path, sections, "--deadline", f"{9 * LIMIT}")
    }
    assert {name: r["status"] for name, r in results.items()} == {
        "hangs": "timeout",
        "raises": "failed",
        "dies": "failed",
        "says_what_is_wrong": "failed",
        "right": "ok",
    }
    assert results["raises"]["rows"] == results["dies"]["rows"] == [{"what": "before"}]
    assert results["raises"]["traceback"][-1] == "RuntimeError: the device is on fire"
    assert len(results["raises"]["traceback"]) <= 20
    (child,) = results["hangs"]["rows"]
    assert not alive(child["process"])
    noted = lines(tmp_path)
    assert [(line["section"], line["status"]) for line in noted] == [
        (s.name, status) for s in sections for status in ("started", results[s.name]["status"])
    ]
    assert noted[1::2] == list(results.values())
    table = "\n".join(gpu.table(list(results.values())))
    assert "the device is on fire" in table and "2 and 2 make 5" in table and "is 4" in table
    assert "a detail" not in table


def test_what_the_time_left_cannot_hold_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [section("right", 1000), section("raises", 50)]
    results = carry_out(monkeypatch, tmp_path, sections, "--deadline", "50")
    assert [r["status"] for r in results] == ["skipped", "skipped"]  # the margin belongs to nobody
    assert [line["status"] for line in lines(tmp_path)] == ["skipped", "skipped"]


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.parse(["--only", "machine,speed"])
    assert "there is no section speed; allowed: machine, parts" in capsys.readouterr().err


def test_the_table_is_short_and_keeps_what_is_wrong() -> None:
    rows = [{"what": f"row {i}", "number": i} for i in range(200)]
    rows[150]["wrong"] = "no"
    ended = {"section": "parts", "status": "failed", "seconds": 1.0, "rows": rows, "traceback": []}
    table = gpu.table([ended, {**ended, "section": "large", "rows": [], "status": "skipped"}])
    assert len(table) == gpu.LINES
    assert "    row 150: no, number 150" in table and table[-1].startswith("SKIPPED large")
    assert max(map(len, table)) <= gpu.WIDTH


def test_carried_packages_are_taken_where_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu.carried() == []  # nothing is missing here
    monkeypatch.setattr(gpu, "WHEELS", tmp_path)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None if name == "yaml" else object())
    with pytest.raises(SystemExit, match="danlu needs yaml, which is not installed; run `make gpu-wheels`"):
        gpu.carried()
    (tmp_path / "site").mkdir()
    assert gpu.carried() == [str(tmp_path / "site")]
    assert str(tmp_path / "site") in gpu.environment("cuda")["PYTHONPATH"].split(os.pathsep)


# danlu trains in a process that has no packages but PyTorch with what it needs, numpy and the carried ones.
BARE = """
import sys
missing = set(sys.argv[1].split(","))

class Bare:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Bare, sys.meta_path)
import bench.gpu.parts, bench.gpu.attention, bench.gpu.steps, bench.gpu.losses, bench.gpu.populations
import bench.gpu.rival
import danlu.lab.queue.queue, danlu.lab.queue.local, danlu.lab.queue.worker, danlu.train.costs
from bench.gpu.resume import carry_out
carry_out(sys.argv[3:], sys.argv[2])
"""


def packages_of(*names: str) -> set[str]:
    """The distributions that these need, themselves included, as they are installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [re.split(r"[^\w.-]", need)[0] for need in needs if "extra ==" not in need]
    return found


@pytest.mark.slow
def test_what_is_carried_is_enough_to_train(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (carried,) = re.findall(r"^CARRIED := (.+)$", makefile, re.MULTILINE)
    there = packages_of("torch", "numpy") | {name.lower() for name in carried.split()}
    of = {
        module: {re.sub(r"[-_.]+", "-", name).lower() for name in names}
        for module, names in importlib.metadata.packages_distributions().items()
    }
    missing = {module for module, names in of.items() if not names & there} - {"danlu", "bench"}
    assert {"rich", "typer", "optuna", "scipy"} <= missing
    words = ["nano", "data.corpus=synthetic:markov-4", "train.steps=2", "train.evaluate_tokens=512"]
    done = subprocess.run(
        [sys.executable, "-c", BARE, ",".join(sorted(missing)), str(tmp_path / "run"), *words],
        cwd=ROOT,
        env=os.environ | {"DANLU_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").is_file()
    assert {name for module in gpu.NEEDED for name in of[module]} <= set(carried.split())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_section_runs_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = [one._replace(limit=5 * one.limit) for one in gpu.SECTIONS]  # beside other tests
    results = carry_out(monkeypatch, tmp_path, patient, "--deadline", "900")
    assert [(r["section"], r["status"], r["traceback"]) for r in results] == [
        (one.name, "ok", []) for one in patient
    ]
    assert all(r["rows"] for r in results)


def test_a_part_that_is_wrong_on_the_device_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that loses a hundredth of its output in float32 alone."""
    from bench.gpu import parts
    from danlu.nn import Linear
    from danlu.spec import resolve

    at, experiment = Place(torch.device("cpu"), True, Path()), resolve("nano")
    for _, off, bound in parts.network(experiment, at):
        assert off <= bound
    right = Linear.forward

    def wrong(self: Linear, x: torch.Tensor) -> torch.Tensor:
        return right(self, x) * (0.99 if x.dtype == torch.float32 else 1.0)

    monkeypatch.setattr(Linear, "forward", wrong)
    found = {dtype: off <= bound for dtype, off, bound in parts.network(experiment, at)}
    assert found == {torch.float32: False, torch.bfloat16: True}


def test_a_rule_that_is_wrong_on_the_device_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decay that float32 alone forgets."""
    from bench.gpu import parts
    from danlu import optim, spec

    at = Place(torch.device("cpu"), True, Path())
    assert all(off <= 1e-4 for _, off in parts.rule(spec.SGD(), at))
    right = optim.SGD.formula

    def wrong(self: Any, settings: Any, params: Any, *columns: Any) -> None:
        forgets = params[0].dtype == torch.float32
        right(self, {**settings, "momentum": 0.0} if forgets else settings, params, *columns)

    monkeypatch.setattr(optim.SGD, "formula", wrong)
    assert all(off > 1e-2 for _, off in parts.rule(spec.SGD(), at))


def test_the_published_rate_is_that_of_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Place(torch.device("cuda"), True, Path())
    for name, rate in (("NVIDIA H100 80GB HBM3", 989.4e12), ("NVIDIA H200", 989.4e12), ("Tesla T4", None)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert at.published() == rate
    assert Place(torch.device("cpu"), True, Path()).published() is None
