"""``danlu runs`` and ``danlu compare`` as a person meets them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.cli.main import main
from danlu.lab.reading.report import HOW
from tests.lab.reading.folders import ACCURACY, make_run


def danlu(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            words = f"nano optimizer.lr={lr} train.seed={seed}"
            make_run(Path(f"runs/lr{lr}-{seed}"), words, {1: 3.0, 2: 2 + lr + seed / 10})
    make_run(Path("studies/runs/other"), "nano +swiglu", finished=False)
    return tmp_path


def test_lists_what_is_there(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    code, out, err = danlu(capsys, "runs")
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 6)
    assert lines[0].split()[:6] == ["run", "state", "steps", "bits_per_byte", "best", "time"]
    assert {"lr", "seed"} <= set(lines[0].split()) and "width" not in lines[0]
    assert lines[1].startswith("studies/runs/other  stopped")
    _, out, _ = danlu(
        capsys, "runs", "runs", "--where", "lr>0.15", "--sort", "-best", "--columns", "best,seed"
    )
    assert [line.split() for line in out.splitlines()] == [
        ["run", "best", "seed"], ["runs/lr0.2-1", "2.3000", "1"], ["runs/lr0.2-0", "2.2000", "0"]
    ]  # fmt: skip
    _, out, err = danlu(capsys, "runs", "--limit", 2)
    assert len(out.splitlines()) == 3 and "3 more" in err
    code, out, err = danlu(capsys, "runs", "--where", "steps>100")
    assert (code, out, err) == (0, "", "no run fits\n")


def test_runs_scored_on_different_things_are_not_ranked_together(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text, score in (("a", "one", 2.0), ("b", "two", 1.0), ("c", "one", 1.5)):
        make_run(Path("runs") / name, f"nano data.corpus={text}.txt", {1: score}, held_out=text)
    make_run(Path("runs/d"), "nano", {1: 0.5}, metric=ACCURACY, held_out="one")
    make_run(Path("runs/e"), "nano", {1: 0.75}, metric=ACCURACY, held_out="one")
    _, out, err = danlu(capsys, "runs", "--sort", "best", "--columns", "best")
    tables = sorted(out.split("\n\n"))
    firsts = {part.splitlines()[0].split(",")[0]: [line.split()[0] for line in part.splitlines()[2:]]
              for part in tables}  # fmt: skip
    assert firsts == {
        "bits_per_byte on one.txt": ["runs/c", "runs/a"],
        "bits_per_byte on two.txt": ["runs/b"],
        "accuracy on python-stdlib": ["runs/e", "runs/d"],
    }
    assert err == ""
    told = json.loads(danlu(capsys, "runs", "--sort", "best", "--json")[1])
    assert {row["metric"]["better"] for row in told} == {"lower", "higher"}
    assert len({tuple(row["scored_on"]) for row in told}) == 3
    _, out, _ = danlu(capsys, "runs", "runs/a", "runs/c", "--sort", "best")
    assert "on one.txt" not in out  # one thing: no heading


def test_a_narrow_terminal_keeps_what_decides(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            name = f"runs/a-long-name-of-an-experiment-with-a-rate-of-{lr}/seed-{seed}"
            make_run(Path(name), f"nano optimizer.lr={lr} train.seed={seed}", {1: 3.0, 2: 2 + lr + seed / 10})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((80, 24)))
    monkeypatch.setenv("NO_COLOR", "1")
    _, out, err = danlu(capsys, "runs", "--group", "--sort", "best")
    assert (
        all(len(line) <= 80 for line in out.splitlines())
        and "left out, since the terminal is too narrow: " in err
    )
    head, first, _ = out.splitlines()
    assert {"bits_per_byte", "best", "n", "lr"} <= set(head.split()) and first.count("2.1500 ± 0.6353") == 2
    sides = [f"runs/a-long-name-of-an-experiment-with-a-rate-of-{lr}" for lr in (0.1, 0.2)]
    _, out, _ = danlu(capsys, "compare", *sides)
    lines = out.splitlines()
    tables = lines[: lines.index(HOW)]
    assert [line for line in tables if len(line) > 80 and "is better" not in line] == []
    (row,) = [line for line in lines if "each run's end" in line]
    assert row.split()[-4:] == ["+0.1000", "+0.1000", "+0.1000", "2"]


def test_groups_of_seeds(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    _, out, _ = danlu(capsys, "runs", "runs", "--group", "--sort", "metric")
    head, first, second = (line.split() for line in out.splitlines())
    assert head[:2] == ["runs", "n"] and (first[1], second[1]) == ("2", "2")
    assert first[4:7] == ["2.1500", "±", "0.6353"]  # t(0.975, 1) = 12.7062, standard error 0.05
    assert (first[-1], second[-1]) == ("0.1", "0.2")


def test_json(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    runs = json.loads(danlu(capsys, "runs", "--json")[1])
    assert len(runs) == 5 and runs[0]["run"] == "studies/runs/other" and runs[0]["flops"] is not None
    assert runs[1]["experiment"]["optimizer.lr"] == 0.2 and runs[1]["metric"]["name"] == "bits_per_byte"
    groups = json.loads(danlu(capsys, "runs", "--group", "--json", "--limit", 1, "runs")[1])
    assert len(groups) == 1 and groups[0]["n"] == 2 and set(groups[0]["metric"]) == {"value", "low", "high"}


def test_compare(capsys: pytest.CaptureFixture[str], there: Path) -> None:
    code, out, _ = danlu(
        capsys, "compare", "runs/lr0.1-*", "runs/lr0.2-*", "--x", "tokens", "--html", "c.html"
    )
    assert code == 0 and "optimizer.lr" in out and "tokens" in out.splitlines()[-4]
    assert "+0.1000" in out and Path("c.html").read_text().count("<svg") == 5
    code, _, err = danlu(capsys, "compare", "runs/lr0.1-*", "runs/lr0.2-*", "--figure", "gain.pdf")
    assert code == 0 and Path("gain.pdf").read_bytes().startswith(b"%PDF")
    assert "figure in gain.pdf: " in err and "95 % interval" in err
    told = json.loads(danlu(capsys, "compare", "runs/lr0.1-0", "runs/lr0.2-0", "--json")[1])
    assert told["differs"] == [{"field": "optimizer.lr", "values": [[0.1], [0.2]]}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs", "nowhere"), "nowhere is not a folder"),
        (("runs", "--where", "lr>fast"), "> needs a number, not 'fast'"),
        (("runs", "--where", "lrr>1"), "did you mean lr?"),
        (("runs", "--sort", "bst"), "did you mean best?"),
        (("runs", "--columns", "lr,widht"), "did you mean width?"),
        (("runs", "--limit", "-1"), "--limit"),
        (("compare",), "two sides or more, not 0"),
        (("compare", "runs", "nope"), "nope is not a folder"),
        (("compare", "runs", "runs", "--x", "hours"), "--x = hours is none of steps, time, flops, tokens"),
        (("compare", "runs", "runs", "--metric", "bit_per_byte"), "did you mean bits_per_byte"),
        (("compare", "runs", "runs", "--html", "no/such/c.html"), "cannot write no/such/c.html"),
        (("compare", "runs", "runs", "--figure", "gain.png"), "a figure's name ends in .svg or .pdf"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], there: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = danlu(capsys, *words)
    assert (code, out) == (2, "") and said in err and "Traceback" not in err


def test_no_runs_at_all(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = danlu(capsys, "runs")
    assert code == 2 and "neither" not in err and "no runs or studies/runs here" in err
    assert danlu(capsys, "runs", tmp_path) == (0, "", "no run there\n")


def test_listing_loads_no_specifications(there: Path) -> None:
    code = """if True:
        import sys
        from danlu.cli.main import app
        app(["runs", "--sort", "best", "--where", "lr>0"], standalone_mode=False)
        print(*{"numpy", "scipy", "torch", "yaml", "danlu.spec"} & sys.modules.keys())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "" and len(done.stdout.splitlines()) == 7
