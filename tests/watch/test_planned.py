"""Laws and plans, as danlu printed them; a ladder; the runs of a study."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.files.json import read_object, write_json
from danlu.lab.trial.kept import keep
from danlu.watch import planned
from danlu.watch.place import id_of
from tests.lab.reading.folders import make_run
from tests.watch.pages import Page, client, page
from tests.watch.test_pages import BITS, sweep_result, trial

E, A, B, ALPHA, BETA = 1.8, 480.0, 2100.0, 0.35, 0.37
FIT: dict[str, Any] = {
    "schema": "danlu.laws.fit/2", "law": "chinchilla", "points": 9, "parameters": {"E": 1.69, "A": None},
    "intervals": {"E": {"value": 1.69, "low": 1.5, "high": 1.8, "error": 0.1}},
    "audit": {"dependence": {"text": "nine runs of nine sizes"},
              "findings": [{"code": "x", "text": "two <b>points</b> are far"}]},
    "warnings": [{"code": "y", "text": "few points"}],
}  # fmt: skip
PLAN: dict[str, Any] = {
    "schema": "danlu.laws.plan/2", "law": "chinchilla", "by": "./law.json", "parameters": {"E": 1.69},
    "given": {"flops": 1e20}, "warnings": [],
    "plan": [{"key": "parameters", "name": "parameters", "value": 8e8, "low": 7e8, "high": 9e8, "unit": "",
              "source": "law.json", "group": "run"}],
    "train": {"command": "danlu train llama-110m", "recipe": ["llama-110m"], "batch": 4},
}  # fmt: skip


def printed(folder: Path, name: str, *words: str) -> Any:
    """What danlu prints with --json, into a file of the folder."""
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    (folder / name).write_text(done.stdout)
    return json.loads(done.stdout)


def law(folder: Path, name: str) -> Page:
    return page(folder, f"/laws/{id_of(folder / name)}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit, a prediction, a plan by it, and a plan for devices, as they are printed."""
    folder = tmp_path_factory.mktemp("laws")
    rows = ["n,d,loss"]
    for k, n in enumerate((1e6, 1e7, 1e8)):
        for j, d in enumerate((2e7, 2e8, 2e9)):
            noise = 0.002 * math.sin(7 * k + 3 * j)
            rows.append(f"{n:.0f},{d:.0f},{E + A / n**ALPHA + B / d**BETA + noise:.6f}")
    points = folder / "points.csv"
    points.write_text("\n".join(rows) + "\n")
    printed(folder, "law.json", "laws", "fit", str(points))
    printed(folder, "predict.json", "laws", "predict", str(points), "--n", "2e8", "--d", "4e9")
    printed(folder, "plan.json", "laws", "plan", "--flops", "1e19", "--by", str(folder / "law.json"))
    return folder


def test_what_is_printed_is_listed(made: Path) -> None:
    found = page(made, "/laws")
    assert [row[:2] for row in found.tables[0][1:]] == [
        ["law.json", "A fit"], ["plan.json", "A plan"], ["predict.json", "A prediction"]
    ]  # fmt: skip


def test_a_fit_with_its_audit(made: Path) -> None:
    said = json.loads((made / "law.json").read_text())
    found = law(made, "law.json")
    rows = {row[0]: [float(cell) for cell in row[1:]] for row in found.tables[0][1:]}
    for name, ends in said["intervals"].items():
        assert rows[name] == pytest.approx([ends[key] for key in ("value", "low", "high", "error")], rel=1e-4)
    for one in [said["audit"]["dependence"], *said["audit"]["findings"], *said["warnings"]]:
        assert one["text"] in found.text


def test_a_prediction_never_without_its_interval(made: Path) -> None:
    (said,) = json.loads((made / "predict.json").read_text())["predictions"]
    (row,) = law(made, "predict.json").tables[0][1:]
    values = [said["value"], *(said[of][end] for of in ("mean", "run") for end in ("low", "high"))]
    assert [float(cell) for cell in row[1:]] == pytest.approx(values, rel=1e-4)


def test_a_plan_and_the_fit_that_it_rests_on(made: Path) -> None:
    said = json.loads((made / "plan.json").read_text())
    found = law(made, "plan.json")
    assert [row[0] for row in found.tables[0][1:]] == [one["name"] for one in said["plan"]]
    assert [at for at in found.all("a") if at["href"] == f"/laws/{id_of(made / 'law.json')}"]
    assert said["train"]["command"] in found.text


