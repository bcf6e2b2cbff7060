"""What the pages show is what the files say."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from danlu.draw.phrases import chinese
from danlu.draw.picture import png
from danlu.files.json import to_json, write_json
from danlu.files.lock import Lock
from danlu.lab import ledger
from danlu.lab.claims import book
from danlu.lab.claims.results import kept as results
from danlu.lab.queue.control import CONTROL
from danlu.lab.queue.journal import JOURNAL
from danlu.lab.trial.kept import keep
from danlu.spec import Metric
from danlu.watch.guard import STILL
from danlu.watch.place import id_of
from danlu.watch.studies import difference, finding_rows
from danlu.watch.sweeps import Parallel
from tests.chinese import left
from tests.lab.reading.folders import make_run
from tests.watch.pages import FROM_A_PAGE, KEYS, client, page

BITS = Metric("bits_per_byte", "bits/byte", "lower")
STEPS = (1, 2, 4, 8)


def svg(folder: Path, address: str) -> ElementTree.Element:
    answer = client(folder).get(address)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"] == STILL
    return ElementTree.fromstring(answer.text)


def tips(drawn: ElementTree.Element) -> list[str]:
    return [title.text or "" for title in drawn.iter("{http://www.w3.org/2000/svg}title")]


# ---------------------------------------------------------------- a run


def test_curves_of_a_run_and_their_numbers(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a", scores={1: 3.0, 2: math.nan, 4: 2.5}, finished=False)
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 8, "tokens": 512, "seconds": 4.0, "bits_per_by')  # torn
    found = page(tmp_path, f"/run/{id_of(run)}?metric=bits_per_byte")
    assert found.tables[0] == [["steps", "bits_per_byte"], ["1", "3"], ["2", "nan"], ["4", "2.5"]]
    at = page(tmp_path, f"/run/{id_of(run)}?metric=bits_per_byte&x=flops").tables[0]
    assert at[1:] == [["640", "3"], ["1280", "nan"], ["2560", "2.5"]]
    (image,) = found.all("img")
    drawn = svg(tmp_path, image["src"] or "")
    assert "1 left out: not finite" in "".join(drawn.itertext())
    lines = (run / "metrics.jsonl").read_text().splitlines()[:2]  # the run is taken back to step 1
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert page(tmp_path, f"/run/{id_of(run)}?metric=bits_per_byte").tables[0][1:] == [["1", "3"]]


def test_a_run_that_has_not_begun_or_is_damaged(tmp_path: Path) -> None:
    new, damaged = (make_run(tmp_path / "runs" / name, finished=False) for name in ("new", "damaged"))
    (new / "metrics.jsonl").unlink()
    assert "It has measured nothing yet." in page(tmp_path, f"/run/{id_of(new)}").text
    text = (damaged / "metrics.jsonl").read_text()
    (damaged / "metrics.jsonl").write_text("nonsense\n" + text)
    assert "line 1: not a JSON object" in page(tmp_path, f"/run/{id_of(damaged)}", 400).text
    assert page(tmp_path, "/").text.count("damaged") >= 1


def test_differences_of_configuration(tmp_path: Path) -> None:
    one = make_run(tmp_path / "runs" / "one", "nano optimizer.lr=1e-3 train.seed=3")
    other = make_run(tmp_path / "runs" / "other", "nano optimizer.lr=1e-2 +qk-norm")
    for named in (id_of(other), "runs/other"):
        found = page(tmp_path, f"/run/{id_of(one)}?against={named}")
        (table,) = [table for table in found.tables if table[0][0] == "field" and len(table[0]) == 3]
        rows = {row[0]: row[1:] for row in table[1:]}
        assert rows["optimizer.lr"] == ["0.001", "0.01"] and rows["train.seed"] == ["3", "0"]
        assert any(name.startswith("model.mixer.qk_norm") for name in rows)
        assert len(rows) < 15
    assert "no run called nothing" in page(tmp_path, f"/run/{id_of(one)}?against=nothing").text


def test_what_is_inside(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a")
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        for step in (1, 2):
            file.write(
                to_json({"step": step, "inside": {"stream/blocks.0": 1.5 * step, "stream/blocks.1": 4.0}})
                + "\n"
            )
    found = page(tmp_path, f"/run/{id_of(run)}?inside=stream")
    image = next(at for at in found.all("img") if "inside.svg" in str(at["src"]))
    assert "blocks.0, step 2: 3" in tips(svg(tmp_path, image["src"] or ""))
    assert client(tmp_path).get(f"/run/{id_of(run)}/inside.svg?statistic=nothing").status_code == 400


def test_pictures_and_points_by_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a")
    (run / "samples").mkdir()
    for step in (100, 20):
        (run / "samples" / f"step-{step}.png").write_bytes(png(bytes(4), 2, 2, 1))
    np.save(run / "samples" / "step-3.npy", np.array([[0.0, 1.0], [2.0, 3.0]]))
    np.save(run / "samples" / "step-4.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(run / "samples" / "step-5.npy", np.zeros(3))
    (run / "samples" / "bad.svg").write_text("<svg><script>alert(1)</script></svg>")
    secret = tmp_path.parent / f"{tmp_path.name}-secret.png"
    secret.write_bytes(b"secret")
    os.symlink(secret, run / "samples" / "step-999.png")
    found = page(tmp_path, f"/run/{id_of(run)}")
    shown = [str(at["alt"]) for at in found.all("img") if "/made/" in str(at["src"])]
    assert shown == ["samples/bad.svg"] + [
        f"samples/step-{step}" for step in ("3.npy", "4.npy", "5.npy", "20.png", "100.png", "999.png")
    ]
    there, base = client(tmp_path), f"/run/{id_of(run)}/made"
    codes = [there.get(f"{base}/{k}").status_code for k in range(8)]
    assert codes == [200, 200, 400, 400, 200, 200, 404, 404]
    assert there.get(f"{base}/4").headers["content-type"] == "image/png"
    bad = there.get(f"{base}/0").headers  # whatever is in it, nothing runs
    assert bad["content-type"] == "image/svg+xml" and bad["content-security-policy"] == STILL


def test_several_runs_side_by_side(tmp_path: Path) -> None:
    one = make_run(tmp_path / "runs" / "one", "nano optimizer.lr=1e-3", [3.0, 2.5])
    other = make_run(tmp_path / "runs" / "other", "nano optimizer.lr=1e-2", [3.0, 2.0])
    found = page(tmp_path, f"/compare?run={id_of(one)}&run={id_of(other)}&run=nothing")
    assert found.tables[0][0] == ["", "runs/one", "runs/other"]
    assert ["optimizer.lr", "0.001", "0.01"] in found.tables[0]
    drawn = svg(tmp_path, str(found.all("img")[0]["src"]))
    assert {"runs/one", "runs/other"} <= set(tips(drawn))
    assert page(tmp_path, "/compare").tables == []


# ---------------------------------------------------------------- studies


def swept(folder: Path) -> None:
    """A sweep among the studies."""
    sweep = folder / "studies" / "sweep"
    sweep.mkdir()
    write_json(sweep / "study.json", {"verb": "sweep", "words": ["nano"]})
    write_json(sweep / "result.json", sweep_result())


def busy(folder: Path, tries: int = 1) -> None:
    """A queue with a job under way, one that ended and one that was paused."""
    now = time.time()
    rows = [{"time": now - 9, "job": "live", "event": "started", "try": tries},
            {"time": now - 8, "job": "base-0", "event": "finished", "try": 1},
            {"time": now - 7, "job": "base-1", "event": "paused"}]  # fmt: skip
    (folder / "studies" / JOURNAL).write_text("".join(json.dumps(row) + "\n" for row in rows))


def trial(folder: Path, seeds: int = 3, *, ended: bool = True) -> Path:
    """A trial whose variant is better by 0.1 at seed 0, 0.2 at seed 1, … at each step."""
    pool, study = folder / "studies" / "runs", folder / "studies" / "try-x"
    runs = []
    for seed in range(seeds):
        b = make_run(pool / f"base-{seed}", f"nano train.seed={seed}", {s: 3.0 / s for s in STEPS})
        v = make_run(pool / f"x-{seed}", f"nano train.seed={seed} +qk-norm",
                     {s: 3.0 / s - 0.1 * (seed + 1) for s in STEPS})  # fmt: skip
        runs.append((seed, b, v))
    study.mkdir()
    write_json(study / "study.json", {"verb": "try", "ideas": ["x"], "on": "nano"})
    keep(study, [BITS], {("+x", "steps"): runs})
    if ended:
        write_json(study / "result.json", [finding(seeds)])
    return study


def finding(seeds: int, **changes: Any) -> dict[str, Any]:
    return {
        "idea": "+x", "metric": "bits_per_byte", "unit": "bits/byte", "better": "lower", "at": "steps",
        "verdict": "better", "difference": -0.2, "interval": [-0.3, -0.1], "level": 0.95, "p": 0.01,
        "pairs": [{"seed": s, "baseline": 0.4, "variant": 0.4 - 0.1 * (s + 1), "difference": -0.1 * (s + 1)}
                  for s in range(seeds)],
        "regime": {"early": ["40 updates (2,000 are needed)"]}, "note": "",
        "analyses": [{"way": "by the best evaluation", "verdict": "not shown"}],
    } | changes  # fmt: skip


def test_paired_differences_over_steps_come_first(tmp_path: Path) -> None:
    study = trial(tmp_path)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    sources = [str(at["src"]) for at in found.all("img")]
    assert "difference.svg" in sources[0] and "forest.svg" in sources[-1]
    head, *rows = found.tables[0]
    assert head == ["step", "mean", "95 % from", "to", "seed 0", "seed 1", "seed 2"]
    mean, error = -0.2, 0.1 / math.sqrt(3)  # of −0.1, −0.2, −0.3
    low, high = stats.t.interval(0.95, 2, mean, error)
    for step, row in zip(STEPS, rows, strict=True):
        assert row == [
            str(step),
            f"{mean:+.4f}",
            f"{low:+.4f}",
            f"{high:+.4f}",
            "-0.1000",
            "-0.2000",
            "-0.3000",
        ]
    assert "not for all steps together" in found.text
    drawn = svg(tmp_path, sources[0])
    assert "mean" in tips(drawn)


def test_what_was_not_measured_has_empty_cells() -> None:
    none = finding(0, at="time", verdict="not measured", difference=None, interval=[None, None], p=1.0)
    assert finding_rows([none])[1] == ("+x", "active time", "not measured", "", "", "", "")


@pytest.mark.parametrize(("metric", "other"), [("loss", True), ("bits_per_byte", False)])
def test_a_figure_of_the_training_loss_says_that_it_is(metric: str, other: bool) -> None:
    drawn = difference(
        ([1.0, 2.0], {0: [0.1, 0.2], 1: [0.2, 0.3]}), metric, "lower", "bits_per_byte", "nats/token"
    )
    assert ("training loss in nats/token. The verdict is about another quantity" in drawn.caption) == other
    assert left([chinese(drawn.caption)]) == []


def test_a_verdict_is_never_without_its_regime(tmp_path: Path) -> None:
    study = trial(tmp_path)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert "better (early)" in found.text and "early: 40 updates (2,000 are needed)" in found.text
    assert "by the best evaluation: not shown" in found.text
    table = next(table for table in found.tables if table[0][0] == "idea")
    assert table[1][2] == "better (early)"
    said = tips(svg(tmp_path, f"/studies/{id_of(study)}/forest.svg"))
    assert [tip for tip in said if tip.startswith("seed")] == [f"seed {s}: -0.{s + 1}000" for s in range(3)]
    assert "better (early)" in page(tmp_path, "/studies").text


def test_a_study_under_way(tmp_path: Path) -> None:
    study = trial(tmp_path, ended=False)
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert "nothing is decided yet" in found.text and len(found.tables[0]) == 1 + len(STEPS)
    assert client(tmp_path).get(f"/studies/{id_of(study)}/forest.svg").status_code == 404
    for file in ("metrics.jsonl", "experiment.yaml"):
        (tmp_path / "studies" / "runs" / "x-2" / file).unlink()
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert "1 pairs are still to come" in found.text and found.tables[0][0][-1] == "seed 1"


NOTHING = [
    "[]",
    "{}",
    "[1]",
    "null",
    "nonsense",
    '[{"idea": "x"}]',
    '{"ideas": [{}]}',
    '{"trials": 3}',
    '"text"',
]


@pytest.mark.parametrize("result", NOTHING)
def test_a_result_that_says_nothing_ends_no_page(tmp_path: Path, result: str) -> None:
    study = trial(tmp_path, 1)
    (study / "result.json").write_text(result)
    for pairs in ("nonsense", "[]", '[{"idea": 3}]'):
        page(tmp_path, f"/studies/{id_of(study)}")
        (study / "pairs.json").write_text(pairs)
    page(tmp_path, "/studies")


def test_gains_across_scale(tmp_path: Path) -> None:
    study = trial(tmp_path, 1)
    (study / "pairs.json").unlink()
    rungs = [{"rung": {"flops": 10.0**k, "parameters": 10**k}, "gain": [1.5, 1.2, None]} for k in (12, 13)]
    one = {"idea": "+x", "verdict": "scale-bound", "why": "the gain shrinks", "gain": [0.9, 0.5, 1.6],
           "target_flops": 1e15, "rungs": rungs, "regime": {"early": []}}  # fmt: skip
    write_json(study / "result.json", {"ideas": [one]})
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert "scale-bound" in found.text and "the gain shrinks" in found.text
    assert found.tables[-1][1:] == [
        ["+x", "1,000,000,000,000", "1e+12", "1.5", "1.2", "?"],
        ["+x", "10,000,000,000,000", "1e+13", "1.5", "1.2", "?"],
        ["+x", "predicted", "1e+15", "0.9", "0.5", "1.6"],
    ]
    svg(tmp_path, f"/studies/{id_of(study)}/gain.svg")


def test_the_page_of_a_verb_is_shut_off(tmp_path: Path) -> None:
    study = trial(tmp_path, 1)
    assert client(tmp_path).get(f"/studies/{id_of(study)}/report").status_code == 404
    (study / "report.html").write_text("<script>alert(1)</script><p>drawn")
    answer = client(tmp_path).get(f"/studies/{id_of(study)}/report")
    assert answer.status_code == 200 and answer.headers["content-security-policy"] == STILL
    (study / "report.html").unlink()
    os.symlink("/etc/hostname", study / "report.html")
    assert client(tmp_path).get(f"/studies/{id_of(study)}/report").status_code == 404


def sweep_result(**changes: Any) -> dict[str, Any]:
    points = [
        ({"optimizer.lr": 1e-4, "model.kind": "a"}, 3.0), ({"optimizer.lr": 1e-1, "model.kind": "b"}, 2.0),
        ({"optimizer.lr": 1e-2, "model.kind": "", "x": None}, 2.5),
        ({"optimizer.lr": 10.0, "model.kind": "a"}, None),
    ]  # fmt: skip
    return {
        "metric": "bits_per_byte", "unit": "bits/byte", "better": "lower",
        "fields": ["optimizer.lr", "model.kind"],
        "trials": [{"number": i, "point": point, "state": "finished" if value else "diverged",
                    "value": value, "by": "grid", "updates": 10, "folders": []}
                   for i, (point, value) in enumerate(points, 1)],
        "importance": {"by": "functional ANOVA", "shares": {"optimizer.lr": 0.9}, "pairs": {}},
        "border": [{"sentence": "the best lies at the upper end of optimizer.lr (0.1): extend it upwards"}],
        "warnings": [], "counts": {"finished": 3, "diverged": 1}, "study_variance": None,
        "best": {"value": 2.0, "words": ["nano", "optimizer.lr=0.1"]},
        "spent": {"runs": 4, "updates": 40, "flops": 1e9, "seconds": 3.0},
    } | changes  # fmt: skip


def test_a_sweep(tmp_path: Path) -> None:
    study = trial(tmp_path, 1)
    write_json(study / "result.json", sweep_result())
    found = page(tmp_path, f"/studies/{id_of(study)}")
    assert "extend it upwards" in found.text and len(found.tables[0]) == 5
    said = tips(svg(tmp_path, f"/studies/{id_of(study)}/parallel.svg"))
    assert len(said) == 4 and any("#4" in tip and "diverged" in tip for tip in said)
    assert len(tips(svg(tmp_path, f"/studies/{id_of(study)}/parallel.svg?share=half"))) == 2
    svg(tmp_path, f"/studies/{id_of(study)}/importance.svg")


def test_parallel_coordinates_leave_no_trial_out() -> None:
    drawn = Parallel(sweep_result())
    rate, kind, metric = drawn.axes
    assert rate.log and not kind.numeric and kind.lacking and metric.lacking and not metric.log
    root = ElementTree.fromstring(drawn.svg())
    words = "".join(root.itertext())
    assert "none" in words and "diverged" in words and "log" in words
    lines = [line.get("points", "") for line in root.iter("{http://www.w3.org/2000/svg}polyline")]
    places = [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]
    assert [len(line) for line in places] == [3] * 4
    heights = {line[0][1] for line in places}  # 1e-4, 1e-2, 1e-1, 10: in the logarithm 0, 2, 3, 5
    low, *_, high = ordered = sorted(heights, reverse=True)
    assert [round(5 * (low - y) / (low - high), 1) for y in ordered] == [0, 2, 3, 5]
    best = ElementTree.tostring(list(root.iter("{http://www.w3.org/2000/svg}polyline"))[-1]).decode()
    assert "#fde725" in best and "2.0000" in best  # yellow, and on top
    higher = Parallel(sweep_result(better="higher"))
    assert higher.trials[-1]["value"] == 3.0


# ---------------------------------------------------------------- the queue


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    pool = tmp_path / "studies" / "runs"
    for name in ("run-a", "run-b", "run-c"):
        make_run(pool / name, "nano train.steps=10", [3.0, 2.0], finished=name == "run-c")
    old = time.time() - 1000
    rows = [
        {"time": old, "job": "run-a", "event": "started", "try": 2},
        {"time": old, "job": "run-b", "event": "started", "try": 1},
        {"time": old + 1, "job": "run-b", "event": "paused"},
        {"time": old + 2, "job": "run-c", "event": "finished", "try": 1},
        {"time": "soon", "job": "run-z", "event": "finished"}, ["nothing"],
    ]  # fmt: skip
    (tmp_path / "studies" / JOURNAL).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"ti')
    return tmp_path


def states(folder: Path) -> dict[str, str]:
    return {row[0]: row[1] for table in page(folder, "/queue").tables for row in table[1:]}


def test_jobs_by_their_last_event(queue: Path) -> None:
    assert states(queue) == {"run-a": "left", "run-b": "paused", "run-c": "finished"}
    lock = Lock(queue / "studies" / "runs" / "run-a" / ".lock", wait=0, named=True)
    try:
        found = page(queue, "/queue")
        assert states(queue)["run-a"] == "running"
        wants = [(at["value"]) for at in found.all("input", name="want")]
        assert wants == ["pause", "stop", "pause", "stop", "resume", "stop"]
        assert [row[2] for row in found.tables[0][1:]] == ["2 of 10", "2 of 10"]
        assert {at["value"] for at in found.all("input", name="token")} == {KEYS.write}
    finally:
        lock.release()
    assert "No queue has worked here" in page(queue / "studies" / "runs", "/queue").text


def test_a_wish_is_written_for_the_queue(queue: Path) -> None:
    there = client(queue)
    for job, want in (("run-a", "pause"), ("all", "stop")):
        data = {"job": job, "want": want, "token": KEYS.write}
        answer = there.post("/queue/control", data=data, headers=FROM_A_PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/queue")
    rows = [json.loads(line) for line in (queue / "studies" / CONTROL).read_text().splitlines()]
    assert [(row["job"], row["want"]) for row in rows] == [("run-a", "pause"), ("all", "stop")]
    assert all(abs(time.time() - row["time"]) < 100 for row in rows)


NO_WISHES = [
    ("run-x", "pause"), ("", "pause"), ("run-a", ""), ("run-a", "delete"), ("../run-a", "stop"),
    ("all", "PAUSE"),
]  # fmt: skip


@pytest.mark.parametrize(("job", "want"), NO_WISHES)
def test_no_other_wish_is_written(queue: Path, job: str, want: str) -> None:
    data = {"job": job, "want": want, "token": KEYS.write}
    answer = client(queue).post("/queue/control", data=data, headers=FROM_A_PAGE)
    assert answer.status_code == 400 and not (queue / "studies" / CONTROL).exists()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_post_writes(queue: Path, method: str) -> None:
    headers = FROM_A_PAGE | {"x-danlu-token": KEYS.write}
    answer = client(queue).request(method, "/queue/control?job=all&want=stop", headers=headers)
    assert answer.status_code == 405 and not (queue / "studies" / CONTROL).exists()


def test_nothing_is_written_through_a_link(queue: Path) -> None:
    target = queue.parent / f"{queue.name}-target"
    target.write_text("")
    os.symlink(target, queue / "studies" / CONTROL)
    data = {"job": "all", "want": "stop", "token": KEYS.write}
    answer = client(queue).post("/queue/control", data=data, headers=FROM_A_PAGE)
    assert answer.status_code == 400 and target.read_text() == ""


# ---------------------------------------------------------------- ledger, book, laws


def test_the_ledger_with_its_evidence(tmp_path: Path) -> None:
    study = trial(tmp_path, 2)
    entry = ledger.record(
        verdict="better", statement="It <b>helps</b>", seeds=3, idea="+x", on="nano", at="equal steps",
        effect=-0.2, interval=(-0.3, -0.1), unit="bits per byte", evidence=[Path("studies/try-x")],
        file=tmp_path / "ledger.yaml",
    )  # fmt: skip
    found = page(tmp_path, "/ledger")
    row = dict(zip(*found.tables[0][:2], strict=True))
    assert row["idea"] == "+x" and row["verdict"] == "better" and row["effect"] == "-0.2 bits per byte"
    links = [str(at["href"]) for at in found.all("a") if str(at["href"]).startswith("/ledger/")]
    assert links == [f"/ledger/{entry.id}"]
    one = page(tmp_path, links[0])
    assert "It <b>helps</b>" in one.text and not one.all("b")
    assert [at for at in one.all("a") if at["href"] == f"/studies/{id_of(study)}"]
    page(tmp_path, "/ledger/nothing", 404)
    (tmp_path / "ledger.yaml").write_text("- nonsense: [")
    page(tmp_path, "/ledger", 400)


def test_the_book_says_what_the_results_say(tmp_path: Path) -> None:
    claims = book.claims()
    found = page(tmp_path, "/book")
    assert len(found.tables[0]) == 1 + len(claims)
    known = results(claims)
    name = next(name for name, one in known.items() if one.of(claims[name]) and one.verdict == "holds")
    row = next(row for row in found.tables[0] if row[0] == claims[name].statement)
    assert row[1] == known[name].said
    one = page(tmp_path, f"/book/{name}")
    assert known[name].said in one.text and claims[name].holds is not None
    svg(tmp_path, f"/book/{name}/effects.svg")
    page(tmp_path, "/book/nothing", 404)


def test_a_folder_with_nothing(tmp_path: Path) -> None:
    for address in ("/", "/studies", "/queue", "/ledger", "/laws", "/compare"):
        page(tmp_path, address)
