"""Results: kept, read back, of the claim as it stands or not; what is still to be run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.files.json import read_object, write_json
from danlu.lab.claims import needs, results
from danlu.lab.errors import LabError
from tests.lab.claims.small import claim, result


def of(changes: dict[str, Any], **said: Any) -> results.Result:
    return result(claim=claim(**changes).model_dump(mode="json", exclude_none=True), **said)


def test_results_are_kept_and_read_back(tmp_path: Path) -> None:
    one = result(effect=(-0.5, -math.inf, math.inf), effects=[-0.5], severity=[(0.5, 0.8)])
    results.save(tmp_path, one)
    assert results.kept({"small": claim()}, tmp_path) == {"small": one}
    results.save(tmp_path, replace(one, date="2027-01-01"))  # nothing new was found
    assert results.kept({"small": claim()}, tmp_path)["small"].date == one.date
    results.save(tmp_path, replace(one, date="2027-01-01", verdict="not shown"))
    assert results.kept({"small": claim()}, tmp_path)["small"].date == "2027-01-01"


def test_a_result_of_before_the_later_fields_is_read(tmp_path: Path) -> None:
    results.save(tmp_path, result())
    old = read_object(tmp_path / "small.json")
    for name in (
        "mark",
        "first",
        "why",
        "early",
        "weak",
        "severity",
        "premises",
        "tuned",
        "regime",
        "looks",
        "before",
    ):
        del old[name]
    write_json(tmp_path / "small.json", old)
    found = results.kept({"small": claim()}, tmp_path)["small"]
    assert found.of(claim()) and found.said == "holds" and found.before == []


def test_a_damaged_result_is_told(tmp_path: Path) -> None:
    results.save(tmp_path, result())
    write_json(tmp_path / "small.json", read_object(tmp_path / "small.json") | {"seeds": "three"})
    with pytest.raises(LabError, match=r"small.json: seeds: .*delete it, and the claim is proved again"):
        results.kept({"small": claim()}, tmp_path)


def test_the_last_result_of_the_claim_as_it_stands_counts(tmp_path: Path) -> None:
    """A folder that was left behind does not take the place of what was proved since."""
    stale, current = of({"holds": {"below": -0.4}}, seconds=1.0), of({}, seconds=2.0)
    new, old = tmp_path / "new", tmp_path / "old"
    results.save(new, current)
    results.save(old, stale)
    for folders in ((new, old), (old, new)):
        assert results.kept({"small": claim()}, *folders)["small"].seconds == 2.0
    results.save(old, replace(current, seconds=3.0))
    assert results.kept({"small": claim()}, new, old)["small"].seconds == 3.0
    assert results.kept({"other": claim()}, new, old) == {}


def test_what_is_due() -> None:
    claims = {
        "kept": claim(), "edited": claim(holds={"below": -1}), "new": claim(), "failed": claim(),
        "large": claim(needs={"flops": 1e18}), "void": claim(),
    }  # fmt: skip
    known = {name: result(name=name) for name in ("kept", "edited")}
    claims["few"] = claim()
    known["few"] = result(name="few", verdict="not run", needed=9)
    known |= {"failed": result(name="failed", verdict="not run"), "void": result(name="void", verdict="void")}
    assert list(needs.due(claims, known)) == ["edited", "new", "failed"]
    claims["few"] = claim(seeds=9)
    assert "few" in needs.due(claims, known)
    assert needs.edited(claims["kept"], known["kept"]) is None
    assert "it is another claim now" in str(needs.edited(claims["edited"], known["edited"]))


def test_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    large = claim(needs={"parameters": 1e8, "flops": 1e18, "device": "gpu"})
    monkeypatch.setattr(needs, "kinds", lambda: "cpu")
    said = needs.lacking("large", large)
    assert said is not None and "needs 1e+08 parameters, 1e+18 FLOPs a run, a GPU" in said
    assert "danlu prove large" in said
    assert needs.lacking("small", claim()) is None
    assert needs.lacking("long", claim(needs={"flops": 1e15})) is None
    monkeypatch.setattr(needs, "kinds", lambda: "NVIDIA H100")
    assert needs.lacking("large", large) is None