def test_a_plan_for_devices(tmp_path: Path) -> None:
    words = ("nano", "--device", "h100", "--devices", "2")
    said = printed(tmp_path, "devices.json", "plan", *words)
    found = law(tmp_path, "devices.json")
    rows = dict(map(tuple, found.tables[0]))
    assert rows["parameters"] == str(said["parameters"]) and said["device"]["title"] in found.text


def test_what_is_no_law(tmp_path: Path) -> None:
    """Damaged, another verb's, of another shape, or a link out: it is passed over."""
    write_json(tmp_path / "law.json", FIT)
    write_json(tmp_path / "try.json", {"schema": "danlu.try/1"})
    write_json(tmp_path / "none.json", {"schema": "danlu.laws.fit/2", "law": 3})
    (tmp_path / "bad.json").write_text("{")
    secret = tmp_path.parent / f"{tmp_path.name}-secret.json"
    write_json(secret, FIT)
    (tmp_path / "out.json").symlink_to(secret)
    found = page(tmp_path, "/laws")
    assert [row[0] for row in found.tables[0][1:]] == ["law.json"]
    one = law(tmp_path, "law.json")
    assert one.tables[0][1:] == [["E", "1.69", "1.5", "1.8", "0.1"], ["A", "", "", "", ""]]
    assert "two <b>points</b> are far" in one.text and not one.all("b")
    page(tmp_path, "/laws/000000000000", 404)


# ---------------------------------------------------------------- ladders, and the runs of studies


def climbed(folder: Path) -> Path:
    """A ladder of three rungs that has ended."""
    study = folder / "studies" / "ladder-nano"
    study.mkdir(parents=True)
    runs = []
    for level in range(3):
        words = f"nano model.layers={level + 1}"
        run = make_run(folder / "studies" / "runs" / f"rung-{level}", words, [3.0 - level])
        said = {"level": level, "seed": 0, "parameters": 1000 * 10**level, "tokens": 20_000, "flops": 1e9}
        runs.append(said | {"loss": 2.0, "metric": 3.0 - level, "run": f"studies/runs/{run.name}"})
    write_json(study / "study.json", {"verb": "ladder", "words": ["nano"]})
    write_json(study / "result.json", {
        "metric": "bits_per_byte", "unit": "bits/byte", "budget": "1e10flop", "runs": runs,
        "law": {"formula": "L = E + A/N^α", "parameters": {"E": 1.0}},
        "held_out": [{"level": 2, "predicted": 1.25, "measured": 1.0, "inside": True}], "warnings": [],
        "target": {"parameters": 10**6, "flops": 1e15, "loss": {"value": 0.9, "low": 0.8, "high": 1.1},
                   "command": "danlu train nano model.layers=9"},
    })  # fmt: skip
    return study


def links(found: Page) -> list[str]:
    return [str(at["href"]) for at in found.all("a") if str(at["href"]).startswith("/run/")]


def test_a_ladder_with_its_runs(tmp_path: Path) -> None:
    study = climbed(tmp_path)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert (
        "predicted loss at 1,000,000 parameters, 1e15 FLOP: 0.9 (0.8 … 1.1)" in found.text
        and "L = E + A/N^α" in found.text
    )
    assert [row[:3] for row in found.tables[0][1:]] == [
        ["0", "0", "1,000"],
        ["1", "0", "10,000"],
        ["2", "0", "100,000"],
    ]
    assert ["2", "1.25", "1", "true"] in found.tables[1]
    assert set(links(found)) == {
        f"/run/{id_of(tmp_path / 'studies' / 'runs' / f'rung-{k}')}" for k in range(3)
    }
    assert found.tables[-1][0] == ["run", "state", "layers"]
    assert [row[2] for row in found.tables[-1][1:]] == ["1", "2", "3"]
    assert [at for at in page(tmp_path, "/laws").all("a") if at["href"] == f"/studies/{id_of(study)}"]
    assert "0.9 (0.8 … 1.1)" in page(tmp_path, "/studies").text


def test_a_trial_and_a_sweep_link_their_runs(tmp_path: Path) -> None:
    study = trial(tmp_path, 2)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    pool = tmp_path / "studies" / "runs"
    assert set(links(found)) == {
        f"/run/{id_of(pool / f'{side}-{seed}')}" for side in ("base", "x") for seed in (0, 1)
    }
    (compare,) = [at["href"] for at in found.all("a") if str(at["href"]).startswith("/compare")]
    assert len(page(tmp_path, str(compare)).tables[0][0]) == 5
    result = sweep_result()
    result["trials"][0]["folders"] = ["studies/runs/base-0", "studies/runs/gone"]
    result["trials"][1]["folders"] = ["studies/runs/x-1"]
    (study / "pairs.json").unlink()
    write_json(study / "result.json", result)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert links(found) == [f"/run/{id_of(pool / name)}" for name in ("base-0", "x-1")]
    assert "seed" in found.tables[-1][0]


