"""``danlu laws`` as a person meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest

from danlu.cli.main import main
from danlu.cli.schemas import SCHEMAS
from danlu.files.json import misfit
from danlu.laws import LAWS, LawError, Points, law, load
from danlu.laws.formulas.chinchilla import allocation, optimum

CHINCHILLA = law("chinchilla")
TRUTH = CHINCHILLA.theta("hoffmann")


def danlu(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["laws", *map(str, words)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def ladder(tmp_path: Path) -> Path:
    """Noiseless points of Chinchilla's law: six sizes, five data."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(2e7, 2e9, 6), np.geomspace(1e9, 1e11, 5)))
    loss = CHINCHILLA.predict(TRUTH, Points(n=n, d=d))
    path = tmp_path / "ladder.csv"
    rows = zip(n.tolist(), d.tolist(), loss.tolist(), strict=True)
    path.write_text("\n".join(["params,tokens,val_loss", *(f"{a!r},{b!r},{c!r}" for a, b, c in rows)]))
    return path


def test_help_loads_no_numpy() -> None:
    code = """if True:
        import sys
        from danlu.cli.main import app
        app(["laws", "--help"], standalone_mode=False)
        print(*{"numpy", "scipy", "torch"} & sys.modules.keys())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert all(f"\n  {verb} " in done.stdout for verb in ("fit", "show", "compare", "plan"))


def test_fit_as_json_then_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path, ladder: Path) -> None:
    code, out, err = danlu(capsys, "fit", ladder, "--json", "--draws", "--resamples", 8)
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert {"law", "parameters", "intervals", "objective", "agreeing_starts", "hold_out", "warnings"} <= set(
        said
    )
    np.testing.assert_allclose([said["parameters"][name] for name in CHINCHILLA.keys], TRUTH, rtol=1e-4)
    for name, value in said["allocation"].items():
        assert value["value"] == pytest.approx(float(getattr(allocation(TRUTH), name)), rel=1e-3)
    assert np.shape(said["draws"]) == (8, 5) and said["hold_out"]["mean_error"] < 1e-6
    written = tmp_path / "fit.json"
    draws = TRUTH * np.array([[0.99], [1.0], [1.01]])
    written.write_text(json.dumps(said | {"draws": draws.tolist(), "left_out": None}))
    code, out, _ = danlu(capsys, "plan", "--flops", "1e22", "--by", written, "--price", 2, "--json")
    lines = {line["key"]: line for line in json.loads(out)["plan"]}
    n, d = optimum(TRUTH, 1e22)
    assert code == 0
    assert lines["parameters"]["value"] == pytest.approx(float(n), rel=1e-3)
    assert lines["tokens"]["value"] == pytest.approx(float(d), rel=1e-3)
    assert lines["gpu_hours"]["value"] == pytest.approx(1e22 / (0.4 * 1e15) / 3600)
    assert lines["money"]["value"] == pytest.approx(2 * lines["gpu_hours"]["value"])
    ends = np.sort(optimum(draws, 1e22)[0])[[0, -1]]  # the 95 % of three draws
    assert [lines["parameters"]["low"], lines["parameters"]["high"]] == pytest.approx(ends.tolist())


def test_fit_tells_columns_and_draws_a_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ladder: Path
) -> None:
    page = tmp_path / "page.html"
    code, out, _ = danlu(capsys, "fit", ladder, "--resamples", 4, "--report", page)
    assert code == 0
    assert "n (number of the model's parameters) is the column params" in out
    assert "starts agree" in out and "held out, " in out
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\b(src|href)=(?!.data:)|<script|@import", text)  # loads nothing
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 5  # residuals over D/N and C, fit, equal compute, allocation
    for drawing in drawings:
        assert "nan" not in drawing and "inf" not in drawing
        assert minidom.parseString(drawing).getElementsByTagName("circle")


def test_compare_finds_the_law(capsys: pytest.CaptureFixture[str], ladder: Path) -> None:
    _, out, _ = danlu(capsys, "compare", ladder, "--json")
    laws: list[dict[str, Any]] = json.loads(out)["laws"]
    assert laws[0]["law"] == "chinchilla" and laws[0]["mean_error"] < 1e-6
    errors = [one["mean_error"] for one in laws if one["target"] == "loss" and one["mean_error"] is not None]
    assert errors == sorted(errors) and len(errors) > 3


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = danlu(capsys, "show")
    assert {line.split()[0] for line in out.splitlines()[1:]} == set(LAWS)
    _, out, _ = danlu(capsys, "show", "chinchilla")
    assert CHINCHILLA.formula in out and "besiroglu" in out
    _, out, _ = danlu(capsys, "show", "chinchilla", "--json")
    assert json.loads(out)["published"]["hoffmann"]["values"] == CHINCHILLA.named(TRUTH)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "chinchila"), "did you mean chinchilla"),
        (("plan",), "a plan starts from one or two of flops, parameters, tokens, loss, money"),
        (("plan", "--flops", "1e22", "--tokens", "1e9", "--parameters", "1e9"), "leave one of them out"),
        (("plan", "--loss", "1.5"), "which no model passes"),
        (("plan", "--flops", "-1"), "flops must be a number above zero"),
        (("plan", "--flops", "1e22", "--utilisation", "40"), "utilisation is a share"),
        (("plan", "--flops", "1e22", "--by", "kaplan"), "no published parameters called 'kaplan'"),
        (("plan", "--flops", "1e22", "--by", "absent.json"), "absent.json is missing"),
        (("plan", "--flops", "1e22", "--by", "x.csv"), "danlu laws fit x.csv --json > fit.json makes one"),
        (("plan", "fit.json", "--flops", "1e22"), "to plan by a fit: --by fit.json"),
        (("plan", "--flops", "1", "--far"), "no run has less than one of each"),
        (("fit", "absent.csv", "--no-draws"), "--no-draws is of --json"),
        (("fit", "absent.csv"), "absent.csv is missing"),
        (("fit", "absent.csv", "--column", "loss"), "it is OURS=THEIRS"),
        (("fit", "absent.csv", "--unit", "loss"), "it is OURS=UNIT"),
        (("fit", "absent.csv", "--loss", "val_loss"), "the column of the loss is --column loss=val_loss"),
        (("fit", "absent.csv", "--fix", "E"), "it is E=1.7 (a value)"),
        (("fit", "absent.csv", "--fix", "F=1"), "no parameter F; it has E, A, B"),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, out, err = danlu(capsys, *words)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1


def test_the_column_of_the_loss_is_named_like_any_other(
    capsys: pytest.CaptureFixture[str], ladder: Path
) -> None:
    ladder.write_text(ladder.read_text().replace("val_loss", "score"))
    code, out, _ = danlu(capsys, "fit", ladder, "--column", "loss=score", "--resamples", 0)
    assert code == 0 and "loss (held-out loss) is the column score" in out


def test_a_fit_with_parameters_held(capsys: pytest.CaptureFixture[str], ladder: Path, tmp_path: Path) -> None:
    words = ["fit", ladder, "--fix", f"E={TRUTH[0].item()!r}, beta=alpha", "--loss", "mse", "--resamples", 4]
    code, out, _ = danlu(capsys, *words, "--json")
    said = json.loads(out)
    assert code == 0 and said["loss"]["kind"] == "mse"
    assert said["fixed"] == ["E"] and said["ties"] == {"beta": "alpha"}
    assert said["parameters"]["E"] == TRUTH[0] and said["parameters"]["alpha"] == said["parameters"]["beta"]
    assert np.array(said["covariance"])[0].tolist() == [0.0] * 5
    (tmp_path / "held.json").write_text(out)
    sample = load(tmp_path / "held.json").sample(20)
    assert sample is not None and (sample[:, 0] == TRUTH[0]).all()
    np.testing.assert_allclose(sample[:, 3], sample[:, 4], rtol=1e-6)
    code, out, _ = danlu(capsys, *words, "--report", tmp_path / "held.html")
    assert code == 0 and re.search(r"^E .* fixed", out, re.M) and re.search(r"^β .* = α", out, re.M)
    assert "= α" in (tmp_path / "held.html").read_text(encoding="utf-8")


def test_a_fit_to_the_lower_hull(capsys: pytest.CaptureFixture[str], ladder: Path) -> None:
    words = ["fit", ladder, "--law", "kaplan-c", "--hull", "--resamples", 0, "--hold-out", 0]
    code, out, _ = danlu(capsys, *words, "--json")
    said = json.loads(out)
    assert code == 0 and said["points"] < 30
    assert f"{said['points']} of 30 points lie on the lower hull of loss against compute" in said["notes"]
    code, out, _ = danlu(capsys, *words[:4], *words[5:], "--json")
    whole, middle = json.loads(out), {"c": np.array([1e19])}
    assert whole["points"] == 30
    kaplan = law("kaplan-c")  # a law through the best runs lies below one through all
    of_hull, of_all = (kaplan.predict(kaplan.theta(one["parameters"]), middle)[0] for one in (said, whole))
    assert of_hull < of_all


def test_groups(capsys: pytest.CaptureFixture[str], ladder: Path, tmp_path: Path) -> None:
    head, *rows = ladder.read_text().splitlines()
    n, d = (np.array([float(row.split(",")[i]) for row in rows]) for i in (0, 1))
    twice = CHINCHILLA.predict(TRUTH, {"n": n, "d": 2 * d})
    better = [
        f"{row.rpartition(',')[0]},{value!r},new data"
        for row, value in zip(rows, twice.tolist(), strict=True)
    ]
    path = tmp_path / "groups.csv"
    path.write_text("\n".join([f"{head},recipe", *(f"{row},old" for row in rows), *better]))
    words = ["fit", path, "--group", "recipe", "--shared", "E,A,alpha,beta", "--resamples", 5]
    code, out, err = danlu(capsys, *words, "--json")
    said = json.loads(out)
    assert (code, err) == (0, "") and misfit(said, SCHEMAS["laws fit"].shape) == ""
    assert (said["baseline"], said["shared"]) == ("old", ["E", "A", "alpha", "beta"])
    assert [gain["value"] for gain in said["gains"]["new data"]] == pytest.approx([2] * 6, rel=1e-3)
    written = tmp_path / "groups.json"
    written.write_text(out)
    assert (
        load(Path(f"{written}#new data").absolute()).theta[2] == said["groups"]["new data"]["parameters"]["B"]
    )
    with pytest.raises(LawError, match="holds a fit for each of old, new data; say which: "):
        load(written)
    page = tmp_path / "groups.html"
    code, out, _ = danlu(capsys, *words, "--report", page)
    assert code == 0 and re.search(r"^E +all ", out, re.M) and re.search(r"^B +new data ", out, re.M)
    assert re.search(r"^new data +training compute .* 2 +2 ", out, re.M)
    assert len(re.findall("<svg", page.read_text(encoding="utf-8"))) == 2 * 4
    code, out, _ = danlu(capsys, "fit", path, "--group", "recipe=new data", "--resamples", 0)
    assert code == 0 and "times new data" in out and re.search(r"^old: 30 points", out, re.M)


def test_rows_and_units_are_asked_for(capsys: pytest.CaptureFixture[str], ladder: Path) -> None:
    head, *rows = ladder.read_text().splitlines()
    in_millions = [
        f"{float(row.split(',')[0]) / 1e6!r},{row.partition(',')[2]},{i % 2}" for i, row in enumerate(rows)
    ]
    ladder.write_text("\n".join([f"{head},part", *in_millions]))
    words = ("fit", ladder, "--unit", "n=M", "--where", "part=0", "--resamples", 0, "--json")
    code, out, _ = danlu(capsys, *words)
    said = json.loads(out)
    assert (code, said["points"], said["where"], said["skipped"]) == (0, 15, ["part=0"], 0)
    assert said["columns"]["n"] == {"name": "params", "unit": "M", "factor": 1e6, "why": "name"}
    sizes = np.geomspace(2e7, 2e9, 6)[::2]  # the size is what changes from row to row
    assert said["ranges"]["n"] == pytest.approx([sizes[0], sizes[-1]])


def test_a_cluster_that_is_no_column(capsys: pytest.CaptureFixture[str], ladder: Path) -> None:
    code, out, err = danlu(capsys, "fit", ladder, "--cluster", "nope")
    assert (code, out) == (2, "") and "there is no column nope; there are n, d" in err


def test_a_cluster_of_names(capsys: pytest.CaptureFixture[str], ladder: Path, tmp_path: Path) -> None:
    """Points of one named run are drawn together, just as those of the size that each run here has."""
    head, *rows = ladder.read_text().splitlines()
    draw = np.random.default_rng(0)
    scattered = [
        f"{row.rpartition(',')[0]},{float(row.rpartition(',')[2]) * draw.normal(1, 0.01)!r}" for row in rows
    ]
    sizes = sorted({float(row.split(",")[0]) for row in rows})
    named = [f"{row},run-{sizes.index(float(row.split(',')[0]))}" for row in scattered]
    path = tmp_path / "named.csv"
    path.write_text("\n".join([f"{head},run_name", *named]))
    found = {}
    for cluster in ("run_name", "n", None, "none"):
        words = ["fit", path, "--json", "--resamples", 20, "--hold-out", 0]
        code, out, _ = danlu(capsys, *words, *(["--cluster", cluster] if cluster else []))
        assert code == 0
        found[cluster] = json.loads(out)["intervals"]
    assert found["run_name"] == found["n"] == found[None] != found["none"]
    path.write_text(path.read_text().replace(",run-3", ",", 1))
    code, out, err = danlu(capsys, "fit", path, "--cluster", "run_name")
    assert (code, out) == (2, "") and "column run_name is empty in point" in err


SHAPES = {
    "null": "it holds null, not a mapping",
    '{"law": "chinchilla", "parameters": []}': "parameters is a list, not a mapping",
    '{"law": "chinchilla", "parameters": {"E": null}}': "E is null, not a number",
    '{"law": "chinchilla", "parameters": {}, "draws": {}}': "draws holds a mapping, not a list",
    '{"law": "chinchilla", "parameters": {}, "draws": [[null]]}': "draws[0][0] is null, not a number",
}


@pytest.mark.parametrize("text", SHAPES)
def test_a_fit_of_the_wrong_shape(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    (tmp_path / "fit.json").write_text(text)
    code, out, err = danlu(capsys, "plan", "--flops", "1e22", "--by", tmp_path / "fit.json")
    assert (code, out) == (2, "") and SHAPES[text] in err


def test_too_few_points(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("n,d,loss\n1e6,1e7,4\n2e6,3e7,3\n")
    code, _, err = danlu(capsys, "fit", path)
    assert code == 2 and "chinchilla has 5 parameters" in err and "too many for 2 points" in err


def test_predict_from_a_fit_and_from_points(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ladder: Path
) -> None:
    _, out, _ = danlu(capsys, "fit", ladder, "--json", "--resamples", 8)
    written = tmp_path / "fit.json"
    written.write_text(out)
    code, out, err = danlu(capsys, "predict", written, "--n", "1e9,0.7B", "--d", "14B", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    expected = CHINCHILLA.predict(TRUTH, Points(n=[1e9, 7e8], d=[1.4e10, 1.4e10]))
    assert [one["value"] for one in said["predictions"]] == pytest.approx(expected.tolist(), rel=1e-6)
    assert said["predictions"][1]["at"] == {"n": 7e8, "d": 1.4e10, "c": pytest.approx(6 * 7e8 * 1.4e10)}
    # The same places by --at: in one, in two, in parts.
    for words in (
        ("--at", "n=1e9,0.7B,d=14B"),
        ("--at", "n=1e9,d=14B", "--at", "n=0.7B,d=14B"),
        ("--at", "n=1e9,0.7B", "--at", "d=14B"),
        ("--d", "14B", "--at", "n=1e9,0.7B"),
        ("--at", f"c={6 * 1e9 * 14e9!r},n=1B", "--at", "d=14B,n=0.7B"),
    ):
        code, out, err = danlu(capsys, "predict", written, *words, "--json")
        assert (code, err) == (0, "") and json.loads(out)["predictions"] == said["predictions"], words
    code, out, _ = danlu(capsys, "predict", ladder, "--c", "4e21", "--column", "n=params")
    n, d = optimum(TRUTH, 4e21)
    loss = float(CHINCHILLA.predict(TRUTH, Points(n=[n], d=[d]))[0])
    assert code == 0 and f"{loss:.4f}" in out and "a new run, 95 %" in out
    assert "is 3.33 times beyond what was measured" in out and "measured: " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to predict: give two of --n, --d and --c"),
        (("--n", "1e9"), "give a value of d"),
        (("--n", "many", "--d", "1e9"), "--n = 'many'; allowed: a number above zero, such as 7e9 or 7B"),
        (("--at", "x"), "--at x: it is names with numbers above zero, such as n=7e9,d=2e12"),
        (("--n", "1e9", "--at", "n=2e9,d=1e10"), "n is given twice, by --n and by --at"),
        (("--at", "n=1e9,2e9,d=1e9,2e9,3e9"), "as many values of each column, or one: n 2, d 3"),
        (("--at", "n=1e9", "--at", "n=2e9"), "give a value of d"),
        (("--c", "1e20", "--law", "power"), "--law is of points, and "),
        (("--c", "1e20", "--where", "n<1e9"), "--where is of points, and "),
        (("--c", "1e33"), "no answer without --far"),
    ],
)
def test_predict_refuses_in_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    fit = {"law": "chinchilla", "parameters": dict(zip(CHINCHILLA.keys, TRUTH.tolist(), strict=True))}
    written = tmp_path / "fit.json"
    written.write_text(json.dumps(fit | {"ranges": {"c": [1e18, 1e21]}}))
    code, _, err = danlu(capsys, "predict", written, *words)
    assert code == 2 and said in err and "Traceback" not in err


def test_a_ladders_folder_is_its_fit_unless_its_points_are_asked_for(
    capsys: pytest.CaptureFixture[str], ladder: Path, tmp_path: Path
) -> None:
    """Beside the points lies the fit file, here of another law; without points a folder is no ladder's."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "law.json").write_text(json.dumps({"law": "power", "parameters": {"a": 40.0, "b": 0.1}}))
    code, _, err = danlu(capsys, "predict", folder, "--at", "x=1e12", "--json")
    assert code == 2 and "holds no runs" in err
    (folder / "points.csv").write_bytes(ladder.read_bytes())
    (said,) = json.loads(danlu(capsys, "predict", folder, "--at", "x=1e12", "--json")[1])["predictions"]
    assert said["value"] == pytest.approx(40.0 * 1e12**-0.1)
    by_points = danlu(capsys, "predict", folder, "--law", "chinchilla", "--n", "1e9", "--d", "14B", "--json")
    (said,) = json.loads(by_points[1])["predictions"]
    expected = CHINCHILLA.predict(TRUTH, {"n": np.array([1e9]), "d": np.array([1.4e10])})
    assert said["value"] == pytest.approx(float(expected[0]), rel=1e-6)
    code, _, err = danlu(capsys, "plan", "--by", folder, "--flops", "1e20")
    assert code == 2 and "but a plan needs chinchilla" in err


def test_an_accuracy_is_no_loss(capsys: pytest.CaptureFixture[str], ladder: Path, tmp_path: Path) -> None:
    head, *rows = ladder.read_text().splitlines()
    path = tmp_path / "tasks.csv"
    path.write_text("\n".join([",".join([*head.split(",")[:2], "accuracy"]), *(
        ",".join([*row.split(",")[:2], f"{0.3 + 0.01 * i}"]) for i, row in enumerate(rows))]))  # fmt: skip
    code, _, err = danlu(capsys, "fit", path, "--column", "loss=accuracy")
    assert code == 2 and "danlu laws chain" in err
