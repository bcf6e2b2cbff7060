"""Every kind of question that trains, carried out for an agent: started, waited for, judged, stopped; within
the server's budget. The client is the SDK's, the server another process."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

import anyio
from mcp import Client

from tests.conftest import LIMIT
from tests.lab.across.test_study import ON as SIZES
from tests.mcp.small import ON
from tests.mcp.test_server import answer, ended, over_stdio, refusal
from tests.train import small

pytestmark = pytest.mark.slow


async def judged(client: Client, question: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the study ended, and what came out."""
    name = answer(await client.call_tool("start", {"question": question}))["study"]
    told = await ended(client, name)
    assert told["state"] == "ended", told
    return told, answer(await client.call_tool("verdict", {"study": name}))


def test_a_sweep(tmp_path: Path) -> None:
    """Its points and no verdict; what it took is what was planned; a larger one is beyond the budget."""
    space = [*ON.split(), "optimizer.lr=1e-3,1e-2,1e-1"]

    async def talk(client: Client) -> None:
        told, said = await judged(client, {"kind": "sweep", "experiment": space})
        assert told["planned"]["runs"] == 3 and told["budget"]["flops"]["spent"] == told["planned"]["flops"]
        assert said["verdict"] is None and "try it against the baseline" in said["why"]
        rates = {trial["point"]["optimizer.lr"]: trial["value"] for trial in said["trials"]}
        assert rates.keys() == {1e-3, 1e-2, 1e-1}
        assert said["best"]["value"] == min(rates.values()) and said["counts"]["finished"] == 3
        assert len(answer(await client.call_tool("runs", {}))["runs"]) == 3
        more = {"kind": "sweep", "experiment": space, "seeds": 90}
        assert "are left of the server's budget" in refusal(
            await client.call_tool("start", {"question": more})
        )

    over_stdio(talk, tmp_path, "--max-flops", "1e10")


def test_a_ladder(tmp_path: Path) -> None:
    """A law, what it says of the rung that it did not see, and the target; within its budget of FLOPs."""
    corpus = small.corpus(tmp_path, documents=60).relative_to(tmp_path)
    words = ["nano", f"data.corpus={corpus}", "data.context=16", "train.batch=8", "train.evaluate_tokens=400"]
    question = {"kind": "ladder", "experiment": words, "budget": "4e10flop", "rungs": 3,
                "tokens_per_parameter": 0.5}  # fmt: skip

    async def talk(client: Client) -> None:
        too_much = {**question, "budget": "1e13flop"}
        assert "--max-flops" in refusal(await client.call_tool("start", {"question": too_much}))
        told, said = await judged(client, question)
        assert told["planned"]["runs"] == 3 and told["planned"]["flops"] <= 4e10
        assert sum(run["flops"] for run in said["runs"]) == told["planned"]["flops"]
        assert said["verdict"] is None and said["law"]["formula"] and len(said["held_out"]) == 1
        assert said["target"]["loss"]["value"] > 0

    over_stdio(talk, tmp_path, "--max-flops", "1e11")


PROGRAM = """
import argparse, random
words = argparse.ArgumentParser()
words.add_argument("--seed", type=int, required=True)
words.add_argument("--good", action="store_true")
given = words.parse_args()
chance = random.Random(given.seed)
noise = chance.gauss(0, 0.1) + 0.01 * given.good * chance.gauss(0, 1)
print(f"val loss {2 + noise - 0.5 * given.good:.6f}")
"""
RULE = """
run: python train.py --seed {seed} {set}
arms:
  base: {git: HEAD}
  good: {git: HEAD, set: --good}
metric: {name: val_loss, better: lower, stdout: '^val loss (\\S+)'}
protect: [train.py]
"""


