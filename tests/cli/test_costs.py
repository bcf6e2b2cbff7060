"""What ``show --costs`` and ``--kernels`` print, and the page that explains it."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from danlu.cli.costs import human, ranges
from danlu.cli.main import app
from danlu.spec import resolve
from danlu.train.costs import costs
from danlu.train.kernels import report
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")


def danlu(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("number", "unit", "written"),
    [
        (0, "B", "0 B"), (7, "", "7"), (512, "B", "512 B"), (999, "", "999"), (999.4, "", "999"),
        (999.6, "", "1.00 k"), (1000, "B", "1.00 kB"), (36_864, "B", "36.9 kB"),
        (1_235_814_400, "", "1.24 G"),
        (0.5, "", "0.500"), (174.6e9, "", "175 G"), (1.5e21, "", "1.50 Z"), (2e26, "", "200000 Z"),
    ],
)  # fmt: skip
def test_human_numbers(number, unit, written):
    assert human(number, unit) == written


def test_runs_of_layers():
    assert ranges([0, 1, 2, 4, 7, 8]) == "0–2, 4, 7–8"
    assert ranges([3]) == "3"


def test_json_is_what_python_says():
    words = ["tiny", "+window", "train.device=cpu"]
    said = json.loads(danlu("show", *words, "--costs", "--kernels", "--json"))
    of = {"costs": costs(resolve(words)), "kernels": report(resolve(words))}
    assert said == {"schema": "danlu.show/1", **of}
    assert set(json.loads(danlu("show", *words, "--kernels", "--json"))) == {"schema", "kernels"}


@pytest.mark.parametrize("idea", ["+mla", "+lru-attention", "+masked-lm", "+span-corruption", "+untied"])
def test_the_table_tells_the_numbers(idea):
    words = ["tiny", idea] if idea != "+untied" else ["llama-15m", idea]
    found, printed = costs(resolve(words)), danlu("show", *words, "--costs")
    lines = {line.strip().split("  ")[0]: line for line in printed.splitlines()}
    for part, count in found["parameters"]["parts"].items():
        assert human(count) in lines[part]
    assert human(found["parameters"]["total"]) in lines["all, forward"]
    assert f"{found['flops']['over_6n']:.2f} × 6N" in printed
    assert human(found["memory"]["activations"], "B") in printed
    assert ("cache of one sequence" in printed) == (found["cache"] is not None)
    if found["cache"]:
        assert human(found["cache"]["bytes"]["bfloat16"], "B") in lines["bfloat16"]
    for name in found["shape"]["ratios"]:
        assert name in printed


def test_kernels_are_told_with_their_reasons():
    words = ["tiny", "model.mixer.softcap=20", "train.device=cpu"]
    (row,) = report(resolve(words))
    printed = danlu("show", *words, "--kernels").splitlines()
    assert printed[:2] == ["layers 0–3: Attention by eager", f"  {row['why']}"]


@pytest.mark.parametrize("words", re.findall(r"^danlu show (.*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE))
def test_the_commands_of_the_page_run(words: str):
    assert danlu("show", *words.split())


def test_the_python_of_the_page_runs():
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/costs.md", "exec"), {})
