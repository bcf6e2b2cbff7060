"""Models of maximum entropy as runs: three solvers, one optimum, in every way that a run can go."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from danlu import data, spec
from danlu.cli.main import app
from danlu.maxent import contexts
from danlu.spec import SpecError, resolve
from danlu.train import metrics
from danlu.train.load import load_run
from tests.conftest import ROOT
from tests.maxent.cases import table
from tests.train import small
from tests.train.test_resume import dies_and_goes_on

SOLVERS = ("gis", "iis", "lbfgs")
DIGITS = ["maxent-digits", "train.device=cpu", "train.evaluate_every=1", "train.log_every=1"]


def letters(folder: Path) -> Path:
    """A text of three letters, in which every pair occurs on both sides of the split."""
    generator = np.random.default_rng(0)
    lines = [
        "a" + "".join(generator.choice(list("abc"), size=40, p=[0.6, 0.3, 0.1])) + "c" for _ in range(60)
    ]
    (folder / "letters.txt").write_text("\n".join(lines) + "\n")
    return folder / "letters.txt"


def of_table(folder: Path, *more: str, rows: int = 150, columns: int = 2) -> list[str]:
    """The words of an experiment on a table whose classes overlap; half of it is held out."""
    x, y = table(1, rows=rows, columns=columns)
    np.savez(folder / "table.npz", x=x, y=y)
    file = {"kind": "table", "file": str(folder / "table.npz"), "label": "y", "held_out": 0.2}
    words = [f"data={{{', '.join(f'{name}: {value}' for name, value in file.items())}}}"]
    return [*DIGITS, *words, "objective.smoothing=0", *more]


def course(folder: Path, name: str) -> np.ndarray:
    return np.array([row[name] for row in metrics.read(folder / "metrics.jsonl") if name in row])


@pytest.mark.parametrize("optimizer", SOLVERS)
def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    words = of_table(tmp_path, f"optimizer={optimizer}", "train.steps=9", "train.checkpoint_every=2")
    experiment = resolve(words)
    summary = small.go(experiment, tmp_path / "whole")
    assert (summary["unit"], summary["epochs"], summary["metric"]["name"]) == ("epoch", 9, "nats")
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut", remembers=optimizer not in ("gis", "iis"))


@pytest.mark.slow
def test_two_processes_are_refused(tmp_path: Path) -> None:
    """An example is the whole training set, and is not cut."""
    done = small.torchrun(of_table(tmp_path, "train.steps=2"), tmp_path / "run")
    assert done.returncode and "train.batch = 1 cannot be shared among 2 processes" in done.stderr


@pytest.mark.parametrize(
    ("optimizer", "more"), [("gis", []), ("iis", []), ("iis", ["objective.threshold=0.5"])]
)
def test_no_pass_of_scaling_lowers_the_likelihood(tmp_path: Path, optimizer: str, more: list[str]) -> None:
    small.go(resolve([*DIGITS, f"+{optimizer}", "train.steps=6", *more]), tmp_path / "run")
    nats = course(tmp_path / "run", "train_nats")
    assert len(nats) == 6 and (np.diff(nats) < 0).all()


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        ("lbfgs", 40),
        pytest.param("iis", 400, marks=pytest.mark.slow),
        pytest.param("gis", 550, marks=pytest.mark.slow),
    ],
)
def test_the_optimum_is_that_of_logistic_regression(tmp_path: Path, optimizer: str, steps: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    words = of_table(tmp_path, f"optimizer={optimizer}", f"train.steps={steps}", "train.evaluate_every=none")
    small.go(resolve(words), tmp_path / "run")
    run = load_run(tmp_path / "run", steps)
    x, counts = run.objective.data.train
    theirs = linear_model.LogisticRegression(
        C=np.inf, fit_intercept=False, tol=1e-10, solver="newton-cg", max_iter=1000
    )
    expected = theirs.fit(x, counts.argmax(axis=1)).predict_proba(x)
    scores = x @ run.model.weight.numpy()
    found = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(x.T @ found, x.T @ counts, rtol=0, atol=1e-8)  # E_p f = Ẽf, summed over rows
    measured = run.objective.judge(run.model)
    assert measured["violation"] < 1e-11 and measured["dual_gap"] < 1e-10


@pytest.mark.parametrize(("optimizer", "steps"), [("gis", 1), ("iis", 1), ("lbfgs", 60)])
def test_pairs_of_a_text_cost_their_conditional_entropy(tmp_path: Path, optimizer: str, steps: int) -> None:
    """Where each row has one feature, a single step of scaling is exact."""
    source = {"kind": "bigrams", "corpus": str(letters(tmp_path)), "held_out": 0.3}
    words = [f"data={{{', '.join(f'{name}: {value}' for name, value in source.items())}}}"]
    more = [f"optimizer={optimizer}", f"train.steps={steps}", "objective.smoothing=0"]
    small.go(resolve([*DIGITS, *words, *more]), tmp_path / "run")
    text = data.prepare(spec.Text(corpus=source["corpus"], context=1, held_out=0.3))
    _, counts = contexts(text.train.ids, 257)
    seen = counts > 0
    share = counts / counts.sum(axis=1, keepdims=True)
    entropy = -(counts[seen] @ np.log(share[seen])) / counts.sum()
    assert course(tmp_path / "run", "train_nats")[-1] == pytest.approx(entropy, rel=1e-12)
    _, counts = contexts(text.held_out.ids, 257)
    assert course(tmp_path / "run", "nats")[-1] > entropy / 2


def test_what_the_held_out_rows_alone_have_is_refused(tmp_path: Path) -> None:
    words = [*DIGITS, "objective.smoothing=0", "train.steps=1"]
    said = CliRunner().invoke(app, ["train", *words, "--run", str(tmp_path / "run")])
    assert "held-out rows have a class together with a column that training rows never show" in str(
        said.exception
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["maxent-digits", "train.batch=2"], "of model.kind = maxent one example is the whole training set"),
        (["maxent-digits", "train.weights=bfloat16"], "too coarse for model.kind = maxent"),
        (["maxent-digits", "+gis", "train.clip=1"], "set train.clip = 0"),
        (["maxent-digits", "+gis", "schedule=cosine"], "would shorten the steps of optimizer.kind = gis"),
        (["maxent-digits", "+iis", "schedule.warmup=0.1"], "would shorten the steps of optimizer.kind = iis"),
        (["tiny", "optimizer=lbfgs"], "solves for the weights of model.kind = maxent"),
        (["maxent-digits", "data=moons"], "maxent takes data of kind digits or table or bigrams"),
        (["maxent-digits", "model=decoder"], "is for a model of kind maxent"),
        (["maxent-digits", "data={kind: table, file: a.csv, label: y, columns: [y]}"], "leave it out of"),
        (["maxent-digits", "data={kind: table, file: a.txt, label: y}"], "allowed: a .csv, .parquet or .npz"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(SpecError) as error:
        resolve(words)
    assert said in str(error.value)


def test_scaling_refuses_features_below_zero(tmp_path: Path) -> None:
    np.savez(tmp_path / "signed.npz", x=np.linspace(-1, 1, 40), y=np.arange(40) % 2)
    file = f"{{kind: table, file: {tmp_path / 'signed.npz'}, label: y, scaled: false}}"
    words = [*DIGITS, f"data={file}", "train.steps=2"]
    with pytest.raises(SpecError, match=r"GIS: the feature 'x & 0' is -1 somewhere"):
        small.go(resolve([*words, "+gis"]), tmp_path / "run")
    small.go(resolve([*words, "+lbfgs"]), tmp_path / "other")


def test_a_run_shows_its_weights_by_name(tmp_path: Path) -> None:
    small.go(resolve(of_table(tmp_path, "+lbfgs", "train.steps=20")), tmp_path / "run")
    said = CliRunner().invoke(app, ["sample", str(tmp_path / "run")])
    assert said.exit_code == 0 and "dual gap" in said.output and "x.0 & 1" in said.output


PAGE = (ROOT / "docs" / "maximum-entropy.md").read_text(encoding="utf-8").replace("\\\n", "")


@pytest.mark.parametrize("command", re.findall(r"^danlu train (.*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE))
def test_the_experiments_of_the_page_are_experiments(command: str) -> None:
    assert resolve(shlex.split(command)).objective.kind == "maxent"


def test_the_metrics_of_the_page_are_those_that_are_measured(tmp_path: Path) -> None:
    small.go(resolve(of_table(tmp_path, "+gis", "train.steps=1")), tmp_path / "run")
    (row,) = [row for row in metrics.read(tmp_path / "run" / "metrics.jsonl") if "nats" in row]
    table = PAGE[PAGE.index("| metric |") : PAGE.index("The last three")]
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert named == [name for name in row if name not in ("step", "epochs", "seconds")]


@pytest.mark.slow
def test_a_solver_is_tried_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["try", "lbfgs", "--seeds", "2", "--budget", "20 steps", "--tune", "none", "--workers", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "lbfgs-on-maxent-digits" in (tmp_path / "ledger.yaml").read_text()
