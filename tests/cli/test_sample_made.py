"""``danlu sample`` of runs that generate: options, files, JSON, and one sentence for what does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest import CaptureFixture

import danlu as door
from danlu.cli.schemas import SCHEMAS
from danlu.files.json import misfit
from danlu.spec import DanluError, resolve
from tests.cli.test_train import danlu
from tests.draw.test_page import read
from tests.train import small
from tests.train.test_own_data import FLOW, UNET

QUICK = [*FLOW, "train.steps=2", "train.evaluate_every=2", "objective.conditional=true"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points by a flow, images of colour by denoising, classes of images, text."""
    folder = tmp_path_factory.mktemp("made")
    np.savez(folder / "x.npz", x=np.random.default_rng(0).uniform(size=(40, 3, 4, 4)), y=["cat", "dog"] * 20)
    arrays = ["data.kind=arrays", f"data.file={folder / 'x.npz'}", "data.labels=y"]
    small.go(resolve(["flow-8gaussians", "model.layers=1", *QUICK]), folder / "points")
    small.go(resolve(["denoise-8gaussians", UNET, *arrays, *QUICK]), folder / "images")
    classes = ["digits", *arrays, "train.steps=2", "train.device=cpu", "train.evaluate_every=2"]
    small.go(resolve(classes), folder / "classes")
    small.run(small.corpus(folder), folder / "text", "train.steps=2")
    return folder


def out(capsys: CaptureFixture[str], *words: object) -> str:
    assert danlu("sample", *map(str, words)) == 0
    return capsys.readouterr().out


def made(capsys: CaptureFixture[str], *words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out(capsys, *words, "--json"))
    assert misfit(found, SCHEMAS["sample"].shape) == ""
    return found


def alike(some: Any, others: Any) -> bool:
    """Equal but for rounding: where numbers lie in memory decides how products of floats are summed."""
    return np.shape(some) == np.shape(others) and np.allclose(some, others, rtol=1e-4, atol=1e-4)


def test_the_seed_decides(runs: Path, capsys: CaptureFixture[str]) -> None:
    words = runs / "points", "--count", 5
    first = made(capsys, *words, "--seed", 3)
    assert np.shape(first["points"]) == (5, 2) and first["classes"] == list("01234")
    assert alike(made(capsys, *words, "--seed", 3)["points"], first["points"])
    assert not alike(made(capsys, *words, "--seed", 4)["points"], first["points"])
    more = made(capsys, runs / "points", "--count", 9, "--seed", 3)
    assert alike(more["points"][:5], first["points"])  # a sample does not depend on its neighbours


@pytest.mark.parametrize(
    ("run", "solver", "steps", "evaluations"),
    [
        ("points", "euler", 3, 3),
        ("points", "heun", 3, 6),
        ("points", "rk4", 3, 12),
        ("points", "dpm2", 3, 5),  # over the levels of these times, at last 0
        ("points", "dpm2m", 3, 3),
        ("points", "churn", 3, 5),
        ("images", "euler", 3, 3),
        ("images", "heun", 3, 5),  # the last step is Euler's
        ("images", "dpm2", 3, 5),
        ("images", "dpm2m", 3, 3),
        ("images", "churn", 3, 5),
        ("images", "rk4", 3, 9),
    ],
)
def test_solvers_and_what_they_ask(
    runs: Path, capsys: CaptureFixture[str], run: str, solver: str, steps: int, evaluations: int
) -> None:
    found = made(capsys, runs / run, "--solver", solver, "--steps", steps, "--count", 2)
    assert (found["solver"], found["steps"], found["evaluations"]) == (solver, steps, evaluations)


def test_the_run_itself_is_the_default(runs: Path, capsys: CaptureFixture[str]) -> None:
    """Two steps of Heun: what the specification says, and what no option changes."""
    plain = made(capsys, runs / "points", "--count", 3)
    same = made(capsys, runs / "points", "--count", 3, "--steps", 2, "--solver", "heun")
    assert alike(plain.pop("points"), same["points"])
    assert plain == {name: value for name, value in same.items() if name != "points"}
    assert not alike(made(capsys, runs / "points", "--count", 3, "--steps", 3)["points"], same["points"])


def test_a_class_and_guidance(runs: Path, capsys: CaptureFixture[str]) -> None:
    """A class has a name or a number; with guidance the network is asked twice, and w = 1 is none."""
    words = runs / "images", "--count", 3
    by_name = made(capsys, *words, "--class", "dog")
    assert by_name["classes"] == ["dog"] * 3
    for same in (["1"], ["dog", "--guidance", 1]):
        found = made(capsys, *words, "--class", *same)
        assert alike(found.pop("images"), by_name["images"])
        assert found == {name: value for name, value in by_name.items() if name != "images"}
    guided = made(capsys, *words, "--class", "dog", "--guidance", 3)
    assert guided["evaluations"] == 2 * by_name["evaluations"]
    assert not np.array_equal(guided["images"], by_name["images"])


