"""``danlu sample --out`` of runs that show pictures and generate none: autoencoders, fits of coordinates."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from danlu.files.overwrite import MARK
from danlu.spec import resolve
from tests.cli.test_train import danlu
from tests.train import small

QUICK = ["train.steps=1", "train.device=cpu", "train.compile=false"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture in coordinates, a sound, an autoencoder of images and one of points."""
    folder = tmp_path_factory.mktemp("shown")
    images = np.random.default_rng(0).uniform(-1, 3, size=(40, 1, 4, 4)).astype(np.float32)
    np.save(folder / "images.npy", images)
    arrays = ["data.kind=arrays", f"data.file={folder / 'images.npy'}"]
    made = {
        "distance": ["signed-distance", "data.pixels=16", "width=8"],
        "chirp": ["siren-chirp", "width=8"],
        "images": ["vae-digits", *arrays, "objective.judge=energy", "objective.samples=16"],
    }
    for name, words in made.items():
        small.go(resolve([*words, *QUICK]), folder / name)
    return folder


def pixels(path: Path) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(path.read_bytes())))


def test_a_fit_is_written_as_its_picture(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each number of the signal is a square of the PNG, from its least to its greatest."""
    assert danlu("sample", str(runs / "distance"), "--json") == 0
    values = np.array(json.loads(capsys.readouterr().out)["images"])[0, 0]
    assert danlu("sample", str(runs / "distance"), "--out", str(tmp_path / "x.png"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["out"]) == ("picture", str(tmp_path / "x.png")) and "images" not in told
    seen = pixels(tmp_path / "x.png").squeeze()
    side = seen.shape[0] // len(values)
    expected = ((values + 1) / 2).clip(0, 1) * 255
    assert np.abs(seen[::side, ::side].astype(float) - expected).max() <= 0.51


def test_an_autoencoder_is_written_as_rows(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data, reconstructions and draws; the scale is that of the data, from −1 to 3."""
    assert danlu("sample", str(runs / "images"), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert danlu("sample", str(runs / "images"), "--out", str(tmp_path / "x.png")) == 0
    said = capsys.readouterr()
    assert said.out == "" and "data, reconstructions, draws" in said.err
    data = np.array(shown["data"])[:, 0]
    low, high = min(0, data.min()), max(1, data.max())
    rows = [np.array(shown[name])[:, 0] for name in ("data", "reconstructions", "draws")]
    seen = pixels(tmp_path / "x.png").squeeze()
    across, down = len(data), len(rows)
    side = (seen.shape[1] + 2) // across
    assert seen.shape == (down * side - 2, across * side - 2)
    for i, row in enumerate(rows):
        for j, image in enumerate(row[:across]):  # of draws there are more
            corner = ((image[0, 0] - low) / (high - low)).clip(0, 1) * 255
            assert abs(float(seen[i * side, j * side]) - corner) <= 0.51
    for ending in ("svg", "html"):
        path = tmp_path / f"x.{ending}"
        assert danlu("sample", str(runs / "images"), "--out", str(path)) == 0
        assert MARK in path.read_text() and "data:image/png;base64" in path.read_text()


def test_a_tone_is_written_as_its_points(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal and what the network makes of it, one panel each; a point beyond the first is counted."""
    assert danlu("sample", str(runs / "chirp"), "--out", str(tmp_path / "x.svg")) == 0
    drawn = (tmp_path / "x.svg").read_text()
    beyond = re.findall(r">([\d,]+) beyond the frame<", drawn)
    assert drawn.count("h0") + sum(int(n.replace(",", "")) for n in beyond) == 2 * 1024
    assert ">the signal<" in drawn and ">as the network has it<" in drawn
    assert danlu("sample", str(runs / "chirp"), "--out", str(tmp_path / "x.html")) == 0
    assert ">the signal<" in (tmp_path / "x.html").read_text()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("run", "words", "sentence"),
    [
        ("chirp", ["--out", "x.png"], "x.png: points are written as .svg or .html; name such a file, or see"),
        (
            "distance",
            ["--out", "x.npy"],
            "x.npy: pictures are written as .png, .svg or .html; name such a",
        ),
        ("distance", ["--out", "x.txt"], "x.txt: samples are written as "),
        ("distance", ["--steps", "3"], "shows answers; allowed: --out, --force, --step, --json, --with"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    runs: Path, run: str, words: list[str], sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert danlu("sample", str(runs / run), *words) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
