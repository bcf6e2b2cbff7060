"""The page and the words: all that was found, nothing taken for HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from danlu.lab.referee import Answer
from danlu.lab.referee.report import report
from danlu.lab.referee.terminal import details, table, time_of
from tests.lab.referee.program import NOISY, PYTHON, answer, make

GAINS = [
    {
        "rung": str(rung), "compute": 10.0**rung, "gain": 1.1, "low": 1.0, "high": 1.2, "bound": ">=",
        "why": "", "difference": -0.1, "pairs": 3, "paired": True, "counted in": "FLOPs",
    }
    for rung in range(1, 4)
]  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    folder = make(tmp_path_factory.mktemp("report") / "p", train_py=NOISY)
    arms = {"base": {}, "idea": {"set": "--worse 1"}, "other": {"set": "--worse 0"}}
    metric = {"name": "<b>loss", "better": "lower", "stdout": r"^loss (\S+)"}
    return answer(folder, arms=arms, metric=metric)


def test_a_page(found: Answer) -> None:
    """Drawings are well-formed, each pair is a dot; gains are drawn where there are rungs."""
    text = report(found)
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 1 and "<b>" not in text and "&lt;b&gt;loss" in text
    dots = [one for one in ElementTree.fromstring(drawings[0]).iter() if one.tag.endswith("circle")]
    assert len(dots) == 2 * (3 + 1) + 2  # pairs and means of two ideas, two keys
    scaled = replace(found, findings=[replace(one, gains=GAINS) for one in found.findings])
    assert len(re.findall(r"<svg.*?</svg>", report(scaled), flags=re.DOTALL)) == 3


def test_words(found: Answer) -> None:
    rows = table(found)
    assert [row[:2] for row in rows[1:]] == [
        ["idea", "worse (regime not known)"],
        ["other", "not shown (regime not known)"],
    ]
    said = "\n".join(details(replace(found, control={"idea": "alone"})))
    assert "alone: not clear enough for the number of questions" in said
    assert said.count("\ne: evidence that there is a difference; 20 or more is strong") == 1
    assert "gain: " not in said
    scaled = replace(found, findings=[replace(one, gains=GAINS) for one in found.findings])
    assert [line for line in details(scaled) if line.startswith("gain: how many times its compute")]
    early = replace(found, regime={**found.regime, "early": ["few updates"]})
    assert (
        table(early)[1][1] == "worse (early)"
        and early.exit_verdict == 11
        and "early: few updates" in [*details(early)]
    )


def test_a_page_without_a_verdict(found: Answer, tmp_path: Path) -> None:
    folder = make(tmp_path / "p", train_py="print('loss', 1)")
    void = answer(folder, run=f"{PYTHON} train.py {{seed}} {{set}}")
    assert "No verdict on plan.yaml" in report(void) and "{seed} changes nothing" in report(void)


def test_seconds() -> None:
    assert [time_of(x) for x in (9, 99, 600, 7200)] == ["9 s", "99 s", "10 min", "2.0 h"]