def test_files_hold_the_samples(runs: Path, tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    words = runs / "images", "--count", 5
    expected = np.array(made(capsys, *words)["images"])
    for ending in ("npy", "npz", "csv"):
        assert out(capsys, *words, "--out", tmp_path / f"x.{ending}") == ""
    assert alike(np.load(tmp_path / "x.npy", allow_pickle=False), expected)
    both = np.load(tmp_path / "x.npz", allow_pickle=False)
    assert alike(both["samples"], expected) and both["classes"].tolist() == [0, 1, 0, 1, 0]
    assert (
        out(capsys, *words, "--out", tmp_path / "x.npz") == ""
    )  # danlu's own, by its mark, is written again
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert (head[0], head[47], head[48]) == ("x0", "x47", "class")
    assert [row[48] for row in rows] == ["cat", "dog", "cat", "dog", "cat"]
    assert alike(np.array([row[:48] for row in rows], float), expected.reshape(5, -1))


def test_a_png_is_the_samples(runs: Path, tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    """Read by another program, each cell of the grid is an image, cut to [0, 1]."""
    image = pytest.importorskip("PIL.Image")
    words = runs / "images", "--count", 5
    expected = np.array(made(capsys, *words)["images"]).clip(0, 1)
    out(capsys, *words, "--out", tmp_path / "x.png")
    pixels = np.asarray(image.open(tmp_path / "x.png"))
    side = (pixels.shape[1] + 2) // 3 - 2  # three columns, two rows, two pixels between
    for i in range(5):
        top, left = i // 3 * (side + 2), i % 3 * (side + 2)
        cell = pixels[top : top + side, left : left + side].reshape(4, side // 4, 4, side // 4, 3)
        assert np.ptp(cell, axis=(1, 3)).max() == 0
        assert np.abs(cell[:, 0, :, 0] / 255 - expected[i].transpose(1, 2, 0)).max() <= 0.5 / 255 + 1e-3


@pytest.mark.parametrize("run", ["points", "images"])
def test_figures_and_pages(runs: Path, tmp_path: Path, capsys: CaptureFixture[str], run: str) -> None:
    """Written over where danlu wrote them; a page loads nothing, and shows something without scripts."""
    from xml.dom import minidom

    for _ in range(2):
        out(capsys, runs / run, "--count", 4, "--out", tmp_path / "x.svg")
        out(capsys, runs / run, "--count", 4, "--out", tmp_path / "x.html")
    minidom.parse(str(tmp_path / "x.svg"))
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    page = read(html)
    assert {"script", "noscript", "button", "input", "svg"} <= page.tags
    assert not {"src", "onerror"} & page.attributes and "http" not in html.replace("http://www.w3.org", "")
    still = html[html.index("<noscript>") : html.index("</noscript>")]
    assert "step 0" in still and "step 2" in still
    (data,) = [text for text in page.texts if text.startswith('{"frames"')]
    assert len(json.loads(data)["frames"]) == 3  # the noise, and two steps


def test_no_file_of_the_user_is_overwritten(runs: Path, tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    file = tmp_path / "mine.npy"
    file.write_bytes(b"mine")
    assert danlu("sample", str(runs / "points"), "--out", str(file)) == 2
    assert file.read_bytes() == b"mine" and "add --force" in capsys.readouterr().err
    out(capsys, runs / "points", "--count", 2, "--out", file, "--force")
    assert np.load(file).shape == (2, 2)


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        ("points", ["--prompt", "x"], "--prompt is not for this run, whose objective.kind = flow makes"),
        ("points", ["--top-k", "3"], "--top-k is not for this run"),
        ("text", ["--steps", "3"], "--steps is not for this run, whose objective.kind = causal makes text"),
        ("text", ["--class", "3"], "--class is not for this run"),
        ("text", ["--out", "x.npy"], "--out is not for this run"),
        ("classes", ["--count", "3"], "--count is not for this run, whose objective.kind = classify"),
        ("points", ["--solver", "hein"], "did you mean heun?"),
        ("points", ["--steps", "20000"], "objective.steps = 20000"),
        ("points", ["--steps", "0"], "--steps"),
        ("points", ["--guidance", "-1"], "objective.guidance = -1.0"),
        ("points", ["--count", str(2**40)], "allowed: 1 to 8,388,608 at once"),
        ("points", ["--class", "8"], "class = 8 is none of the run's; allowed: 0, 1"),
        ("images", ["--class", "cot"], "none of the run's; did you mean cat?; allowed: cat, dog"),
        ("points", ["--out", "x.gif"], "samples are written as .npy, .npz, .csv, .svg, .png or .html"),
        ("points", ["--out", "x.png"], "a .png is for images; name a .svg file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: CaptureFixture[str],
    run: str,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert danlu("sample", str(runs / run), *words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and captured.err.count("danlu: ") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_told_no_class(tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    words = ["flow-8gaussians", "model.layers=1", *QUICK, "objective.conditional=false"]
    small.go(resolve(words), tmp_path / "run")
    for option in (["--class", "1"], ["--guidance", "2"]):
        assert danlu("sample", str(tmp_path / "run"), *option) == 2
        assert "is told no classes; train one with objective.conditional=true" in capsys.readouterr().err
    assert made(capsys, tmp_path / "run", "--count", 2)["classes"] is None


def test_from_python(runs: Path, tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    run = door.run(runs / "points")
    samples = run.generate(7, steps=3, solver="euler", label=2, seed=1)
    words = ["--count", 7, "--steps", 3, "--solver", "euler", "--class", 2, "--seed", 1]
    said = made(capsys, runs / "points", *words)
    assert alike(np.asarray(samples), said["points"])
    assert repr(samples) == f"7 points of {runs / 'points'} in 3 steps of euler, seed 1"
    shown = samples._repr_mimebundle_()
    assert "<table>" in shown["text/html"] and shown["image/svg+xml"].startswith("<svg")
    samples.save(tmp_path / "x.npy")
    with pytest.raises(DanluError, match="is there already"):
        samples.save(tmp_path / "x.npy")
    with pytest.raises(DanluError, match="generates neither points nor images"):
        door.run(runs / "text").generate()
