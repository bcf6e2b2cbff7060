"""``danlu laws isoflop`` and ``envelope`` as a person meets them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from danlu.cli.main import main
from danlu.laws import law
from danlu.laws.formulas.chinchilla import allocation, optimum

TRUTH = np.array([1.8, 480.0, 480.0, 0.35, 0.35])


def danlu(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["laws", *map(str, words)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """Curves of eleven sizes through the same eight budgets: what all three approaches can read."""
    path = tmp_path / "curves.csv"
    n, c = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 5e10, 11), np.geomspace(1e18, 1e21, 8)))
    loss = law("chinchilla").predict(TRUTH, {"n": n, "d": c / (6 * n)})
    loss = loss * np.exp(0.002 * np.random.default_rng(0).standard_normal(len(n)))
    rows = [f"{a!r},{b!r},{x!r}" for a, b, x in zip(n.tolist(), c.tolist(), loss.tolist(), strict=True)]
    path.write_text("\n".join(["params,flops,val_loss", *rows]))
    return path


@pytest.mark.parametrize("verb", ["isoflop", "envelope"])
def test_three_approaches(
    capsys: pytest.CaptureFixture[str], curves: Path, tmp_path: Path, verb: str
) -> None:
    page = tmp_path / "page.html"
    words = [
        verb,
        curves,
        *(["--method", "akima"] if verb == "isoflop" else []),
        "--resamples",
        40,
        "--budget",
        "1e21,1e22",
        "--report",
        page,
    ]
    code, out, err = danlu(capsys, *words, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert set(said["approaches"]) == {"isoflop", "envelope", "parametric"} and not said["absent"]
    n, d = optimum(TRUTH, 1e22)
    for one in said["approaches"].values():
        assert one["a"]["value"] == pytest.approx(float(allocation(TRUTH).a), abs=0.06)
        assert [at["flops"] for at in one["at"]] == [1e21, 1e22]
        # Sizes are 1.8 times apart, so that the envelope's steps are as wide.
        assert one["at"][1]["n"]["value"] == pytest.approx(float(n), rel=0.5)
        assert one["at"][1]["d"]["value"] == pytest.approx(float(d), rel=0.5)
        assert one["at"][1]["n"]["low"] < one["at"][1]["n"]["value"] < one["at"][1]["n"]["high"]
    assert len(said["pairs"]) == 3
    text = page.read_text(encoding="utf-8")
    assert (
        text.count("<svg") == 3
        and not re.search(r"\b(src|href)=(?!.data:)|<script", text)
        and ">nan" not in text
    )
    code, out, _ = danlu(capsys, *words)
    assert code == 0 and "N_opt at 1e+22 FLOP" in out and f"drawn in {page}" in out
    measured = (
        r"chinchilla: \d+ to \d+ times beyond their largest compute, fits to the smaller ones missed by"
    )
    assert re.search(f"measured: {measured}", out) and re.search(f"Measured: {measured}", text)


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("isoflop", ["--budget", "1e21,x"], "--budget 1e21,x: numbers above zero with commas between"),
        ("isoflop", ["--method", "spline"], "'parabola', 'akima'"),
        ("isoflop", ["--budget", "1e40"], "these data carry √1e+03 = 31.6 times: no answer without --far"),
        ("envelope", ["--run", "name"], "there is no column name"),
        ("isoflop", ["--tolerance", "100"], "IsoFLOP profiles need optima of two budgets, not"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], curves: Path, verb: str, words: list[str], said: str
) -> None:
    code, out, err = danlu(capsys, verb, curves, "--resamples", 10, *words)
    assert (code, out) == (2, "") and said in err


@pytest.mark.parametrize("verb", ["isoflop", "envelope"])
def test_warnings_come_before_what_they_put_in_doubt(
    capsys: pytest.CaptureFixture[str], curves: Path, tmp_path: Path, verb: str
) -> None:
    head, *rows = curves.read_text().splitlines()
    marks = [f"{row},{int(i == 0)}" for i, row in enumerate(rows)]
    curves.write_text("\n".join([f"{head},outlier", *marks]))
    page = tmp_path / "page.html"
    code, out, _ = danlu(capsys, verb, curves, "--resamples", 10, "--report", page)
    assert code == 0 and 0 < out.index("warning: column outlier marks 1 points") < out.index("N_opt")
    text = page.read_text(encoding="utf-8")
    assert 0 < text.index("Warning: column outlier marks") < text.index("<table")


def test_an_influence_far_beyond_the_points_is_refused(
    capsys: pytest.CaptureFixture[str], curves: Path
) -> None:
    code, out, err = danlu(capsys, "influence", curves, "--budget", "1e40", "--most", 1)
    assert (code, out) == (2, "") and "no answer without --far" in err
    code, out, err = danlu(capsys, "influence", curves, "--budget", "1e40", "--most", 1, "--far")
    assert code == 0 and "times beyond what was measured" in out


def test_an_envelope_asks_for_the_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("n,d,loss\n" + "\n".join(f"{n}e6,2e8,{4 - n / 10}" for n in range(1, 9)))
    code, out, err = danlu(capsys, "envelope", path)
    assert (code, out) == (2, "") and "name one, or several together (--run model,lr), of n, d, loss" in err


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.csv"
    loss = np.linspace(2.2, 4.0, 16)
    accuracy = 0.25 + 0.7 / (1 + np.exp(4 * (loss - 2.8)))
    rows = [f"{x!r},{y!r}" for x, y in zip(loss.tolist(), accuracy.tolist(), strict=True)]
    path.write_text("\n".join(["val_loss,score", *rows]))
    return path


@pytest.mark.slow
def test_a_chain_says_how_extrapolations_of_its_loss_went(
    capsys: pytest.CaptureFixture[str], curves: Path, tmp_path: Path
) -> None:
    head, *rows = curves.read_text().splitlines()
    scores = (0.25 + 0.7 / (1 + math.exp(4 * (float(row.rpartition(",")[2]) - 2.8))) for row in rows)
    path = tmp_path / "scored.csv"
    path.write_text(
        "\n".join([f"{head},score", *(f"{row},{x!r}" for row, x in zip(rows, scores, strict=True))])
    )
    words = ["chain", path, "--column", "accuracy=score", "--resamples", 10, "--at"]
    (said,) = json.loads(danlu(capsys, *words, "c=5e21", "--json")[1])["calibration"]
    assert said.startswith("chinchilla: 3 to 10 times beyond their largest compute, fits to the smaller ones")
    assert f"measured: loss of n and d, {said}" in danlu(capsys, *words, "c=5e21")[1]
    assert json.loads(danlu(capsys, *words, "c=5e20", "--json")[1])["calibration"] == []


def test_chain(capsys: pytest.CaptureFixture[str], tasks: Path, tmp_path: Path) -> None:
    words = ["chain", tasks, "--column", "accuracy=score", "--at", "loss=2.5", "--resamples", 10]
    code, out, err = danlu(capsys, *words, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    (link,) = said["links"]
    assert link["law"] == "task-accuracy" and link["parameters"]["b"] == pytest.approx(0.25, abs=1e-3)
    (one,) = said["predictions"]
    assert one["accuracy"]["value"] == pytest.approx(0.25 + 0.7 / (1 + np.exp(-1.2)), abs=1e-3)
    mean, run = (one["accuracy"][name] for name in ("mean", "run"))
    assert (
        run["low"] <= mean["low"] <= one["accuracy"]["value"] == mean["value"] <= mean["high"] <= run["high"]
    )
    code, out, _ = danlu(
        capsys, *words[:-4], "--at", "loss=2.5,3", "--at", "loss=2.5", "--resamples", 10, "--json"
    )
    two, three, again = json.loads(out)["predictions"]
    assert two == again == one and three["at"] == {"loss": 3.0}
    page = tmp_path / "page.html"
    code, out, _ = danlu(capsys, *words, "--guess", "0.25", "--report", page)
    text = page.read_text(encoding="utf-8")
    assert (
        text.count("<svg") == 1
        and not re.search(r"\b(src|href)=(?!.data:)|<script", text)
        and ">nan" not in text
    )
    assert f"drawn in {page}" in out and "one run from" in text
    assert code == 0 and "accuracy of loss: accuracy = a/(1 + e^(−k·(L − L₀))) + b" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--at", "loss"], "--at loss: it is names with numbers above zero"),
        (["--at", "loss=low"], "--at loss=low: it is names with numbers above zero"),
        (["--at", "loss=2.5,loss=3"], "--at loss=2.5,loss=3: loss is given twice"),
        (["--guess", "chance"], "--guess chance: a share such as 0.25, or free"),
        (["--column", "accuracy=absent"], "there is no column absent"),
        (["--at", "s=3"], "the chain begins at loss, not at s"),
        (["--through", "other"], "--through = 'other'; allowed: loss, task_loss, both"),
        (["--through", "both"], "no column for task_loss"),
        (
            ["--at", "loss=0.1"],
            "loss = 0.1 is 22 times below what was measured (2.2 to 4); these data carry √",
        ),
    ],
)
def test_mistakes_in_a_chain(
    capsys: pytest.CaptureFixture[str], tasks: Path, words: list[str], said: str
) -> None:
    base = [] if "--column" in words else ["--column", "accuracy=score"]
    code, out, err = danlu(capsys, "chain", tasks, *base, "--resamples", 10, "--hold-out", 0, *words)
    assert (code, out) == (2, "") and said in err


def test_a_chain_does_not_choose_between_two_losses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [
        f"{n:g},{20 * n:g},{4 - i / 10},{4.1 - i / 9},{0.3 + i / 20}" for i, n in enumerate((1e8, 3e8, 1e9))
    ]
    (tmp_path / "two.csv").write_text("\n".join(["n,d,val_loss,eval_loss,accuracy", *rows]))
    code, out, err = danlu(capsys, "chain", tmp_path / "two.csv", "--resamples", 10)
    assert (code, out) == (2, "") and "loss may be any of the columns val_loss, eval_loss" in err


@pytest.mark.slow
def test_design(capsys: pytest.CaptureFixture[str], curves: Path, tmp_path: Path) -> None:
    words = ["design", curves, "--budget", "1e21", "--target", "loss@1e23", "--runs", 2, "--resamples", 20]
    code, out, err = danlu(capsys, *words, "--json")
    assert code == 0
    said = json.loads(out)
    first, second = said["runs"]
    wide = [one["high"] / one["low"] for one in (said, first["after"], second["after"])]
    assert wide[0] > wide[1] > wide[2] > 1 and first["flops"] <= 1e21 * (1 + 1e-9)
    assert first["after"]["low"] < said["value"] < first["after"]["high"]
    assert 6 * first["n"] * first["d"] == pytest.approx(first["flops"])
    n, d = optimum(TRUTH, 1e23)
    loss = law("chinchilla").predict(TRUTH, {"n": np.array([n]), "d": np.array([d])})[0]
    assert said["value"] == pytest.approx(loss, rel=0.02) and "params" in str(said["columns"])
    code, out, _ = danlu(capsys, "fit", curves, "--resamples", 20, "--json")
    (tmp_path / "fit.json").write_text(out)
    code, out, err = danlu(capsys, "design", tmp_path / "fit.json", *words[2:8])
    assert (code, err) == (0, "") and "loss@1e23 is " in out and "interval falls by" in out
    known = json.loads((tmp_path / "fit.json").read_text())
    known["scatter"]["between"] = None  # too few clusters: what is known of the scatter is that within
    (tmp_path / "few.json").write_text(json.dumps(known))
    assert danlu(capsys, "design", tmp_path / "few.json", *words[2:8])[0] == 0
    code, _, err = danlu(capsys, "design", curves, "--budget", "1e21", "--target", "speed")
    assert code == 2 and "target = 'speed'; it is loss@1e22" in err
    code, _, err = danlu(capsys, "design", tmp_path / "fit.json", "--budget", "-1", "--target", "a")
    assert code == 2 and "budget = -1" in err
    code, _, err = danlu(capsys, "design", tmp_path / "fit.json", "--budget", "1e-5", "--target", "a")
    assert code == 2 and "times below what was measured" in err and "no answer without --far" in err
    code, _, err = danlu(capsys, "design", tmp_path / "fit.json", *words[2:6], "--resamples", 20)
    assert code == 2 and "--resamples is of points" in err


def test_influence(capsys: pytest.CaptureFixture[str], curves: Path) -> None:
    head, *rows = curves.read_text().splitlines()
    n, c, loss = rows[-1].split(",")
    curves.write_text("\n".join([head, *rows[:-1], f"{n},{c},{float(loss) * 1.3!r}"]))
    words = ["influence", curves, "--most", 3, "--budget", "1e22", "--loss", "mse"]
    code, out, err = danlu(capsys, *words, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["rows"][0]["rows"] == [len(rows)] and len(said["rows"]) == len(said["clusters"]) == 3
    assert set(said["decision"]) == {"D/N at 1e+22 FLOP"} and said["by"] == "n"
    code, out, _ = danlu(capsys, *words)
    assert code == 0 and f"without data row {len(rows)}" in out and "moves by, in errors" in out
    code, out, _ = danlu(capsys, *words[:-1], "huber:auto", "--json")
    wide = json.loads(out)["parameters"]
    assert code == 0 and wide != said["parameters"] and wide["E"] == pytest.approx(TRUTH[0], abs=0.05)
    code, _, err = danlu(capsys, "influence", curves, "--cluster", "nope")
    assert code == 2 and "there is no column nope" in err
