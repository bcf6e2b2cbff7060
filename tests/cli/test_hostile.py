"""What somebody may type or leave lying about: one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.test_train import danlu
from tests.lab.reading.folders import make_run
from tests.train import small


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    small.run(small.corpus(folder), folder / "run", "train.steps=1")
    return folder / "run"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert danlu(*words) == 2
    err = capsys.readouterr().err
    *_, last = err.splitlines()  # before it, how far the data is prepared
    assert (
        last.startswith("danlu: ")
        and err.count("\ndanlu: ") + err.startswith("danlu: ") == 1
        and "Traceback" not in err
    )
    return str(last)


LONG = "n" * 256


@pytest.mark.parametrize(
    "words",
    [
        ["show", LONG], ["show", f"{LONG}.yaml"], ["runs", LONG], ["compare", LONG, LONG],
        ["import", LONG], ["sample", LONG], ["export", LONG, "--to", "x"], ["laws", "fit", f"{LONG}.csv"],
        ["ledger", "--file", LONG], ["referee", f"{LONG}.yaml"],
        ["train", "nano", f"data.corpus={LONG}"], ["prove", f"{LONG}.yaml"], ["try", f"{LONG}.yaml"],
        ["ideas", f"{LONG}.yaml"], ["diff", LONG, "nano"], ["profile", LONG],
        ["sweep", LONG, "train.seed=1,2"],
        ["ladder", LONG, "--dry-run"],
    ],
)  # fmt: skip
def test_names_that_are_too_long(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "nano", "optimizer.lrr=1,2"], ["sweep", "nano"], ["sweep", "nano", "eps=1,2"],
        ["sweep", "tiny", "lr=1,2"], ["sweep", "nano", "lr=1,2", "--sampler", "best"],
        ["sweep", "nano", "lr=1,2", "--metric", "los"], ["try", "swigul"], ["try", "lr=x"],
        ["try", "swiglu", "--budget", "soon"], ["try", "swiglu", "--seeds", "0"],
        ["try", "swiglu", "--on", "nono"], ["try", "swiglu", "--tune", "width"],
        ["ladder", "nono"], ["ladder", "nano", "--rungs", "2", "--hold-out", "2"],
        ["ladder", "nano", "--budget", "x"],
        ["ladder", "nano", "--target", "x"], ["ladder", "nano", "--rates", "best"],
        ["ladder", "nano", "--design", "round"], ["ladder", "nano", "eps=1"],
        ["prove", "qk-nrom"], ["prove", "cosine-beats-constant", "--seeds", "0"],
        ["train", "nano", "lr=x"], ["train", "nano", "corpus=nowhere.txt"],
        ["train", "nano", "width=1000000000000", "heads=1"], ["train", "nano", "lr=1", "--with", "mine.py"],
        ["profile", "nano", "lr=x"], ["ledger", "decide", "x"], ["runs", "--where", "x"],
        ["compare", "a", "b"],
        ["sample", "a"], ["export", "a", "--to", "b"], ["import", "a", "--to", "b"],
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing_behind(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path.parent / "cache"))
    refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle"])
@pytest.mark.parametrize(
    "words",
    [
        ["show", "x.yaml"], ["try", "x.yaml"], ["prove", "x.yaml"], ["ideas", "x.yaml"],
        ["referee", "x.yaml"],
        ["laws", "fit", "x.csv"],
        ["laws", "fit", "x.jsonl"], ["laws", "fit", "x.parquet"],
        ["laws", "plan", "--flops", "1e20", "--by", "x.json"],
        ["ledger", "--file", "x.yaml"], ["train", "nano", "data.tokenizer=x.json"],
        ["train", "nano", "data.corpus=x.txt"],
    ],
)  # fmt: skip
def test_what_is_no_file(
    kind: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name = next(part for word in words for part in word.split("=") if part.startswith("x."))
    match kind:
        case "pipe":
            os.mkfifo(name)
        case "device":
            Path(name).symlink_to("/dev/zero")
        case "folder":
            Path(name).mkdir()
        case "circle":
            Path(name).symlink_to(name)
    refused(capsys, *words)


def test_runs_are_read_beside_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/a"))
    for name in ("experiment.yaml", "summary.json", "metrics.jsonl", "measures.json", "environment.json"):
        folder = make_run(Path("runs") / f"of-{name}", finished=name != "metrics.jsonl")
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    assert danlu("runs") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("damaged" in line for line in lines) == 5 and any(line.startswith("runs/a ") for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ["data.corpus=~nobody-of-this-name/x"], ["data.tokenizer=~nobody-of-this-name/x.json"],
        ["data.tokenizer=bpe:99999999999"], ["data.tokenizer=bpe:" + "9" * 5000], ["model.layers=1e18"],
        ["model.width=1e30"], ["train.steps=1e30"], ["data.context=1e18"], ["train.batch=1e18"],
        ["train.seed=1e30"],
        ["model.layers=1e6"], ["train.batch=1e15"], ["model.width=" + "9" * 5000],
    ],
)  # fmt: skip
def test_fields_beyond_all_bounds(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "train", "nano", *words)


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import pwd

    def nobody(_: object) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("DANLU_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert "there is no such home folder" in refused(capsys, "train", "nano")


@pytest.mark.parametrize("temperature", ["0", "1e-38", "1e-320", "1e30", "1e300"])
def test_any_temperature(trained: Path, temperature: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Near zero the likeliest token, as at zero; far from it any."""
    assert danlu("sample", str(trained), "--tokens", "8", "--temperature", temperature, "--seed", "1") == 0
    said = capsys.readouterr().out
    if float(temperature) < 1e-30:
        assert danlu("sample", str(trained), "--tokens", "8", "--temperature", "0") == 0
        assert capsys.readouterr().out == said


@pytest.mark.parametrize("temperature", ["-1", "nan", "inf", "-inf"])
def test_no_temperature(trained: Path, temperature: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "sample", str(trained), "--temperature", temperature)


@pytest.mark.parametrize("text", ["", "# all gone\n", "{}\n"])
def test_an_emptied_experiment_is_no_experiment(
    trained: Path,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It would mean the defaults, which is another experiment."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    Path("run/experiment.yaml").write_text(text)
    corpus = next(
        line for line in (trained / "experiment.yaml").read_text().splitlines() if "corpus:" in line
    )
    said = "run/experiment.yaml is empty, and a run's has its whole experiment; restore it, or name another"
    for words in (["show", "run"], ["sample", "run"], ["train", "run"], ["diff", "nano", "run"]):
        assert refused(capsys, *words) == f"danlu: {said}"
    assert (
        refused(capsys, "train", "nano", corpus.strip().replace(": ", "="), "--run", "run")
        == f"danlu: {said}"
    )
    assert danlu("runs", ".", "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["state"], run["error"]) == ("damaged", "ValueError: experiment.yaml is empty")


VERBS = ["inspect", "inspect --checkpoints", "inspect --measure loss", "curvature", "quantize",
         "export --to x", "spikes", "spikes --most 0", "sample", "graph", "depth"]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_run_is_refused_in_one_sentence(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "file").touch()
    whys = {"empty": "it is empty", "other": "it has no experiment.yaml"}
    if verb not in ("graph", "depth"):  # which take a recipe's name as well
        whys |= {"nothere": "there is no such folder", "other/file": "it is no folder"}
    first, *more = verb.split()
    for name, why in whys.items():
        said = f"danlu: {name} is not a run's folder: {why}; danlu runs lists those there are"
        assert refused(capsys, first, name, *more) == said
