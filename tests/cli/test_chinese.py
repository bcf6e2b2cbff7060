"""What verbs print in Chinese: no English sentence is left, and the numbers are those of the English.

Each command is carried out in both languages. What may stand in English is named: fields, names of laws and
ideas, sources, commands.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.laws.base import LAWS
from danlu.laws.plan.published import PUBLISHED
from danlu.spec import catalog
from tests.chinese import left, numbers
from tests.lab.ledger.entries import IN_REGIME, add


def _write(file: Path, columns: dict[str, np.ndarray]) -> None:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    text = "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)])
    file.write_text(text + "\n", encoding="utf-8")


def _loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    scatter = np.random.default_rng(0).standard_normal(n.size)
    return (1.69 + 406.4 / n**0.339 + 410.7 / d**0.285) * np.exp(0.002 * scatter)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points of several kinds, and a ledger."""
    here = tmp_path_factory.mktemp("verbs")
    n, ratio = (one.ravel() for one in np.meshgrid(np.geomspace(2e7, 2e9, 6), [5, 20, 80]))
    d = n * ratio
    loss = _loss(n, d)
    kind = np.array(["a", "b"])[np.arange(n.size) % 2]
    _write(here / "points.csv", {"n": n, "d": d, "loss": loss, "kind": kind})
    task = 0.4 * loss - 0.1 + 0.002 * np.sin(np.arange(n.size))
    right = 0.25 + 0.6 / (1 + np.exp(6 * (task - 0.9))) + 0.005 * np.cos(np.arange(n.size))
    _write(here / "tasks.csv", {"n": n, "d": d, "loss": loss, "task_loss": task, "accuracy": right})
    c = np.repeat([1e18, 1e19, 1e20], 7)
    n = 0.18 * (c / 6) ** 0.5 * np.exp(np.tile(np.linspace(-1.2, 2.4, 7), 3))
    _write(here / "profiles.csv", {"n": n, "c": c, "loss": _loss(n, c / 6 / n)})
    n = np.repeat(np.geomspace(1e7, 1e9, 6), 20)
    d = n * np.tile(np.geomspace(1, 200, 20), 6)
    _write(here / "curves.csv", {"model": np.repeat(np.arange(6), 20), "n": n, "d": d, "loss": _loss(n, d)})
    early = {"updates": 300, "early": ["300 updates (2,000 are needed)"]}
    for at, regime in (("steps", IN_REGIME), ("seconds", early)):
        add(here / "ledger.yaml", at=f"equal {at}", regime=regime)
    add(here / "ledger.yaml", idea="lion", verdict="not shown", effect=0.001, interval=(-0.01, 0.012))
    return here


LAW_VERBS = (
    "fit points.csv --resamples 10", "fit points.csv --group kind --shared E --resamples 10",
    "fit points.csv --where n<1e9 --law kaplan-n --resamples 10",
    "plan --flops 1e22", "plan --flops 1e22 --price 2 --serve 1e12 --gpus 64",
    "plan --flops 1e23 --gpus 1 --price 2",
    "plan --parameters 1B --unique-tokens 1e9 --tokens 6e9",
    "plan --parameters 1B --unique-tokens 1e8 --tokens 6e9",
    "plan --flops 1e24 --published", "plan --flops 1e21 --by fit.json",
    "chain tasks.csv --at n=7e9,d=2e11 --resamples 10 --ideal",
    "chain tasks.csv --through loss --resamples 10",
    "isoflop profiles.csv --resamples 10", "isoflop profiles.csv --resamples 10 --noise 0.1 --method akima",
    "isoflop profiles.csv --resamples 10 --where c>5e18", "envelope curves.csv --resamples 10",
    "predict fit.json --n 1B,2B --d 1.4e11", "predict points.csv --n 1B,100B --d 1.4e12 --far",
    "compare points.csv", "design points.csv --budget 1e20 --target loss@1e24 --far --resamples 10",
    "influence points.csv --most 3", "show", "show chinchilla",
)  # fmt: skip
OTHERS = (
    "ledger", "ledger all", "ledger judge", "ledger due", "ledger search qk-norm", "ledger search nothing",
    "show nano --costs", "show flow-8gaussians --costs", "show nano --kernels", "show nano --groups",
    "graph nano", "plan nano --devices 2 --price 2", "depth nano --layers 1,2", "diff nano nano",
    "plan tiny train.steps=9 --devices 8 --device h100", "recipes --family llama2",
    "try qk-norm swiglu --dry-run", "sweep nano lr=1e-3,1e-2 --dry-run",
    "ideas swiglu muon sgd gqa", "ideas gqa diloco --on tiny", "ideas", "doctor", "",
)  # fmt: skip

LONG = ("doctor", "laws compare points.csv", "laws chain tasks.csv --through loss --resamples 10")  # seconds


def _names() -> Iterator[str]:
    """What is called the same in both languages."""
    for law in LAWS.values():
        yield from (law.name, law.paper, *(one.source for one in law.published.values()), *law.published)
    yield from (one.source for one in PUBLISHED.values())
    yield from (one.name for one in PUBLISHED.values())
    yield from catalog.names("recipes")
    for idea in catalog.ideas():
        yield from (idea.name, idea.source or "")
    yield from (*(law.target for law in LAWS.values()), "accuracy", "ln loss", "ln n")
    yield from ("clusters-ignored", "on-nano")
    # What ``doctor`` finds missing where not every extra is installed.
    yield "pip install"
    yield from (re.split(r"[^\w-]", one)[0] for one in importlib.metadata.requires("danlu") or ())


NAMES = [name for name in dict.fromkeys(_names()) if len(name) > 2]


EVERY = [
    pytest.param(one, marks=pytest.mark.slow if one in LONG else ())
    for one in (*map("laws {}".format, LAW_VERBS), *OTHERS)
]


@pytest.mark.parametrize("words", EVERY, ids=lambda words: words)
def test_a_verb_says_no_english(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    said = {}
    for language in ("en", "zh"):
        monkeypatch.setenv("DANLU_LANG", language)
        if "fit.json" in words and not Path("fit.json").exists():
            made = (
                CliRunner().invoke(app, ["laws", "fit", "points.csv", "--resamples", "10", "--json"]).stdout
            )
            Path("fit.json").write_text(made, encoding="utf-8")
        done = CliRunner().invoke(app, shlex.split(words), catch_exceptions=False)
        assert done.exit_code == 0
        said[language] = done.output.splitlines()
    assert left(said["zh"], NAMES) == []
    if not (words.startswith(("ideas", "doctor")) or "--dry-run" in words):  # words in digits; measured speed
        assert numbers("\n".join(said["zh"])) == numbers("\n".join(said["en"]))