def test_a_referee(tmp_path: Path) -> None:
    """A program of the user's own; the rule is the file that the person named, and must stand until then."""
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "rule.yaml").write_text(RULE)
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@here"]
    for words in (["init", "-q"], ["add", "train.py"], ["commit", "-qm", "a program"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)

    async def talk(client: Client) -> None:
        assert "one run gives no verdict" in refusal(
            await client.call_tool("start", {"question": {"kind": "referee", "pairs": 1}})
        )
        told, said = await judged(client, {"kind": "referee", "pairs": 3})
        assert said["outcome"] == "answered" and said["idea"] == "good" and said["pairs"] == 3
        assert said["verdict"].startswith("better")
        assert said["interval"][0] < said["delta"] < said["interval"][1]
        assert said["delta"] == pytest.approx(-0.5, abs=0.05)  # of noise of .01
        with open(tmp_path / "rule.yaml", "a") as file:
            file.write("margin: 0.4\n")
        name = told["study"]
        assert "the rule must stand before the runs" in refusal(
            await client.call_tool("verdict", {"study": name})
        )

    over_stdio(talk, tmp_path, "--referee", "rule.yaml")


def test_a_question_across_scale(tmp_path: Path) -> None:
    """To its end, at the two smallest sizes: rates, pairs, gains, a verdict that is marked early, and the
    ledger's entry; no more runs than were planned."""
    question = {"kind": "across-scale", "ideas": ["constant"], "on": SIZES, "rungs": 2, "seeds": 2}

    async def talk(client: Client) -> None:
        told, said = await judged(client, question)
        made = len(list(tmp_path.glob("studies/runs/*/summary.json")))
        assert 2 * (10 + 2) + 2 * 2 <= made <= told["planned"]["runs"]
        (found,) = said["findings"]
        assert found["idea"] == "+constant" and found["regime"]["early"]
        assert [rung["pairs"] for rung in found["rungs"]] == [2, 2]
        small_, large = (rung["flops"] for rung in found["rungs"])
        assert 2 < large / small_ < 8  # four, as near as whole heads permit
        entries = answer(await client.call_tool("ledger", {}))["entries"]
        assert [(one["idea"], one["verdict"]) for one in entries] == [("+constant", found["verdict"])]

    over_stdio(talk, tmp_path, "--max-flops", "1e15")


def test_a_question_across_scale_is_stopped_and_goes_on(tmp_path: Path) -> None:
    """What takes hours is under way at once, is stopped when it is told, and the same question goes on."""
    corpus = small.corpus(tmp_path, documents=60).relative_to(tmp_path)
    on = f"nano model.layers=1 model.width=16 data.corpus={corpus} data.context=16 train.steps=20"
    question = {"kind": "across-scale", "ideas": ["constant"], "on": on, "rungs": 2, "seeds": 2}

    async def begun(client: Client, more: int) -> str:
        started = answer(await client.call_tool("start", {"question": question}))
        until = time.monotonic() + LIMIT
        while len(list(tmp_path.glob("studies/runs/*/summary.json"))) < more and time.monotonic() < until:
            told = answer(await client.call_tool("status", {"study": started["study"]}))
            assert told["state"] in ("checking", "running"), told
            await anyio.sleep(0.1)
        return str(started["study"])

    async def talk(client: Client) -> None:
        name = await begun(client, 2)
        other = {"kind": "sweep", "experiment": [*ON.split(), "optimizer.lr=1e-3,1e-2"]}
        assert "one study runs at a time" in refusal(await client.call_tool("start", {"question": other}))
        answer(await client.call_tool("stop", {"study": name}))
        told = await ended(client, name)
        assert (told["state"], told["why"]) == ("stopped", "it was told to stop")
        assert told["planned"]["runs"] > 20 and told["budget"]["flops"]["spent"] == told["planned"]["flops"]
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("studies/runs/*/summary.json")}
        assert await begun(client, len(kept) + 1) == name  # the same study
        answer(await client.call_tool("stop", {"study": name}))
        assert (await ended(client, name))["state"] == "stopped"
        assert {path: path.stat().st_mtime_ns for path in kept} == kept  # what ran is not run again

    over_stdio(talk, tmp_path, "--max-flops", "1e15")