def test_a_study_over_sizes_links_its_runs(tmp_path: Path) -> None:
    study, pool = tmp_path / "studies" / "across-x", tmp_path / "studies" / "runs"
    rungs = {}
    for level in range(2):
        words = f"nano model.layers={level + 1}"
        b, v = (make_run(pool / f"{side}-{level}", words, [3.0, 2.0]) for side in ("base", "x"))
        rungs["+x", f"rung {level}"] = [(0, b, v)]
    study.mkdir(parents=True)
    write_json(study / "study.json", {"verb": "try", "across_scale": True})
    keep(study, [BITS], rungs)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    every = {f"/run/{id_of(pool / f'{side}-{level}')}" for side in ("base", "x") for level in range(2)}
    assert set(links(found)) == every and "over steps" not in found.text


def belongs(folder: Path, run: Path) -> list[str]:
    """The addresses to which the page of a run links as what it belongs to."""
    places = [str(at["href"]) for at in page(folder, f"/run/{id_of(run)}").all("a")]
    return [place for place in places if place.startswith(("/studies/", "/laws/"))]


def test_a_run_links_what_it_belongs_to(tmp_path: Path) -> None:
    study, pool = trial(tmp_path, 1), tmp_path / "studies" / "runs"
    alone = make_run(tmp_path / "runs" / "alone", "nano", [3.0])
    assert belongs(tmp_path, pool / "base-0") == [f"/studies/{id_of(study)}"]
    assert belongs(tmp_path, alone) == []
    write_json(
        tmp_path / "law.json", {**FIT, "folders": ["runs/alone", "studies/runs/x-0", "elsewhere/gone"]}
    )
    law_of = f"/laws/{id_of(tmp_path / 'law.json')}"
    assert belongs(tmp_path, alone) == [law_of]
    assert belongs(tmp_path, pool / "x-0") == [f"/studies/{id_of(study)}", law_of]
    assert set(links(law(tmp_path, "law.json"))) == {f"/run/{id_of(pool / 'x-0')}", f"/run/{id_of(alone)}"}
    (study / "pairs.json").unlink()
    assert belongs(tmp_path, pool / "base-0") == []


def test_a_fit_names_the_runs_of_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = []
    for k, n in enumerate((1e3, 1e4, 1e5, 1e6)):
        runs.append(make_run(tmp_path / "runs" / f"size-{k}", "nano", [3.0 - k / 2]))
        write_json(runs[-1] / "summary.json", {"parameters": int(n), "state": "finished"})
        row = {"step": 9, "tokens": int(20 * n), "held_out_loss": 2 + 5 / n**0.2}
        (runs[-1] / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    printed(tmp_path, "law.json", "laws", "fit", "runs", "--law", "kaplan-n", "--resamples", "0")
    assert set(links(law(tmp_path, "law.json"))) == {f"/run/{id_of(run)}" for run in runs}


def test_a_file_is_read_once_while_it_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "law.json", FIT)
    write_json(tmp_path / "other.json", {"schema": "danlu.try/1"})
    read: list[str] = []

    def noted(path: Path) -> dict[str, Any]:
        read.append(path.name)
        return read_object(path)

    monkeypatch.setattr(planned, "read_object", noted)
    page(tmp_path, "/laws")
    assert law(tmp_path, "law.json").tables[0][1][1] == "1.69"
    assert sorted(read) == ["law.json", "other.json"]
    write_json(tmp_path / "law.json", {**FIT, "parameters": {"E": 1.5, "A": None}})
    assert law(tmp_path, "law.json").tables[0][1][1] == "1.5"
    assert sorted(read) == ["law.json", "law.json", "other.json"]


@pytest.mark.parametrize(
    "result", ['{"runs": 3}', '{"trials": [{"folders": 3}]}', '{"runs": [{"run": null}]}']
)
def test_names_of_runs_that_are_none(tmp_path: Path, result: str) -> None:
    study = trial(tmp_path, 1)
    (study / "result.json").write_text(result)
    page(tmp_path, f"/studies/{id_of(study)}")
    assert client(tmp_path).get("/laws").status_code == 200
